"""Roles in processes of this machine: started, watched, replaced when they die or hang, and ended with their parent.

Knows processes, one pipe each, one board for each role, the store's file and the weights' folder; knows nothing of what
roles do. Pipes carry only small messages one way; games go through SQLite and weights through files, which a killed
process cannot block.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from numzero import crash_context
from numzero.errors import UserError
from numzero.replay import GameStore, Trajectory
from numzero.runtime import family
from numzero.runtime.base import WEIGHTS, Notice, Place, Role, RuntimePace, State, WorkerStatus, add_counts
from numzero.runtime.begin import begin, end_group, new_process
from numzero.runtime.board import Board
from numzero.runtime.channels import Channels
from numzero.runtime.supervision import SHARE_OF_PATIENCE, STOP_SECONDS, Notices, Restarts
from numzero.runtime.worker import WorkerStart, work
from numzero.usage import cpu_ticks

if sys.platform == "linux":
    from numzero.runtime import forkserver

__all__ = ["ProcessRuntime"]

PUBLISH_SECONDS = 0.2
"""Workers look for weights this often: publishing faster would only wear the disk."""
WAIT_SECONDS = 0.1
"""How long there may be nothing to do for whoever directs the workers, before they look again."""
LAST_MESSAGES_SECONDS = 0.5
"""How long after a worker's end its pipe may still bring what it said."""


class ProcessRuntime:
    """One process per task; see `Runtime`.

    Args:
        place: of which it needs `store` and `weights`, and takes `config`, `first_life` and `first_sequence`.
    """

    pace = RuntimePace(in_step=False, publish_seconds=PUBLISH_SECONDS, wait_seconds=WAIT_SECONDS)

    def __init__(self, place: Place) -> None:
        assert place.store is not None, "processes need a file for their games"
        assert place.weights is not None, "processes need a folder for their weights"
        self._store_path = place.store
        self._weights = place.weights
        self._config = place.config
        self._first_life = place.first_life
        self._channels = Channels(place.weights)
        self._starter = _Starter()
        self._boards: dict[str, Board] = {}
        self._allowed: dict[str, int] = {}
        self._workers: list[_Worker] = []
        self._heard: queue.SimpleQueue[tuple[_Worker, int, str, Any]] = queue.SimpleQueue()
        self._counts: dict[str, Any] = {}
        self._notices = Notices()
        self._last_look = time.monotonic()
        self._stopping = False
        self._store: GameStore | None = None
        self._watched = contextlib.ExitStack()
        self._family = ""  # of all workers; each is a family within it
        self.sequence = place.first_sequence

    def start(
        self, role: Role, tasks: Sequence[Any], *, unit: str = "steps", patience_seconds: float | None = None
    ) -> None:
        """See `Runtime`."""
        name = role.__name__
        assert name not in self._boards, f"role {name} was started before"
        board = self._boards[name] = Board(len(tasks), self._starter.context)
        board.allow(self._allowed.get(name, 0))
        patience = self._config.patience_seconds if patience_seconds is None else patience_seconds
        if not self._workers:
            self._watched.enter_context(family.no_orphans())
            self._watched.enter_context(self._starter.kept())
            self._family = family.child_name()
        place = self._store_path, self._weights, os.getpid(), self._family
        for row, task in enumerate(tasks):
            start = WorkerStart(role, task, unit, self._first_life, {}, row, *place)
            worker = _Worker(f"numzero-{name}-{row}", start, board, patience)
            self._workers.append(worker)
            worker.start(self._starter, self._heard)

    def publish(self, version: int, files: Mapping[str, bytes], channel: str = WEIGHTS) -> None:
        """See `Runtime`."""
        self._channels.publish(version, files, channel)

    def allow(self, role: str, total: int) -> None:
        """See `Runtime`."""
        self._allowed[role] = total
        if role in self._boards:
            self._boards[role].allow(total)

    def poll(self, timeout_seconds: float) -> None:
        """See `Runtime`."""
        self._listen(timeout_seconds if self.running() else 0.0)
        self.watch()

    def watch(self) -> None:
        """See `Runtime`: see to who died, kill who hangs, and start who is due."""
        now = time.monotonic()
        away, self._last_look = now - self._last_look, now
        for worker in self._workers:
            if worker.finished:
                continue
            if worker.process is None:
                if self._stopping:
                    worker.finished = True
                elif now >= worker.due:
                    worker.start(self._starter, self._heard)
                    self._notices.add(Notice(worker.name, "replaced", f"worker {worker.name} was replaced."))
            elif worker.gone(now):
                self._replace_later(worker, now)
            elif worker.hangs(away, self._config.start_patience_seconds):
                worker.process.kill()

    def collect(self) -> Sequence[Trajectory]:
        """See `Runtime`."""
        if self._store is None:
            self._store = GameStore(self._store_path, on_damage=self._note_damage)
        self.sequence, trajectories = self._store.read_all_after(self.sequence)
        return trajectories

    def take_counts(self) -> dict[str, Any]:
        """See `Runtime`."""
        counts, self._counts = self._counts, {}
        return counts

    def take_notices(self) -> list[Notice]:
        """See `Runtime`."""
        return self._notices.take()

    def workers(self) -> list[WorkerStatus]:
        """See `Runtime`."""
        return [worker.status() for worker in self._workers]

    def settle(self) -> dict[str, State]:
        """See `Runtime`: workers store their own games, and keep no state."""
        return {}

    def running(self) -> bool:
        """See `Runtime`."""
        return any(not worker.finished for worker in self._workers)

    def stop(self) -> None:
        """See `Runtime`."""
        self._stopping = True
        for board in self._boards.values():
            board.stop()
        for worker in self._workers:
            worker.spare_the_start()
        deadline = time.monotonic() + STOP_SECONDS
        while self.running() and time.monotonic() < deadline:
            try:
                self.poll(0.1)
            except (UserError, RuntimeError) as error:
                self._notices.add(Notice("runtime", "failed", str(error)))
        self._end_workers()

    def close(self) -> None:
        """Kill what still runs and let go of the store."""
        self._end_workers()
        self._watched.close()
        if self._store is not None:
            self._store.close()

    def _end_workers(self) -> None:
        """All of them, and in the end what their environments started and put out of sight."""
        for worker in self._workers:
            worker.end()
        family.end(self._family)
        self._family = ""

    def _note_damage(self, sentence: str) -> None:
        self._notices.add(Notice("store", "damaged", sentence))

    def _listen(self, timeout_seconds: float) -> None:
        """Take in what workers said, waiting for the first word."""
        try:
            while True:
                worker, life, kind, content = self._heard.get(timeout=timeout_seconds)
                timeout_seconds = 0.0
                if life == worker.life:
                    self._hear(worker, kind, content)
        except queue.Empty:
            return

    def _hear(self, worker: _Worker, kind: str, content: Any) -> None:
        if kind == "counts":
            num_delivered, counts = content
            worker.remember(counts)
            if num_delivered:
                worker.restarts.got_somewhere()
            add_counts(self._counts, counts)
        elif kind == "notice":
            self._notices.add_once(Notice(worker.name, *content))
        elif kind == "silence":
            worker.silent = True
        elif kind == "done":
            worker.finished = True
        elif kind == "fault":
            worker.fault = content
        else:
            worker.finished = True
            raise UserError(content) if kind == "user_error" else RuntimeError(f"in a worker:\n{content}")

    def _replace_later(self, worker: _Worker, now: float) -> None:
        """Say how a worker ended, and see when to replace it."""
        kind, sentence = worker.describe_end()
        worker.end()
        family.end(worker.family)
        self._notices.add(Notice(worker.name, kind, sentence))
        if self._stopping:
            worker.finished = True
            return
        lived, most = worker.lived(now), self._config.max_restarts
        try:
            worker.due = now + worker.restarts.delay_seconds(sentence, lived, most)
        except UserError:
            worker.finished = True
            raise


class _Starter:
    """Starts processes of workers: forks them where that can be done."""

    def __init__(self) -> None:
        self.context = multiprocessing.get_context("spawn")
        self._servers: Any = None

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Processes are started, and run, inside."""
        if sys.platform == "linux":
            self._servers = forkserver.servers()
            with self._servers.kept():
                yield
        else:
            yield

    def begun(self, name: str, start: WorkerStart, board: Board, pipe: Any) -> Any:
        """A process that is at work from now on."""
        server = None if self._servers is None else self._servers.server()
        if server is not None:
            role = start.role.__module__
            modules = [role] if role.startswith("numzero.") else []  # others may be changed until they are imported
            options = {"name": name, "daemon": True, "modules": modules}
            process = new_process(server, work, (start._replace(parent=server.pid), board, pipe), **options)
            with contextlib.suppress(ConnectionError):  # somebody killed the server
                begin(process)
                return process
        process = new_process(self.context, work, (start, board, pipe), name=name, daemon=True)
        begin(process)
        return process


class _Worker:
    """One task through all its lives: the process that does it now, and what is known of it."""

    def __init__(self, name: str, start: WorkerStart, board: Board, patience_seconds: float) -> None:
        self.name = name
        self.process: Any = None
        self.finished = False  # never to be started again
        self.silent = False  # the pipe has ended
        self.fault = ""  # what its environment did
        self.restarts = Restarts()
        self.due = 0.0
        self._start = start._replace(life=start.life - 1)
        self._all_family = start.family
        self._board = board
        self._patience_seconds = patience_seconds
        self._told: dict[str, int | float] = {}
        self._hung = False
        self._signs = 0
        self._without_sign = 0.0
        self._starting = 0.0
        self._started = 0.0
        self._ended: float | None = None

    @property
    def life(self) -> int:
        """The number of its present life."""
        return self._start.life

    @property
    def family(self) -> str:
        """The name of its present life's family."""
        return self._start.family

    def start(self, starter: _Starter, heard: queue.SimpleQueue[Any]) -> None:
        """Begin the next life."""
        life = self._start.life + 1
        within = self._all_family and f"{self._all_family}.{self.name}-{life}"
        self._start = start = self._start._replace(life=life, told=dict(self._told), family=within)
        self._board.begin(start.row, int(self._told.get(start.unit, 0)))
        self.silent, self.fault, self._hung, self._ended = False, "", False, None
        self._signs, self._without_sign, self._starting, self._started = 0, 0.0, 0.0, time.monotonic()
        ours, theirs = starter.context.Pipe(duplex=False)
        with theirs:
            self.process = starter.begun(self.name, start, self._board, theirs)
        # A thread, so that a process that is stopped in the middle of a message holds up nobody.
        threading.Thread(target=_forward, args=(ours, self, start.life, heard), daemon=True).start()

    def remember(self, counts: Mapping[str, Any]) -> None:
        """Add up what it told, for its next lives."""
        add_counts(self._told, {n: len(v) if hasattr(v, "__len__") else v for n, v in counts.items()})

    def status(self) -> WorkerStatus:
        """How it is now."""
        board, row = self._board, self._start.row
        seconds = max(time.monotonic() - self._started, 1e-9)
        return WorkerStatus(
            self.name,
            self._start.role.__name__,
            self.life,
            int(board.units[row]),
            min(1.0, float(board.waiting_seconds[row]) / seconds),
            int(board.memory_bytes[row]),
        )

    def gone(self, now: float) -> bool:
        """Whether the process has ended and all that it said was heard."""
        if self.process.exitcode is None:
            return False
        self._ended = now if self._ended is None else self._ended
        return self.silent or now - self._ended > LAST_MESSAGES_SECONDS

    def hangs(self, seconds: float, start_patience_seconds: float) -> bool:
        """Whether it has shown no sign of life for too long; `seconds` have gone by since the last question."""
        signs = int(self._board.signs[self._start.row])
        patience = self._patience_seconds
        if not signs:  # it imports, and perhaps compiles: that it computes is a sign, for some time
            ticks = cpu_ticks(self.process.pid)
            signs = -(ticks or 0)
            patience = max(patience, start_patience_seconds) if ticks is None else patience
            self._starting += min(seconds, SHARE_OF_PATIENCE * patience)
        seconds = min(seconds, SHARE_OF_PATIENCE * patience)
        self._without_sign = self._without_sign + seconds if signs == self._signs else 0.0
        self._signs = signs
        self._hung = (
            self._hung or self._without_sign > patience or (signs <= 0 and self._starting > start_patience_seconds)
        )
        return self._hung

    def _silence(self) -> float:
        return self._without_sign if self._signs > 0 else max(self._without_sign, self._starting)

    def lived(self, now: float) -> float:
        """Seconds from its start to its last sign of life."""
        return now - self._started - self._without_sign

    def spare_the_start(self) -> None:
        """Kill a process that has not shown any sign of life yet: it has nothing to bring."""
        if self.process is not None and not self._board.signs[self._start.row]:
            self.process.kill()
            self.finished = True

    def describe_end(self) -> tuple[Any, str]:
        """What became of this life, and a sentence about it."""
        if self.fault:
            return "failed", f"worker {self.name} ended: {self.fault}"
        place = crash_context.describe(self._board.place(self._start.row))
        where = f" {place}" if place else ""
        if self._hung:
            return "hung", f"worker {self.name} showed no sign of life for {self._silence():.0f} s{where}; killed."
        killed = sys.platform != "win32" and self.process.exitcode == -signal.SIGKILL
        hint = " Memory may have run out: use fewer workers." if killed else ""
        return "died", f"worker {self.name} died{where} (exit code {self.process.exitcode}).{hint}"

    def end(self) -> None:
        """Let it finish for a moment, then kill it, and in any case what its environment started."""
        if self.process is None:
            return
        if self.finished:
            self.process.join(1.0)
        end_group(self.process)
        self.process.close()
        self.process = None


def _forward(pipe: Any, worker: _Worker, life: int, heard: queue.SimpleQueue[Any]) -> None:
    """Pass on what one life of a worker says, to its end."""
    with pipe, contextlib.suppress(EOFError, OSError):
        while True:
            heard.put((worker, life, *pipe.recv()))
    heard.put((worker, life, "silence", None))
