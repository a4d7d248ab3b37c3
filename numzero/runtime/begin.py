"""How a process of ours begins and is ended: with signals held back, without doing again what the user's program does.

Python's "spawn" imports the program (`__main__`) in each process that it starts, since what it defines or registers may
be needed there: an environment, say. A program that trains where it is imported, and not only where it is run, would
begin to train in there too. Here the program is imported as far as the first thing that it asks of numzero.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing import process as processes
from multiprocessing import spawn
from multiprocessing.reduction import ForkingPickler
from typing import Any

from numzero import crash_context, interrupts
from numzero.interrupts import held_back
from numzero.outside import imported
from numzero.runtime import family

__all__ = ["begin", "end_group", "new_process", "settle_in"]


class _Call:
    """What a process is to do. It travels as bytes, to be read when the program is there, of which it may be a part."""

    def __init__(self, target: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._content = target, args

    def __reduce__(self) -> tuple[type[bytes], tuple[bytes]]:
        """Bytes that `_run` reads."""
        return bytes, (bytes(ForkingPickler.dumps(self._content)),)


def new_process(context: Any, target: Callable[..., object], args: tuple[Any, ...], **options: Any) -> Any:
    """A process of `context` that is to call `target(*args)`; `begin` starts it."""
    return context.Process(target=_run, args=(_program(), _Call(target, args)), **options)


def begin(process: Any) -> None:
    """Start what `new_process` made. What is forked elsewhere has the signals of its parent there."""
    held = contextlib.nullcontext() if process._start_method == "forkserver" else held_back()
    with held, _program_hidden():
        process.start()


def settle_in(family_name: str, parent: int, place: memoryview) -> None:
    """What a process of ours does before all else, that is to call an environment.

    Args:
        family_name: of the process and of all that its environment starts.
        parent: id of the process that started it.
        place: where it notes what it is inside of, for whoever looks at it from outside.
    """
    family.join(family_name, parent)
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # with what its environment starts it is a group, which is ended as one
    interrupts.pass_over()
    processes.current_process().daemon = False  # an environment may have processes too
    crash_context.keep_in(place)


def end_group(process: Any) -> None:
    """Kill a process that has settled in, and what its environment started."""
    if process.is_alive():
        process.kill()
    process.join()
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left
            os.killpg(process.pid, signal.SIGKILL)


def _program() -> dict[str, str]:
    """Where this process's program is, as Python's own "spawn" tells it; empty where nobody can import it."""
    data = spawn.get_preparation_data(processes.current_process().name)
    return {key: data[key] for key in ("init_main_from_name", "init_main_from_path") if key in data}


@contextlib.contextmanager
def _program_hidden() -> Iterator[None]:
    """What is started inside does not import the program before `_run` does."""
    program: dict[str, Any] = vars(sys.modules["__main__"])
    shown: dict[str, Any] = {name: program.pop(name) for name in ("__spec__", "__file__") if name in program}
    program["__spec__"] = None
    try:
        yield
    finally:
        program.update(shown)


def _run(program: dict[str, str], call: bytes) -> None:
    """The first of our lines in a process."""
    with imported(), _inheriting():
        spawn.prepare(program)
    target, args = ForkingPickler.loads(call)
    target(*args)


@contextlib.contextmanager
def _inheriting() -> Iterator[None]:
    """Python lets a program that is imported inside start no processes either."""
    state = vars(processes.current_process())
    state["_inheriting"] = True
    try:
        yield
    finally:
        state["_inheriting"] = False
