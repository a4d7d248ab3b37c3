"""Code that the user trained with on this machine: a folder that names it again needs no other word of hers.

Knows names and the files they stand for; imports none. What is known lies in numzero's own folder for caches, which
nobody else may write to; where there is none, nothing is known.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path

import msgspec

from numzero.compiled import cache_folder
from numzero.errors import UserError
from numzero.files import read_file, write_file

__all__ = ["keep_trained", "was_trained"]

MOST_KEPT = 1000
"""The last ones; each is a name and a path."""


def keep_trained(names: Iterable[str]) -> None:
    """Note that the user trained with the code of these names, as it lies where they lead now.

    Args:
      names: "module:Name", or "file.py:Name". Those that lead to no file are left out.
    """
    known = _known()
    # Of two runs that begin at the same moment one may be forgotten: she is asked then, no more.
    found = [[name, file] for name in names if (file := _file_of(name)) and [name, file] not in known]
    if found and (path := _path()) is not None:
        with contextlib.suppress(UserError, OSError):  # she is asked for her word then, as on any other machine
            write_file(path, msgspec.json.encode([*known, *found][-MOST_KEPT:]))


def was_trained(name: str) -> bool:
    """Whether the user trained with the code of this name, from the file that it leads to now."""
    file = _file_of(name)
    return file is not None and [name, file] in _known()


def _path() -> Path | None:
    kernels = cache_folder()
    return None if kernels is None else kernels.parent / "trained.json"


def _known() -> list[list[str]]:
    """Pairs of a name and a file, the oldest first; none where nothing was kept, or not by us."""
    path = _path()
    if path is None or not path.exists():
        return []
    try:
        return msgspec.json.decode(read_file(path), type=list[list[str]])
    except (UserError, OSError, msgspec.MsgspecError):
        return []


def _file_of(name: str) -> str | None:
    """The file that is run for a name; None where there is none that is hers.

    What another user owns, or anybody may write to, may have become something else since.
    """
    place = name.rpartition(":")[0]
    file = os.path.expanduser(place) if place.endswith(".py") else _module_file(place)
    file = None if file is None else os.path.realpath(file)
    return file if file is not None and os.path.exists(file) and _is_safe(file) else None


def _module_file(place: str) -> str | None:
    """Where a module lies, found as `import` finds it, the current folder last; nothing is imported.

    None for what has no file: built-in modules, and packages that are folders without `__init__.py`.
    """
    first, *inner = place.split(".")
    finders = (finder.find_spec(first, None) for finder in sys.meta_path)
    spec = (next(filter(None, finders), None) or PathFinder.find_spec(first, [os.getcwd()])) if first else None
    for end in range(len(inner)):
        if spec is None or not spec.has_location:
            return None
        spec = PathFinder.find_spec(".".join([first, *inner[: end + 1]]), spec.submodule_search_locations or [])
    return spec.origin if spec is not None and spec.has_location else None


def _is_safe(file: str) -> bool:
    if sys.platform == "win32":
        return True
    found = os.stat(file)
    return found.st_uid in (os.geteuid(), 0) and not found.st_mode & 0o002
