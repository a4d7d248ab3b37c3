"""numzero: MuZero for CPU machines.

Nothing leaves the machine. onnxruntime reports its use to Microsoft unless ORT_DISABLE_TELEMETRY=1 stands in the
environment when it is imported; importing numzero sets that, for this process and those it starts, unless the variable
is set to something already. In a program that imports onnxruntime before numzero it comes too late: set it yourself.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before anything below brings in onnxruntime

if TYPE_CHECKING:
    from numzero.agent import Agent, AgentGame, AgentInfo, BatchDecision, Decision
    from numzero.errors import UserError
    from numzero.listeners import KeepBest, Listener, StopAtThreshold, TensorBoardListener, WandbListener
    from numzero.runs import Run, evaluate, export, inspect, play, resume, train
    from numzero.search import Search, SearchConfig, SearchResult

__version__ = "0.2.0"

__all__ = [
    "Agent",
    "AgentGame",
    "AgentInfo",
    "BatchDecision",
    "Decision",
    "KeepBest",
    "Listener",
    "Run",
    "Search",
    "SearchConfig",
    "SearchResult",
    "StopAtThreshold",
    "Store",
    "TensorBoardListener",
    "UserError",
    "WandbListener",
    "__version__",
    "evaluate",
    "export",
    "inspect",
    "play",
    "resume",
    "train",
]

_HOMES = {
    "numzero.agent": ("Agent", "AgentGame", "AgentInfo", "BatchDecision", "Decision"),
    "numzero.errors": ("UserError",),
    "numzero.listeners": ("KeepBest", "Listener", "StopAtThreshold", "TensorBoardListener", "WandbListener"),
    "numzero.runs": ("Run", "evaluate", "export", "inspect", "play", "resume", "train"),
    "numzero.stores": ("Store",),
    "numzero.search": ("Search", "SearchConfig", "SearchResult"),
}


def __getattr__(name: str) -> Any:
    """A public name, or a module that has some, is imported when it is first used: NumPy and Numba take a while.

    The command line hears ^C meanwhile (see `__main__`), which it could not if they came with this package.
    """
    for home, names in _HOMES.items():
        if home == f"{__name__}.{name}":
            return importlib.import_module(home)
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What is there, loaded or not."""
    return sorted({*globals(), *__all__})
