"""Trainings side by side: each in a process of its own, on a core of its own, that ends with this one; or elsewhere.

Knows processes, cores and logs; what is trained, and what comes of it, know those who start them.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from numzero.errors import UserError
from numzero.interrupts import EXIT_CODE, Interrupts, hear_again
from numzero.runtime import family
from numzero.runtime.begin import begin, new_process

__all__ = ["Trainer", "Training", "side_by_side"]

POLL_SECONDS = 0.2
STOP_SECONDS = 10.0
"""A trainer that has not ended this long after it was told to is killed; what it did since its checkpoint is lost."""


class Training(Protocol):
    """A training under way, wherever it is."""

    def ended(self) -> bool:
        """Whether it has, and then nothing of it is left."""
        ...

    def tell_to_stop(self) -> None:
        """As ^C does."""
        ...

    def wait(self, seconds: float) -> None:
        """For its end, so long at most."""
        ...

    def kill(self) -> None:
        """Whatever it does."""
        ...


class Trainer:
    """A process that does one piece of work, and ends with this one.

    Args:
        work: a function at the top of a module.
        arguments: of it.
        log: takes what the process says on stderr, and why its work failed.
        core: that it is kept on; None: any.
    """

    def __init__(self, work: Callable[..., None], arguments: Sequence[Any], log: Path, core: int | None) -> None:
        self._family = family.child_name()
        context = multiprocessing.get_context("spawn")  # after a fork torch hangs
        self.process = new_process(context, _do, (self._family, os.getpid(), work, tuple(arguments), log, core))
        begin(self.process)

    def ended(self) -> bool:
        """Whether it has, and then nothing of it is left."""
        if self.process.exitcode is None:
            return False
        family.end(self._family)
        return True

    @property
    def exit_code(self) -> int:
        """Of one that has ended; 0 where its work was done, `EXIT_CODE` where it was told to stop."""
        return int(self.process.exitcode)

    def tell_to_stop(self) -> None:
        """As ^C does: between two updates, with a checkpoint."""
        self.process.terminate()

    def wait(self, seconds: float) -> None:
        """For its end, so long at most."""
        self.process.join(seconds)

    def kill(self) -> None:
        """It, and with it what it started."""
        self.process.kill()
        self.process.join()
        self.ended()


T = TypeVar("T", bound=Training)


def side_by_side(
    jobs: int,
    begin_next: Callable[[int | None], T | None],
    on_end: Callable[[T], None],
    watch: Callable[[T], None] = lambda trainer: None,
) -> None:
    """Keep so many trainers at work until there is nothing left to begin.

    Args:
        jobs: at a time.
        begin_next: starts one on this core (None: any); returns None where none is to be begun now.
        on_end: hears of each that has ended.
        watch: is shown each that is at work, again and again.

    Raises:
        KeyboardInterrupt: it was asked to stop; nothing runs any more.
    """
    running = dict[int, T]()
    cores, interrupts = _cores(), Interrupts()
    with family.no_orphans(), interrupts.heard():
        try:
            while not interrupts.requested:
                for place in sorted({*range(jobs)} - {*running}):
                    if (started := begin_next(cores[place % len(cores)] if cores else None)) is None:
                        break
                    running[place] = started
                if not running:
                    return
                time.sleep(POLL_SECONDS)
                for place, trainer in [*running.items()]:
                    watch(trainer)
                    if trainer.ended():
                        del running[place]
                        on_end(trainer)
        finally:
            _stop([*running.values()])
    raise KeyboardInterrupt


def _cores() -> list[int]:
    """Those that this process may run on; none where a process cannot be kept on one."""
    if sys.platform != "linux":
        return []
    return sorted(os.sched_getaffinity(0))


def _stop(trainers: Sequence[Training]) -> None:
    """End them, gently at first."""
    for trainer in trainers:
        trainer.tell_to_stop()
    deadline = time.monotonic() + STOP_SECONDS
    try:
        for trainer in trainers:
            trainer.wait(max(0.0, deadline - time.monotonic()))
    finally:
        for trainer in trainers:
            trainer.kill()


def _do(
    name: str, parent: int, work: Callable[..., None], arguments: tuple[Any, ...], log: Path, core: int | None
) -> None:
    """A trainer's main function: does its work as a member of a family, until it is told to stop."""
    family.join(name, parent)
    try:
        hear_again()
        if sys.platform == "linux" and core is not None:
            os.sched_setaffinity(0, {core})
        with log.open("w", encoding="utf-8") as said:
            sys.stderr = said
            _work(work, arguments)
    except KeyboardInterrupt:
        sys.exit(EXIT_CODE)


def _work(work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Do it; why it failed is said while the log is open."""
    try:
        work(*arguments)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
