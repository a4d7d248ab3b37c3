"""numzero: MuZero for CPU machines."""

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
