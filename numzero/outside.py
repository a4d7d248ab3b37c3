"""Code that users bring: a game, a body, a loss as "package.module:Name" or "file.py:Name".

Knows how it is imported, and that the current folder is a place to import from; knows nothing of what it is for, nor
whether it may be trusted: whoever takes a name from what the user did not write asks first (`games.trust`,
`training.config.outside_code`).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from numzero.errors import UserError, nearest

__all__ = ["find", "imported", "is_outside", "leave_import", "load"]


class _Enough(BaseException):
    """A program has been imported as far as it needs to be."""


class _Importing:
    """Whether this process imports a program now, for what it defines, and not because it is to be run."""

    is_on = False


@contextlib.contextmanager
def imported() -> Iterator[None]:
    """A program that is run inside ends at the first thing that it asks of numzero."""
    before, _Importing.is_on = _Importing.is_on, True
    try:
        yield
    except _Enough:
        pass
    finally:
        _Importing.is_on = before


def leave_import() -> None:
    """Go no further where the program that asks is only imported; else nothing."""
    if _Importing.is_on:
        raise _Enough


def is_outside(name: str) -> bool:
    """Whether a name means code to be imported."""
    return ":" in name


def find(name: str) -> tuple[ModuleType, str]:
    """The module of a name, and what it is to be asked for. Raises whatever importing raises."""
    place, _, attribute = name.rpartition(":")
    return (_file(Path(place)) if place.endswith(".py") else _module(place)), attribute


def load(name: str, setting: str) -> Any:
    """What `name` names; a module may lie in the current folder.

    Args:
        name: "package.module:Name", or "file.py:Name" with any path before it.
        setting: where the name stands, for messages.

    Raises:
        UserError: there is no such module or file, or nothing of that name in it. What the module itself raises goes
            through: its author needs the traceback.
    """
    place, _, attribute = name.rpartition(":")
    if not place or not attribute:
        raise UserError(f"{setting} must be module:Name or file.py:Name; got {name!r}.")
    try:
        module, _ = find(name)
    except FileNotFoundError as error:
        raise UserError(f"{setting}: {error}.") from error
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise  # one that the module imports is missing
        raise UserError(
            f"{setting}: there is no module {error.name!r} to import. Install it, or run from the folder it is in."
        ) from error
    if not hasattr(module, attribute):
        offered = [each for each, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        raise UserError(f"{setting}: {place} has no {attribute!r}.{nearest(attribute, offered) if offered else ''}")
    return getattr(module, attribute)


def _module(place: str) -> ModuleType:
    """By the name that `import` takes; what is installed goes before what lies in the current folder."""
    _search(Path.cwd())
    importlib.invalidate_caches()  # the file may be younger than the last look into its folder
    return importlib.import_module(place)


def _search(folder: Path) -> None:
    """A folder to import from, after all others; for good, since code may import when it runs."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _file(path: Path) -> ModuleType:
    """The module that a file is, run once; it may import what lies beside it.

    The file of the program that runs is there already. Another program is imported as far as the first thing that it
    asks of numzero: training, say, where it does that without `if __name__ == "__main__"`.
    """
    path = Path(os.path.realpath(path.expanduser()))
    program = sys.modules["__main__"]
    if os.path.realpath(getattr(program, "__file__", None) or os.devnull) == str(path):
        return program
    name = f"numzero_outside:{path}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    _search(path.parent)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with imported():
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
