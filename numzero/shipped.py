"""The agents that come with numzero: where they lie, and what a name of one means.

Knows folders; knows nothing of what is in an agent.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["MODELS", "meant", "shipped"]

_PACKAGE = Path(__file__).resolve().parent
MODELS = next(
    (path for path in (_PACKAGE / "models", _PACKAGE.parent / "models") if path.is_dir()), _PACKAGE / "models"
)
"""In the package where it is installed (pyproject.toml puts them there), beside it in a checkout."""


def shipped() -> list[str]:
    """The names of the agents, in order."""
    return sorted(path.parent.name for path in MODELS.glob("*/agent.json"))


def meant(folder: str | Path) -> Path:
    """The folder itself; where nothing lies there, the agent that comes as `tictactoe` or `models/tictactoe`."""
    path = Path(folder)
    is_a_name = path.parent in (Path(), Path(MODELS.name)) and path.name in shipped()
    return MODELS / path.name if is_a_name and not os.path.lexists(path) else path
