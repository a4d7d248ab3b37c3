"""Code that settings name: a class or a function as "package.module:Name" or "file.py:Name".

Knows how it is imported; knows nothing of what it is for, nor whether it may be trusted: whoever reads settings that
the user did not write asks first (`training.config.outside_code`).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from numzero.errors import UserError, nearest

__all__ = ["load"]


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
    module = _file(Path(place), setting) if place.endswith(".py") else _module(place, setting)
    if not hasattr(module, attribute):
        offered = [each for each, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        raise UserError(f"{setting}: {place} has no {attribute!r}.{nearest(attribute, offered) if offered else ''}")
    return getattr(module, attribute)


def _module(place: str, setting: str) -> ModuleType:
    try:
        importlib.invalidate_caches()  # the file may be younger than the last look into its folder
        with _current_folder():
            return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise  # one that the module imports is missing
        raise UserError(
            f"{setting}: there is no module {error.name!r} to import. Install it, or run from the folder it is in."
        ) from error


@contextmanager
def _current_folder() -> Iterator[None]:
    """The current folder is a place to import from, after all others."""
    folder = os.getcwd()
    sys.path.append(folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.reverse()  # the one that was added last
            sys.path.remove(folder)
            sys.path.reverse()


def _file(path: Path, setting: str) -> ModuleType:
    """The module that a file is, run once."""
    path = path.expanduser().resolve()
    name = f"numzero_outside:{path}"
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise UserError(f"{setting}: there is no file {path}.")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
