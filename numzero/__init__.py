"""numzero: MuZero for CPU machines.

Nothing leaves the machine. onnxruntime reports its use to Microsoft unless ORT_DISABLE_TELEMETRY=1 stands in the
environment when it is imported; importing numzero sets that, for this process and those it starts, unless the variable
is set to something already. In a program that imports onnxruntime before numzero it comes too late: set it yourself.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before the imports below bring in onnxruntime

from numzero.agent import Agent, AgentGame, AgentInfo, BatchDecision, Decision
from numzero.errors import UserError
from numzero.search import Search, SearchConfig, SearchResult

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "AgentGame",
    "AgentInfo",
    "BatchDecision",
    "Decision",
    "Search",
    "SearchConfig",
    "SearchResult",
    "UserError",
    "__version__",
]
