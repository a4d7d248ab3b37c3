"""^C, SIGTERM and SIGHUP: asked to stop, whichever it is, and what a process does about it at which time.

Knows signals and the terminal; knows nothing of what is interrupted. Windows' SIGBREAK is one of them. What was ignored
when the process began stays so: a shell starts what runs in the background deaf to ^C, and `nohup` deaf to SIGHUP.
"""

from __future__ import annotations

import _thread
import contextlib
import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from types import CodeType, FrameType
from typing import Any, TypeVar

if sys.platform != "win32":
    import termios  # here: an import in a handler may break the one that it interrupts

__all__ = [
    "EXIT_CODE",
    "SIGNALS",
    "Interrupts",
    "hear_again",
    "heard_during",
    "held_back",
    "leave_at_once",
    "pass_over",
    "raised",
]

EXIT_CODE = 130
"""Of every command that was stopped by one of them before it had done its work."""
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))
RETRY_SECONDS = 0.05
"""So often an interrupt that came in the middle of an import is tried again."""
HEARING_SECONDS = 0.1
"""So often Windows looks for signals while a thread works; elsewhere they are heard at once."""
STOPPED = b"Stopped.\n"

_SIGHUP = getattr(signal, "SIGHUP", None)
_IMPORT = "<frozen importlib._bootstrap"
_LLVM = os.path.join("llvmlite", "binding")
_Handler = Callable[[int, FrameType | None], Any]
_Answer = TypeVar("_Answer")


def leave_at_once() -> None:
    """From now on they end this process on the spot, without a traceback: there is nothing to lose yet."""
    _install(_leave)


def pass_over() -> None:
    """From now on nothing happens: a worker's parent says when to stop, though signals may reach the whole group.

    Not SIG_IGN, which programs that an environment starts would inherit: it could not end them by SIGTERM.
    """
    _install(_pass_over)
    _let_through()


def hear_again() -> None:
    """From now on they raise KeyboardInterrupt, in a process that was started while its parent held them back."""
    _install(_Raise().hear)
    _let_through()


def heard_during(call: Callable[[], _Answer], give_up: Callable[[], object]) -> _Answer:
    """What `call` returns: a kernel that may take minutes, and hears nothing until it returns, in a thread of its own.

    An interrupt is raised here at once. The thread works on until the call or the process ends: `give_up` is called, so
    that nobody else uses what it writes to.
    """
    found: Future[_Answer] = Future()

    def work() -> None:
        try:
            found.set_result(call())
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=work, daemon=True, name="kernel").start()
    try:
        while not found.done():
            wait([found], HEARING_SECONDS)
    except BaseException:
        give_up()
        raise
    return found.result()


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Inside, each raises KeyboardInterrupt, but not in the middle of an import; afterwards they do what they did."""
    raising = _Raise()
    before = _install(raising.hear)
    try:
        yield
    finally:
        _restore(before)
        raising.forget()


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """A process started inside sees none, not even before its first line runs; ours sees them afterwards."""
    if sys.platform == "win32":
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # its own start would end the holding back
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # what is started has this mask too
    _held.is_on = True  # other threads may take a signal all the same, and then Python's handler runs in this one
    try:
        yield
    finally:
        _held.is_on = False
        numbers, _held.numbers = _held.numbers, []
        try:
            for number in numbers:
                signal.raise_signal(number)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Held:
    """What came while a process was started."""

    is_on = False

    def __init__(self) -> None:
        self.numbers: list[int] = []


_held = _Held()


class Interrupts:
    """Whether somebody asked to stop, as a question that a loop answers when it is ready."""

    def __init__(self) -> None:
        self.requested = False
        self.reason = "interrupted"
        """What is said of it: by whom."""
        self._at_once = False
        self._raise = _Raise()

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Inside, the first only sets `requested`; a second one, unless it is SIGHUP, raises KeyboardInterrupt.

        Signals belong to the main thread: in any other this does nothing.
        """
        before = _install(self._hear)
        try:
            yield
        finally:
            _restore(before)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside `heard`, around what takes long and leaves nothing behind: the first raises KeyboardInterrupt too."""
        self._at_once = True
        try:
            if self.requested:
                raise KeyboardInterrupt
            yield
            if self.requested:  # libraries may have lost what was raised in a callback of theirs
                raise KeyboardInterrupt
        finally:
            self._at_once = False
            self._raise.forget()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        _leave_lost_terminal()
        if self._at_once or (self.requested and number != _SIGHUP):
            self.requested = True
            self._raise.hear(number, frame)
        self.requested = True


class _Raise:
    """Raises KeyboardInterrupt where Python's own handler would, and does better in two places.

    In the middle of an import, of LLVM's binding, or of a `__del__` it waits: there the exception is taken for
    something else, or lost. And a SIGHUP after another signal is no second wish: who closes a terminal or logs out
    sends several.
    """

    def __init__(self) -> None:
        self._asked = False
        self._waits = False
        self._tries_again = False
        self._around = _num_sheltered(sys._getframe())  # a program may do all its work in an import

    def hear(self, number: int, frame: FrameType | None) -> None:
        """The handler."""
        _leave_lost_terminal()
        if _num_sheltered(frame) > self._around:
            self._wait(number)
            return
        self._waits = self._tries_again = False
        if self._asked and number == _SIGHUP:
            return
        self._asked = True
        sys.unraisablehook = _pass_over_half_made
        raise KeyboardInterrupt

    def _wait(self, number: int) -> None:
        """Try again soon; who asks a second time meanwhile does not wait."""
        if self._waits and not self._tries_again and number != _SIGHUP:
            _leave(number, None)
        self._waits, self._tries_again = True, False
        _thread.start_new_thread(self._try_again, (number,))  # `threading` has locks, which a handler may find taken

    def _try_again(self, number: int) -> None:
        time.sleep(RETRY_SECONDS)
        if self._waits:
            self._tries_again = True
            if sys.platform == "win32":
                signal.raise_signal(number)
            else:  # so that it does not sleep on
                signal.pthread_kill(threading.main_thread().ident or 0, number)

    def forget(self) -> None:
        """What waits has been answered otherwise."""
        self._waits = False


def _num_sheltered(frame: FrameType | None) -> int:
    """How many calls on the stack are such that lose what is raised in them, or break by it."""
    count = 0
    while frame is not None:
        count += _is_sheltered(frame.f_code)
        frame = frame.f_back
    return count


def _is_sheltered(code: CodeType) -> bool:
    """The import system's; LLVM's binding, whose objects must not stay half made; `__del__`."""
    return code.co_filename.startswith(_IMPORT) or _LLVM in code.co_filename or code.co_name == "__del__"


def _pass_over_half_made(unraisable: sys.UnraisableHookArgs) -> None:
    """After an interrupt: what it left half made complains of that in its `__del__`, which nobody needs to read."""
    if getattr(unraisable.object, "__name__", "") != "__del__":
        sys.__unraisablehook__(unraisable)


def _leave(number: int, frame: FrameType | None) -> None:
    del number, frame
    with contextlib.suppress(OSError):
        os.write(2, STOPPED)
    os._exit(EXIT_CODE)


def _pass_over(number: int, frame: FrameType | None) -> None:
    del number, frame


def _install(handler: _Handler) -> dict[int, Any]:
    """Let `handler` hear them, but for those that are ignored; what they did before."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    heard = [number for number in SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]

    def hear(number: int, frame: FrameType | None) -> None:
        if _held.is_on:
            _held.numbers.append(number)
        else:
            handler(number, frame)

    return {number: signal.signal(number, hear) for number in heard}


def _restore(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)


def _let_through() -> None:
    """What the parent held back while it started this process."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _forget() -> None:
    """In what an environment forks signals do what they do in any program: else it could not be ended by SIGTERM."""
    for number in SIGNALS:
        if getattr(signal.getsignal(number), "__module__", None) == __name__:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _leave_lost_terminal() -> None:
    """Write nowhere from now on if the terminal is gone: a last line must not cost a last checkpoint."""
    for descriptor in (0, 1, 2):
        if _is_lost_terminal(descriptor):
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


def _is_lost_terminal(descriptor: int) -> bool:
    if sys.platform != "win32":
        try:
            termios.tcgetattr(descriptor)
        except termios.error as error:
            return bool(error.args[0] == errno.EIO)
    return False
