"""Code that users bring: found by "module:Name" or "file.py:Name", and imported.

Knows modules, files and the current folder, which counts as a place to import from; knows nothing of what it finds.
Whether a name may be imported at all, because it came out of a folder, is `trust.py`'s question.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from numzero.errors import UserError

__all__ = ["find_outside", "is_outside"]


def is_outside(name: str) -> bool:
    """Whether a name means code to be imported."""
    return ":" in name


def find_outside(name: str) -> tuple[ModuleType, object | None, str]:
    """The module of "module:Name", what it calls Name (None if nothing), and Name itself.

    Raises:
      UserError: the module cannot be found, or fails while it runs.
    """
    where, _, attribute = name.rpartition(":")
    try:
        module = _load_file(Path(where)) if where.endswith(".py") else _load_module(where)
    except Exception as error:  # a module may fail in any way while it runs
        raise UserError(
            f"module {where!r} of {name!r} must be importable; got {type(error).__name__}: {error}. "
            f"Install it, run from the folder it is in ({Path.cwd()} is searched), or name its file: "
            "path/to/file.py:Name."
        ) from error
    return module, getattr(module, attribute, None), attribute


def _load_module(name: str) -> ModuleType:
    """By the name that `import` takes, from the current folder too; installed modules of that name go first."""
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)


def _load_file(path: Path) -> ModuleType:
    """A file by its path, once; what lies beside it can be imported by it."""
    path = path.resolve()
    for module in sys.modules.values():
        if (file := getattr(module, "__file__", None)) is not None and Path(file) == path:
            return module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    module = importlib.util.module_from_spec(spec)
    taken = sys.modules.get(path.stem)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    finally:
        if taken is not None:  # an installed module of that name stays what others import
            sys.modules[path.stem] = taken
    return module
