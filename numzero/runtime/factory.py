"""The runtime that settings name.

Knows names and the protocol that what they name has to have; knows nothing of any runtime, each of which is imported
when it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from numzero import outside
from numzero.errors import UserError, nearest
from numzero.runtime.base import AUTO, KINDS, RAY, Place, Runtime, RuntimeConfig
from numzero.runtime.jobs import Machines

__all__ = ["make_runtime", "maker_of_machines", "runtime_maker"]

SETTING = "runtime.kind"
LIBRARY = "numzero.runtime.ray.library"
"""What knows of Ray's clusters."""
OPERATIONS = tuple(name for name, value in vars(Runtime).items() if not name.startswith("_") and callable(value))
"""The methods of the protocol; what it has beside them may come to be when one is made."""


def make_runtime(kind: str, place: Place, workers: int = 0) -> Runtime:
    """The runtime of a kind, at a place; see `runtime_maker`."""
    return runtime_maker(kind, workers)(place)


def runtime_maker(kind: str, workers: int, address: str = "") -> Callable[[Place], Runtime]:
    """What makes the runtime of a kind (see `RuntimeConfig.kind`), where so many workers are asked for.

    Raises:
        UserError: nothing has that name, it is no runtime, or what is at the address needs a token that is not here.
    """
    if kind == AUTO:
        kind = "processes" if workers else "inline"
    if kind in KINDS:
        module, _, name = KINDS[kind].partition(":")
        if kind == RAY and address:
            importlib.import_module(LIBRARY).require_token(address)
        return cast(Callable[[Place], Runtime], getattr(importlib.import_module(module), name))
    found = outside.load(kind, SETTING)
    _require_operations(found, kind)
    return cast(Callable[[Place], Runtime], found)


def maker_of_machines(
    settings: Mapping[str, str], folder: Path, on_note: Callable[[str], object]
) -> Callable[[], Machines] | None:
    """What makes the machines that pieces of work are handed to; None: work is done on this one, without.

    Args:
        settings: of `RuntimeConfig`.
        folder: that the work is for.
        on_note: hears what befalls it.

    Raises:
        UserError: the settings are wrong, or hand out no work.
    """
    config = _config_of(settings)
    if problems := config.check():
        raise UserError(" ".join(problems))
    if config.kind in (AUTO, "processes"):
        return None
    if config.kind != RAY:
        raise UserError(f"whole trainings run in processes or by ray; got {config.kind!r}.")
    module = importlib.import_module("numzero.runtime.ray.jobs")
    return lambda: cast(Machines, module.RayMachines(config, folder, on_note))


def _config_of(settings: Mapping[str, str]) -> RuntimeConfig:
    known = RuntimeConfig.__struct_fields__
    for name in settings:
        if name not in known:
            raise UserError(f"there is no setting {f'runtime.{name}'!r}.{nearest(name, known)}")
    try:
        return msgspec.convert(dict(settings), RuntimeConfig, strict=False)
    except msgspec.ValidationError as error:
        raise UserError(f"settings of runtime do not fit: {error}.") from error


def _require_operations(found: Any, kind: str) -> None:
    missing = [name for name in OPERATIONS if not hasattr(found, name)]
    if missing or not isinstance(found, type):
        seen = f"it lacks {', '.join(missing)}" if missing else "it is no class"
        raise UserError(f"{SETTING} must name a class with all operations of a `Runtime`; {kind}: {seen}.")
