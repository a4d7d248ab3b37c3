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
    """The file that is run for a name, or the folder of its package; None where there is none to be found.

    Of "package.module" it is that of the package, since to ask for more would import it.
    """
    place = name.rpartition(":")[0]
    if place.endswith(".py"):
        path = os.path.realpath(os.path.expanduser(place))
        return path if os.path.isfile(path) else None
    spec = PathFinder.find_spec(place.partition(".")[0], [*sys.path, os.getcwd()])
    if spec is None or not (spec.has_location or spec.submodule_search_locations):
        return None
    return os.path.realpath(spec.origin or next(iter(spec.submodule_search_locations or ())))
