"""A check of an environment in a process of its own, which may hang, crash or end with the environment.

Knows processes, and where one was inside an environment; what is looked at is `games.checking`'s.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from types import TracebackType
from typing import IO, Any, NamedTuple

import msgspec

from numzero import crash_context
from numzero.games import EnvironmentReport, Finding, check_environment
from numzero.runtime import family
from numzero.runtime.begin import begin, end_group, new_process, settle_in

__all__ = ["EnvironmentCheck"]

LOOK_SECONDS = 0.1
PATIENCE_SECONDS = 30.0
"""In one call of an environment, before it counts as hanging."""
OUTSIDE_SECONDS = 120.0
"""Without a word from outside of any call, while it imports or compiles say, in addition to the time it was given."""
LAST_WORD = b"."
"""After the last report: the process may be held up then, by what its environment started."""
MOST_PRINTED = 200
"""Characters of what was printed that are shown."""


class _Task(NamedTuple):
    """What the process is to do."""

    name: str
    seed: int
    num_steps: int
    seconds: float
    family: str
    parent: int


class EnvironmentCheck:
    """Begins a check at once, and gives its report when asked; use as a context manager.

    Args:
      name: of the environment.
      seed: of episodes and actions.
      num_steps: to play.
      seconds: after which nothing more is begun.
      patience_seconds: after which an environment that does not come back from a call is ended.
    """

    def __init__(
        self, name: str, *, seed: int, num_steps: int, seconds: float, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._patience_seconds = patience_seconds
        self._outside_seconds = OUTSIDE_SECONDS + seconds
        self._report = EnvironmentReport(environment=name)
        self._finished = False
        self._opened = contextlib.ExitStack()
        self._opened.enter_context(family.no_orphans())
        context = multiprocessing.get_context("spawn")
        self._memory = context.RawArray(ctypes.c_byte, crash_context.SIZE)
        self._pipe, theirs = context.Pipe(duplex=False)
        self._opened.callback(self._pipe.close)
        task = _Task(name, seed, num_steps, seconds, family.child_name(), os.getpid())
        self._family = task.family
        self._process = new_process(context, _check, (task, self._memory, theirs), daemon=True)
        begin(self._process)
        theirs.close()

    def __enter__(self) -> EnvironmentCheck:
        """It has begun."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the process, and what the environment started."""
        self._end()
        self._opened.close()

    def report(self) -> EnvironmentReport:
        """Wait for the end of the check, or of its process: what that one had found is kept."""
        last, since = b"", time.monotonic()
        while not self._finished and self._listen():
            now = bytes(self._memory) + bytes(len(self._report.findings))
            last, since = now, (since if now == last else time.monotonic())
            inside = crash_context.place(memoryview(self._memory)) is not None
            patience = self._patience_seconds if inside else self._outside_seconds
            if time.monotonic() - since > patience:
                self._end()
                return self._ended(f"return within {patience:g} s", "nothing")
        if self._finished:
            return self._report
        self._process.join()
        return self._ended("return, not end its process", f"exit code {self._process.exitcode}")

    def _listen(self) -> bool:
        """Take in what the process says; whether it may say more. What it started may hold the pipe open after it."""
        try:
            if self._pipe.poll(LOOK_SECONDS):
                self._hear(self._pipe.recv_bytes())
                return True
        except (EOFError, OSError):
            return False
        return self._process.exitcode is None

    def _hear(self, said: bytes) -> None:
        if said == LAST_WORD:
            self._finished = True
        else:
            self._report = msgspec.json.decode(said, type=EnvironmentReport)

    def _ended(self, rule: str, seen: str) -> EnvironmentReport:
        """The report, and where the process was inside the environment when it ended."""
        place = crash_context.place(memoryview(self._memory))
        finding = Finding(
            kind="fault",
            field="the environment" if place is None else place.call,
            rule=rule,
            seen=seen,
            remedy="Mend what it does there, or run it under a debugger.",
            step=None if place is None else place.step,
        )
        return msgspec.structs.replace(self._report.with_findings(finding), complete=False)

    def _end(self) -> None:
        """Kill the process and all that it started."""
        end_group(self._process)
        family.end(self._family)


# ------------------------------------------------------------------------------------------- inside the process


def _check(task: _Task, memory: Any, pipe: Connection) -> None:
    """The process's main function: says the report whenever there is more of it."""
    settle_in(task.family, task.parent, memoryview(memory))

    def tell(report: EnvironmentReport) -> None:
        pipe.send_bytes(msgspec.json.encode(report))

    with _output_kept() as printed:
        report = check_environment(task.name, seed=task.seed, num_steps=task.num_steps, seconds=task.seconds, tell=tell)
        sys.stdout.flush()
        printed.seek(0)
        tell(_with_printed(report, printed.read()))
    pipe.send_bytes(LAST_WORD)


@contextlib.contextmanager
def _output_kept() -> Iterator[IO[bytes]]:
    """What is printed inside, by any code of the process, goes to a file that can be read afterwards."""
    with tempfile.TemporaryFile() as printed, open(os.devnull, "wb") as nowhere:
        sys.stdout.flush()
        os.dup2(printed.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        yield printed


def _with_printed(report: EnvironmentReport, printed: bytes) -> EnvironmentReport:
    """The report, and that something was printed."""
    if not printed:
        return report
    text = printed.decode(errors="replace")
    finding = Finding(
        kind="look",
        field="the environment",
        rule="print nothing to standard output",
        seen=f"{text[:MOST_PRINTED]!r}",
        remedy="Print to standard error, or leave it out: it would stand amid what commands print.",
        count=len(text.splitlines()),
    )
    return report.with_findings(finding)
