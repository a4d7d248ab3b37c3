"""Environments as guests of a process: what one changes of it is its own, and everybody else finds it as it was.

Knows the settings that all code of a process shares (the current folder, NumPy's handling of errors, torch's defaults,
what ^C does); knows no environment. Cheap enough for every reset; steps are watched over only where something differs.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn, ParamSpec, TypeVar

import numpy as np

from numzero.interrupts import SIGNALS

__all__ = ["Guest", "importing"]

_getsignal: Callable[[int], Any] = importlib.import_module("_signal").getsignal
"""`signal.getsignal` makes its answer one of an enumeration, which takes a hundred times as long."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _Setting(NamedTuple):
    """Something that belongs to the whole process."""

    read: Callable[[], Any]
    write: Callable[[Any], object]
    is_given_back: bool = True
    """Whether an environment finds it as it left it; else its change is undone for good."""


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""


def _enter(folder: str) -> None:
    if folder:
        with contextlib.suppress(OSError):
            os.chdir(folder)


def _handlers() -> Any:
    """What signals do; nothing outside the main thread, which alone may set it."""
    if threading.current_thread() is not threading.main_thread():
        return None
    return tuple(_getsignal(number) for number in SIGNALS)


def _handle(handlers: Any) -> None:
    for number, handler in zip(SIGNALS, handlers or (), strict=False):
        if handler is not None and _getsignal(number) != handler:  # None: one that was not set by Python
            signal.signal(number, handler)


class _Torch(NamedTuple):
    """Torch's defaults, in the order in which they are set."""

    inference_mode: bool
    """First, since gradients go with it."""
    gradients: bool
    dtype: Any
    num_threads: int
    is_deterministic: bool
    device: str
    finds_anomalies: bool


def _torch() -> _Torch | None:
    """Torch's defaults, where somebody imported it; None, where nobody did."""
    torch: Any = sys.modules.get("torch")
    if not hasattr(torch, "set_default_device"):  # not there, or about to be
        return None
    return _Torch(
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.empty(0).device.type,
        torch.is_anomaly_enabled(),
    )


def _set_torch(values: _Torch | None) -> None:
    torch, now = sys.modules.get("torch"), _torch()
    if torch is None or now is None:
        return
    wanted = _Torch(False, True, torch.float32, now.num_threads, False, "cpu", False) if values is None else values
    if now.inference_mode != wanted.inference_mode:
        now = now._replace(gradients=_switch_inference_mode(torch, wanted.inference_mode))
    writers = (
        lambda mode: None,  # done
        torch.set_grad_enabled,
        torch.set_default_dtype,
        torch.set_num_threads,
        torch.use_deterministic_algorithms,
        lambda device: torch.set_default_device(None if device == "cpu" else device),
        torch.autograd.set_detect_anomaly,
    )
    for write, value, seen in zip(writers, wanted, now, strict=True):
        if value != seen:
            write(value)


_inference_modes: list[Any] = []
"""Those that were entered here: torch cannot set the mode, it can only be entered and left again."""


def _switch_inference_mode(torch: Any, wanted: bool) -> bool:
    """Leave the mode that was entered here last, if that does; else enter another. Whether gradients are on now."""
    if _inference_modes:
        _inference_modes.pop().__exit__(None, None, None)
    if torch.is_inference_mode_enabled() != wanted:
        _inference_modes.append(torch.inference_mode(wanted))
        _inference_modes[-1].__enter__()
    return bool(torch.is_grad_enabled())


_SETTINGS = {
    "the current folder": _Setting(_folder, _enter),
    "NumPy's handling of errors": _Setting(np.geterr, lambda values: np.seterr(**values)),
    "torch's defaults": _Setting(_torch, _set_torch),
    "what signals do": _Setting(_handlers, _handle, is_given_back=False),
}

_left_by_imports: dict[str, Any] = {}
"""What modules of environments changed while they were imported: every environment finds that."""


def _read() -> dict[str, Any]:
    return {name: setting.read() for name, setting in _SETTINGS.items()}


def _write(wanted: dict[str, Any], now: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if value != now[name]:
            _SETTINGS[name].write(value)


def _changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What is to be given back."""
    return {name: value for name, value in after.items() if value != before[name] and _SETTINGS[name].is_given_back}


@contextlib.contextmanager
def _no_exit() -> Iterator[None]:
    """Inside, `os._exit` raises SystemExit as `sys.exit` does: this process would end without a word."""
    leave, process = os._exit, os.getpid()

    def refuse(status: int) -> NoReturn:
        if os.getpid() != process:  # what was forked meanwhile may go
            leave(status)
        raise SystemExit(f"os._exit({status})")

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = leave


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Around the import of code that is not ours: what that changes is kept for environments alone."""
    before = _read()
    try:
        with _no_exit():
            yield
    finally:
        after = _read()
        _left_by_imports.update(_changes(before, after))
        if not Guest.num_at_home:  # else that guest has made the change, and takes it along
            _write(before, after)


class Guest:
    """One environment: whatever it does runs in `at_home`, so that nobody else feels it.

    Attributes:
        own: what it wants otherwise than the process it is in; of each setting of `_SETTINGS` that it changed.
        changed: all that it ever changed, by name, as it was afterwards.
    """

    num_at_home = 0
    """Guests whose code is running now: one may make another."""

    def __init__(self) -> None:
        self.own = dict(_left_by_imports)
        self.changed = dict(_left_by_imports)

    def at_home(self, function: Callable[_P, _T], *arguments: _P.args, **keywords: _P.kwargs) -> _T:
        """What `function` returns, called with the process as this guest left it; then it is as it was."""
        host = _read()
        _write(self.own, host)
        Guest.num_at_home += 1
        try:
            return function(*arguments, **keywords)
        finally:
            Guest.num_at_home -= 1
            after = _read()
            self.own = _changes(host, after)
            self.changed.update({name: value for name, value in after.items() if value != host[name]})
            _write(host, after)
