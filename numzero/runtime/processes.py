"""Roles in processes of this machine, spawned, and ended with their parent.

Knows processes, one pipe each, the store's file and the weights' folder; knows nothing of what roles do. Pipes carry
only small messages with one reader and one writer each: games go through SQLite and weights through files, which a
killed process cannot block.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from numzero.errors import UserError
from numzero.files import prune, read_newest, write_folder
from numzero.replay import GameStore, Trajectory
from numzero.runtime.base import Role, add_counts

__all__ = ["ProcessRuntime"]

REPORT_SECONDS = 0.2
"""A worker commits its games and reports at most this often."""
WEIGHTS_SECONDS = 0.2
"""A worker looks for new weights at most this often."""
STOP_SECONDS = 20.0
"""A worker that has not ended this long after it was told to is killed."""
WEIGHT_GENERATIONS = 3
UNLIMITED = 2**62
PR_SET_PDEATHSIG = 1


class ProcessRuntime:
    """One process per role; see `Runtime`.

    Args:
        store: the SQLite file that delivered trajectories go to.
        weights: the folder of published weights, one numbered folder per version.
    """

    def __init__(self, store: Path, weights: Path) -> None:
        self._store_path = store
        self._weights = weights
        self._workers: list[_Worker] = []
        self._counts: dict[str, Any] = {}
        self._allowed = -1
        self._store: GameStore | None = None
        self._sequence = 0

    def start(self, role: Role, tasks: Sequence[Any]) -> None:
        """See `Runtime`."""
        context = multiprocessing.get_context("spawn")
        for task in tasks:
            ours, theirs = context.Pipe()
            name = f"numzero-{role.__name__}-{len(self._workers)}"
            arguments = (role, task, theirs, self._store_path, self._weights)
            process = context.Process(target=_work, args=arguments, name=name, daemon=True)
            with _interrupts_held_back():
                process.start()
            theirs.close()
            self._workers.append(_Worker(process, ours))

    def publish(self, version: int, files: Mapping[str, bytes]) -> None:
        """See `Runtime`."""
        write_folder(self._weights / f"{version:09d}", files)
        prune(self._weights, WEIGHT_GENERATIONS)

    def allow_steps(self, total: int) -> None:
        """See `Runtime`: every process gets an equal share."""
        if total == self._allowed or not self._workers:
            return
        self._allowed = total
        share = -(-total // len(self._workers))
        for worker in self._workers:
            worker.send(("allow", share))

    def poll(self, timeout_seconds: float) -> None:
        """See `Runtime`."""
        open_pipes = [worker.pipe for worker in self._workers if not worker.finished]
        if not open_pipes:
            return
        multiprocessing.connection.wait(open_pipes, timeout_seconds)
        for worker in self._workers:
            self._hear(worker)

    def collect(self) -> list[Trajectory]:
        """See `Runtime`."""
        if self._store is None:
            self._store = GameStore(self._store_path)
        trajectories: list[Trajectory] = []
        while True:
            self._sequence, more = self._store.read_after(self._sequence, 1000)
            trajectories += more
            if len(more) < 1000:
                return trajectories

    def take_counts(self) -> dict[str, Any]:
        """See `Runtime`."""
        counts, self._counts = self._counts, {}
        return counts

    def running(self) -> bool:
        """See `Runtime`."""
        return any(not worker.finished for worker in self._workers)

    def stop(self) -> None:
        """See `Runtime`."""
        for worker in self._workers:
            worker.send(("stop", None))
        deadline = time.monotonic() + STOP_SECONDS
        while self.running() and time.monotonic() < deadline:
            with contextlib.suppress(UserError):  # one that died has nothing more to say
                self.poll(0.1)
        for worker in self._workers:
            worker.end()

    def close(self) -> None:
        """Kill what still runs and let go of the store."""
        for worker in self._workers:
            worker.end()
        if self._store is not None:
            self._store.close()

    def _hear(self, worker: _Worker) -> None:
        try:
            while not worker.finished and worker.pipe.poll():
                kind, content = worker.pipe.recv()
                if kind == "counts":
                    add_counts(self._counts, content)
                elif kind == "done":
                    worker.finished = True
                else:
                    worker.finished = True
                    raise UserError(content) if kind == "user_error" else RuntimeError(f"in a worker:\n{content}")
        except (EOFError, OSError):
            worker.finished = True
            worker.process.join(1.0)
            raise UserError(
                f"worker {worker.process.name} died (exit code {worker.process.exitcode}); finished games are kept. "
                "Run the command again to go on; exit code -9 may mean that memory ran out: use fewer --workers."
            ) from None


class _Worker:
    """A process and our end of its pipe."""

    def __init__(self, process: Any, pipe: Connection) -> None:
        self.process = process
        self.pipe = pipe
        self.finished = False

    def send(self, message: tuple[str, Any]) -> None:
        """Tell the process; one that is gone does not listen."""
        with contextlib.suppress(OSError):
            self.pipe.send(message)

    def end(self) -> None:
        """Let it finish for a moment, then kill it."""
        if self.finished:
            self.process.join(1.0)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.pipe.close()


class _ProcessMailbox:
    """The worker's side; see `Mailbox`."""

    def __init__(self, pipe: Connection, store: Path, weights: Path) -> None:
        self._pipe = pipe
        self._store = GameStore(store)
        self._weights = weights
        self._pending: list[Trajectory] = []
        self._counts: dict[str, Any] = {}
        self._steps = 0
        self._allowed = UNLIMITED
        self._stopping = False
        self._last_report = time.monotonic()
        self._last_look = -WEIGHTS_SECONDS

    def newest_weights(self, newer_than: int) -> tuple[int, dict[str, bytes]] | None:
        now = time.monotonic()
        if now - self._last_look < WEIGHTS_SECONDS:
            return None
        self._last_look = now
        return read_newest(self._weights, newer_than)

    def deliver(self, trajectories: Sequence[Trajectory]) -> None:
        self._pending += trajectories

    def report(self, counts: Mapping[str, Any]) -> None:
        self._steps += counts.get("steps", 0)
        add_counts(self._counts, counts)
        if time.monotonic() - self._last_report >= REPORT_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Commit the games in hand, then say so: whoever hears of a game finds it stored."""
        if self._pending:
            self._store.add(self._pending)
            self._pending = []
        if self._counts:
            self._pipe.send(("counts", self._counts))
            self._counts = {}
        self._last_report = time.monotonic()

    def step_budget(self) -> int:
        self._listen(0.0)
        return self._allowed - self._steps

    def stopping(self) -> bool:
        self._listen(0.0)
        return self._stopping

    def wait(self) -> None:
        self.flush()
        self._listen(0.05)

    def close(self) -> None:
        self._store.close()

    def _listen(self, timeout_seconds: float) -> None:
        try:
            while not self._stopping and self._pipe.poll(timeout_seconds):
                kind, content = self._pipe.recv()
                timeout_seconds = 0.0
                if kind == "allow":
                    self._allowed = content
                else:
                    self._stopping = True
        except (EOFError, OSError):  # the parent is gone
            self._stopping = True


def _work(role: Role, task: Any, pipe: Connection, store: Path, weights: Path) -> None:
    """A worker's main function."""
    _end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C reaches the whole group; the parent says when to stop
    mailbox = None
    try:
        mailbox = _ProcessMailbox(pipe, store, weights)
        try:
            for _ in role(task, mailbox):
                pass
        finally:
            mailbox.flush()  # what was delivered is kept, whatever ended the role
        pipe.send(("done", None))
    except UserError as error:
        pipe.send(("user_error", str(error)))
    except Exception:
        pipe.send(("bug", traceback.format_exc()))
    finally:
        if mailbox is not None:
            mailbox.close()


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """A process started inside never sees ^C, not even before its first line runs; ours sees it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its own start would end the holding back
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies; elsewhere the closed pipe ends it a moment later."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
