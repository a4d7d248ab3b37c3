"""The module of a game that a user brings.

Knows how its failing is said; `numzero.outside` imports it.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from numzero.errors import UserError
from numzero.outside import find

__all__ = ["module_of"]


def module_of(name: str) -> tuple[ModuleType, str]:
    """The module of a game's name "module:Name" or "file.py:Name", and Name.

    Raises:
      UserError: the module cannot be found, or fails while it runs.
    """
    try:
        return find(name)
    except Exception as error:  # a module may fail in any way while it runs
        raise UserError(
            f"module {name.rpartition(':')[0]!r} of {name!r} must be importable; got {type(error).__name__}: {error}. "
            f"Install it, run from the folder it is in ({Path.cwd()} is searched), or name its file: "
            "path/to/file.py:Name."
        ) from error
