"""Roles as Ray actors, wherever a cluster has cores: watched, replaced, and ended with the process that directs them.

Knows Ray, which no other module may import, and the store's file beside the learner; knows nothing of what roles do.
An actor is one life of one worker. Its role works in a thread of its own, while the process answers one call after
another: the call brings what is new (how much may be done, references to weights, answers) and takes away what the role
has to say (games, encoded as they are stored, counts, questions about stored games). Only the process that directs them
opens a file, in a thread here, and Ray carries the weights to each machine once.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import mmap
import os
import queue
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

from numzero import crash_context
from numzero.errors import DiskFullError, UserError
from numzero.replay import (
    EncodedGame,
    GameRow,
    GameStore,
    Statistics,
    StoreBusyError,
    Trajectory,
    decode_statistics,
    decode_trajectory,
    encode_game,
    encode_statistics,
    encode_trajectory,
)
from numzero.runtime import family
from numzero.runtime.base import WEIGHTS, Notice, Place, Role, RuntimePace, State, WorkerStatus, add_counts
from numzero.runtime.shelf import Shelf, unheard
from numzero.runtime.supervision import SHARE_OF_PATIENCE, STOP_SECONDS, Notices, Restarts
from numzero.runtime.worker import last_word
from numzero.usage import resident_bytes

try:
    import ray
    from ray import exceptions
    from ray._private import ray_constants
    from ray._private import worker as rays_worker
except ModuleNotFoundError as missing:
    raise UserError(
        f"runtime.kind ray needs {missing.name}, which is not installed: pip install 'numzero[ray]'."
    ) from missing

__all__ = ["RayRuntime", "require_token", "share_of"]

CALL_SECONDS = 0.2
"""A call stays with its actor so long where nothing is to be said sooner."""
CALLS_PER_SECOND = 200
"""Of all actors together, at most: with more than forty each call stays longer. One costs the head 1 ms or 2."""
GRANT_SECONDS = 5.0
"""What an actor was granted and has not used is another's, when nothing was heard of it for so long."""
PUBLISH_SECONDS = 0.2
WAIT_SECONDS = 0.1
"""How long there may be nothing to do for whoever directs the workers, before they look again."""
IDLE_SECONDS = 0.02
"""How long a worker with nothing to do sleeps."""
LOOK_SECONDS = 0.05
BUSY_SECONDS = 1.0
RETRY_SECONDS = 0.5
"""A full disk, or a machine that does not answer, is tried again so often."""
UNPLACED_SECONDS = 20.0
"""An actor that has not begun after so long waits for a core."""
INQUEST_SECONDS = 10.0
"""So long at most it is asked where a dead actor was."""
OBJECT_STORE_BYTES = 512 * 2**20
"""Of a local instance: shared memory for weights on the move and games too large for a message; used as needed."""
LONGEST_FOLDER = 40
"""Ray puts sockets in its folder, whose names may have some hundred characters."""
TOKEN = secrets.token_hex(32)
"""Of the instances of this process; Ray reads it once."""
LOOPBACK = "127.0.0.1"
QUIET: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
UNPLACED = (
    "some workers wait for a core of the cluster; they begin as soon as one is free, or another machine has joined."
)
LEFT_OUT = ["runs", "studies", ".git", ".venv", "*.sqlite*", "__pycache__"]
"""Of the current folder, when it is sent to the machines of a cluster; so is what .gitignore names."""


# ------------------------------------------------------------------------------------------------- what is said


class _Start(NamedTuple):
    """What an actor is told when it begins."""

    name: str
    unit: str
    life: int
    told: dict[str, int | float]
    work: list[Any]
    """A reference to the role and its task, which are imported when the actor can say what goes wrong."""
    folder: str
    """Where to work; empty: where Ray lets it."""
    paths: list[str]
    """To import from, after its own."""


class _News(NamedTuple):
    """What a call brings."""

    heard: int
    """Number of the last report that arrived."""
    granted: int
    """Units that may be done, counted from the beginning of the runtime."""
    seconds: float
    """How long the call may stay."""
    stopping: bool
    published: dict[str, tuple[int, list[Any]]]
    """Version and reference of the newest files of each channel."""
    answer: tuple[int, Any]
    """Number of a question, and its answer."""


class _At(NamedTuple):
    """Where an actor is."""

    machine: str
    """Ray's id of its node."""
    address: str
    file: str
    """In which it notes where it is inside an environment."""


class _Report(NamedTuple):
    """What a call takes away."""

    number: int
    games: list[EncodedGame]
    counts: dict[str, Any]
    units: int
    """Done since the beginning of the runtime."""
    stride: int
    """Most units that were done between two looks at the budget."""
    is_hungry: bool
    """Whether it waits for more budget."""
    signs: int
    waiting_share: float
    memory_bytes: int
    question: tuple[int, str, tuple[Any, ...]]
    """Number (0: none), what is asked for, and of what."""
    last_word: tuple[str, str]
    """How the role ended, as `worker.last_word` has it; ("", "") while it works."""
    at: _At
    version: str
    """Of numzero."""


# ------------------------------------------------------------------------------------------------ in an actor


class _Actor:
    """One life of a worker, in a process of Ray's."""

    def __init__(self, start: _Start) -> None:
        if start.folder:
            os.chdir(start.folder)
        sys.path += [path for path in start.paths if path not in sys.path]
        self.start = start
        self.changed = threading.Condition()
        self.news = _News(0, 0, 0.0, False, {}, (0, None))
        self.units = int(start.told.get(start.unit, 0))
        self.signs = 0
        self.stride = 1
        self.waiting_seconds = 0.0
        self.is_hungry = False
        self.games: list[EncodedGame] = []
        self.counts: dict[str, Any] = {}
        self.question: tuple[int, str, tuple[Any, ...]] = 0, "", ()
        self.answer: tuple[int, Any] = 0, None
        self._began = time.monotonic()
        self._last_word = "", ""
        self._asked = 0
        self._report: _Report | None = None
        self._make_place()
        threading.Thread(target=self._work, daemon=True).start()

    def _make_place(self) -> None:
        """The file that outlives this process if the environment ends it."""
        context = ray.get_runtime_context()
        path = Path(context.get_temp_dir()) / f"numzero-{secrets.token_hex(8)}.place"
        path.write_bytes(bytes(crash_context.SIZE))
        with path.open("r+b") as file:
            self._place = memoryview(mmap.mmap(file.fileno(), crash_context.SIZE))
        crash_context.keep_in(self._place)
        self._at = _At(context.get_node_id(), ray.util.get_node_ip_address(), str(path))

    def call(self, news: _News) -> _Report:
        """Take in what is new, and say what there is to say, waiting a moment for it."""
        with self.changed:
            if self._report is not None and news.heard < self._report.number:
                return self._report  # it was lost on its way
            self.news = news
            self.answer = news.answer if news.answer[0] > self.answer[0] else self.answer
            self.is_hungry = self.is_hungry and news.granted <= self.units
            self.changed.notify_all()
            if self._report is not None:
                self.changed.wait_for(self._is_urgent, news.seconds)
            self._report = self._next_report()
            return self._report

    def _is_urgent(self) -> bool:
        is_hungry = self.is_hungry and not self.news.stopping
        return is_hungry or self.question[0] > self._asked or self._last_word[0] != ""

    def _next_report(self) -> _Report:
        games, self.games = self.games, []
        counts, self.counts = self.counts, {}
        self._asked = self.question[0]
        lived = max(time.monotonic() - self._began, 1e-9)
        return _Report(
            number=1 if self._report is None else self._report.number + 1,
            games=games,
            counts=counts,
            units=self.units,
            stride=self.stride,
            is_hungry=self.is_hungry,
            signs=self.signs,
            waiting_share=min(1.0, self.waiting_seconds / lived),
            memory_bytes=resident_bytes(),
            question=self.question if self.question[0] > self.answer[0] else (0, "", ()),
            last_word=self._last_word,
            at=self._at,
            version=_version(),
        )

    def _work(self) -> None:
        """The thread of the role."""
        said = "done", ""
        try:
            role, task = ray.get(self.start.work[0])
            with family.no_orphans(ends_rest=True):
                for _ in role(task, _RayMailbox(self)):
                    pass
        except Exception as error:
            said = last_word(error)
        except BaseException:  # a library that calls exit
            os._exit(1)
        with self.changed:
            Path(self._at.file).unlink(missing_ok=True)
            self._last_word = said
            self.changed.notify_all()


class _RayMailbox:
    """What a role in an actor sees of the world; see `Mailbox`."""

    keeps_state = False

    def __init__(self, actor: _Actor) -> None:
        self.life, self.told = actor.start.life, actor.start.told
        self._actor = actor
        self._unit = actor.start.unit

    def newest_weights(self, newer_than: int, channel: str = WEIGHTS) -> tuple[int, dict[str, bytes]] | None:
        self._live()
        version, references = self._actor.news.published.get(channel, (newer_than, []))
        return (version, ray.get(references[0])) if version > newer_than else None

    def stored_games(self, after: int) -> list[GameRow]:
        return [GameRow(*row) for row in self._ask("stored_games", after)]

    def oldest_game(self) -> int:
        return int(self._ask("oldest_game"))

    def read_games(self, sequences: Sequence[int]) -> list[Trajectory]:
        return [decode_trajectory(payload) for payload in self._ask("read_games", list(sequences))]

    def put_statistics(self, statistics: Sequence[Statistics]) -> int | None:
        found: int | None = self._ask("put_statistics", [encode_statistics(each) for each in statistics])
        return found

    def _ask(self, what: str, *of: Any) -> Any:
        """Something about stored games, of the process that has their store."""
        actor = self._actor
        self._live()
        with actor.changed:
            number = actor.question[0] + 1
            actor.question = number, what, of
            actor.changed.notify_all()
            actor.changed.wait_for(lambda: actor.answer[0] == number)
            self._live()
            return actor.answer[1]

    def deliver(self, trajectories: Sequence[Trajectory]) -> None:
        self._live()
        games = [encode_game(trajectory) for trajectory in trajectories]
        with self._actor.changed:
            self._actor.games += games

    def report(self, counts: Mapping[str, Any]) -> None:
        self._live()
        actor, units = self._actor, counts.get(self._unit, 0)
        with actor.changed:
            actor.units += units
            actor.stride = max(actor.stride, units)
            add_counts(actor.counts, counts)

    def budget(self) -> int:
        self._live()
        actor = self._actor
        with actor.changed:
            left = actor.news.granted - actor.units
            if left <= 0 and not actor.is_hungry:
                actor.is_hungry = True
                actor.changed.notify_all()
        return left

    def stopping(self) -> bool:
        self._live()
        return self._actor.news.stopping

    def wait(self) -> None:
        started = time.monotonic()
        with self._actor.changed:
            self._actor.changed.wait(IDLE_SECONDS)
        self._actor.waiting_seconds += time.monotonic() - started
        self._live()

    def keep_state(self, save: Callable[[], State]) -> State | None:
        del save
        return None

    def _live(self) -> None:
        self._actor.signs += 1


def _where_it_was(path: str) -> str:
    """Where a dead actor of this machine was inside an environment; its file is removed."""
    file = Path(path)
    found = crash_context.describe(memoryview(file.read_bytes()))
    file.unlink()
    return found


# --------------------------------------------------------------------------------------------- beside the learner


class RayRuntime:
    """One Ray actor per task; see `Runtime`.

    Args:
        place: of which it needs `store`, and takes `config`, `first_life` and `first_sequence`.
    """

    pace = RuntimePace(in_step=False, publish_seconds=PUBLISH_SECONDS, wait_seconds=WAIT_SECONDS)

    def __init__(self, place: Place) -> None:
        assert place.store is not None, "actors need a file for their games"
        self._store_path = place.store
        self._config = place.config
        self._first_life = place.first_life
        self.sequence = place.first_sequence
        self._library: _Library | None = None
        self._files: dict[str, tuple[int, dict[str, bytes]]] = {}
        self._published: dict[str, tuple[int, list[Any]]] = {}
        self._allowed: dict[str, int] = {}
        self._workers: list[_Worker] = []
        self._heard: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._counts: dict[str, Any] = {}
        self._notices = Notices()
        self._errors: list[Exception] = []
        self._is_news = threading.Event()
        self._stopping = self._closing = False
        self._supervisor: threading.Thread | None = None
        self._shelf = Shelf(None)
        self._claims = _Claims([], 0.0)
        self._last_look = time.monotonic()
        self._store: GameStore | None = None

    def start(
        self, role: Role, tasks: Sequence[Any], *, unit: str = "steps", patience_seconds: float | None = None
    ) -> None:
        """See `Runtime`."""
        if self._library is None:
            self._library = _Library(self._config.address, self._store_path, len(tasks))
            for channel in self._files:
                self._hand_out(channel)
            self._supervisor = threading.Thread(target=self._supervise, daemon=True)
            self._supervisor.start()
        patience = self._config.patience_seconds if patience_seconds is None else patience_seconds
        for row, task in enumerate(tasks):
            name = f"numzero-{role.__name__}-{row}"
            worker = _Worker(name, role.__name__, unit, ray.put((role, task)), self._first_life - 1, patience)
            self._workers.append(worker)
        self._wake()

    def publish(self, version: int, files: Mapping[str, bytes], channel: str = WEIGHTS) -> None:
        """See `Runtime`."""
        self._files[channel] = version, dict(files)
        if self._library is not None:
            self._hand_out(channel)

    def _hand_out(self, channel: str) -> None:
        """Into the object store, from which Ray copies it to a machine when the first actor there asks."""
        version, files = self._files[channel]
        self._published = self._published | {channel: (version, [ray.put(files)])}

    def allow(self, role: str, total: int) -> None:
        """See `Runtime`."""
        if self._allowed.get(role) != total:
            self._allowed[role] = total
            self._wake()

    def poll(self, timeout_seconds: float) -> None:
        """See `Runtime`."""
        if self.running():
            self._is_news.wait(timeout_seconds)
        self._is_news.clear()
        self.watch()

    def watch(self) -> None:
        """See `Runtime`: a thread sees to them; here is raised what it found."""
        if self._errors:
            raise self._errors.pop(0)

    def collect(self) -> list[Trajectory]:
        """See `Runtime`."""
        if self._store is None:
            self._store = GameStore(
                self._store_path, on_damage=lambda said: self._note(Notice("store", "damaged", said))
            )
        self.sequence, trajectories = self._store.read_all_after(self.sequence)
        return trajectories

    def take_counts(self) -> dict[str, Any]:
        """See `Runtime`."""
        with self._lock:
            counts, self._counts = self._counts, {}
        return counts

    def take_notices(self) -> list[Notice]:
        """See `Runtime`."""
        with self._lock:
            return self._notices.take()

    def workers(self) -> list[WorkerStatus]:
        """See `Runtime`."""
        return [worker.status() for worker in self._workers]

    def settle(self) -> dict[str, State]:
        """See `Runtime`: actors keep no state."""
        return {}

    def running(self) -> bool:
        """See `Runtime`."""
        return bool(self._errors) or any(not worker.finished for worker in self._workers)

    def stop(self) -> None:
        """See `Runtime`."""
        self._stopping = True
        self._wake()
        deadline = time.monotonic() + STOP_SECONDS + self._call_seconds()
        while self.running() and time.monotonic() < deadline:
            try:
                self.poll(0.1)
            except (UserError, RuntimeError) as error:
                self._note(Notice("runtime", "failed", str(error)))
        self._end()

    def close(self) -> None:
        """Kill what still runs, and let go of Ray and the store."""
        self._end()
        if self._library is not None:
            self._library.close()
            self._library = None
        if self._store is not None:
            self._store.close()

    def _end(self) -> None:
        """No actor works any longer, and nobody watches them."""
        self._closing = True
        self._wake()
        if self._supervisor is not None:
            self._supervisor.join()
        for worker in self._workers:
            worker.end()
            worker.finished = True

    # ------------------------------------------------------------------------ the thread that speaks with actors

    def _supervise(self) -> None:
        """Hear actors, store their games, and see to those that died or hang, until the end."""
        try:
            with GameStore(self._store_path, busy_seconds=BUSY_SECONDS, on_damage=unheard) as store:
                self._shelf = Shelf(store)
                while not self._closing:
                    with contextlib.suppress(queue.Empty):
                        self._heard.get(timeout=LOOK_SECONDS)()
                        while not self._heard.empty():
                            self._heard.get()()
                    self._look(store)
        except Exception as error:
            self._raise(error)

    def _wake(self) -> None:
        self._heard.put(lambda: None)

    def _raise(self, error: Exception) -> None:
        """In the thread of whoever directs the roles."""
        self._errors.append(error)
        self._is_news.set()

    def _note(self, notice: Notice) -> None:
        with self._lock:
            self._notices.add_once(notice)
        self._is_news.set()

    def _call_seconds(self) -> float:
        return max(CALL_SECONDS, len(self._workers) / CALLS_PER_SECOND)

    def _look(self, store: GameStore) -> None:
        """See to every worker."""
        now = time.monotonic()
        away, self._last_look = now - self._last_look, now
        workers = [*self._workers]  # others may be started meanwhile
        self._claims = _Claims(workers, now)
        for worker in workers:
            if worker.finished:
                continue
            if worker.end_kind:
                self._await_inquest(worker, now)
            elif worker.actor is None:
                self._begin_when_due(worker, now)
            elif worker.report is not None:
                self._take_in(worker, store, now)
            elif not self._called(worker, now):
                self._watch(worker, away, now)

    def _begin_when_due(self, worker: _Worker, now: float) -> None:
        if self._stopping:
            self._finish(worker)
        elif now >= worker.due:
            assert self._library is not None
            worker.begin(self._library)
            if worker.life > self._first_life:
                self._note(Notice(worker.name, "replaced", f"worker {worker.name} was replaced."))
            self._call(worker)

    def _called(self, worker: _Worker, now: float) -> bool:
        """Whether it was time to call an actor that is not being called."""
        has_reason = now >= worker.due
        if worker.is_hungry and not has_reason and now >= worker.called + len(self._workers) / CALLS_PER_SECOND:
            has_reason = self._stopping or self._grant(worker) > worker.units
        if has_reason:
            self._call(worker)
        return has_reason

    def _call(self, worker: _Worker) -> None:
        """Send an actor what is new; its report comes back by the queue."""
        worker.granted = max(worker.units, self._grant(worker))
        self._claims.change(worker)
        seconds = self._call_seconds()
        news = _News(worker.heard, worker.granted, seconds, self._stopping, self._published, worker.answer)
        worker.is_hungry, worker.due, worker.called = False, math.inf, time.monotonic()
        life = worker.life
        future = worker.actor.call.remote(news).future()
        future.add_done_callback(lambda done: self._heard.put(lambda: self._hear(worker, life, done)))

    def _grant(self, worker: _Worker) -> int:
        return share_of(worker, self._allowed.get(worker.role, 0), self._claims)

    def _hear(self, worker: _Worker, life: int, done: Any) -> None:
        """What came of a call."""
        if life != worker.life or worker.actor is None:
            return
        error = done.exception()
        if error is None:
            worker.report, worker.due = done.result(), 0.0
        elif isinstance(error, exceptions.ActorUnavailableError):
            worker.due = time.monotonic() + RETRY_SECONDS
        else:
            self._examine(worker, "died", error)

    def _take_in(self, worker: _Worker, store: GameStore, now: float) -> None:
        """Store the games of a report, then believe the rest: whoever hears of a game finds it stored."""
        report = worker.report
        assert report is not None
        if report.number > worker.heard:
            if not self._stored(worker, report.games, store, now):
                return
            self._believe(worker, report)
        worker.take_in(report, now)
        if report.version != _version():
            self._refuse(worker, report)
        elif report.last_word[0]:
            self._end_of_role(worker, *report.last_word)
        else:
            self._call_later(worker, report, now)

    def _stored(self, worker: _Worker, games: Sequence[EncodedGame], store: GameStore, now: float) -> bool:
        """Whether the games are in the store; if not, their actor is not called again until they are."""
        if now < worker.due:
            return False
        try:
            store.add_encoded(games)
        except (DiskFullError, StoreBusyError) as error:
            worker.due = now + RETRY_SECONDS
            if isinstance(error, DiskFullError):
                self._note(Notice(worker.name, "waiting", str(error)))
            return False
        return True

    def _believe(self, worker: _Worker, report: _Report) -> None:
        worker.remember(report.counts)
        if report.games:
            worker.restarts.got_somewhere()
        if report.counts or report.games:
            with self._lock:
                add_counts(self._counts, report.counts)
            self._is_news.set()

    def _call_later(self, worker: _Worker, report: _Report, now: float) -> None:
        """Answer at once; but who only waits for more budget is called when there is some, or after a while."""
        number, what, of = report.question
        if number:
            worker.answer = number, self._answer(what, of)
        else:
            worker.answer = worker.answer[0], None
        worker.is_hungry = report.is_hungry and not number
        if worker.is_hungry:
            worker.due = now + self._call_seconds()
        else:
            self._call(worker)

    def _answer(self, what: str, of: tuple[Any, ...]) -> Any:
        """What an actor asked of the store."""
        if what == "read_games":
            return [encode_trajectory(game) for game in self._shelf.read_games(*of)]
        if what == "put_statistics":
            return self._shelf.put_statistics([decode_statistics(payload) for payload in of[0]])
        return self._shelf.oldest_game() if what == "oldest_game" else self._shelf.stored_games(*of)

    # ----------------------------------------------------------------------------------------------- ends of lives

    def _finish(self, worker: _Worker) -> None:
        """Nothing comes of it any more."""
        worker.end()
        worker.finished = True
        self._is_news.set()

    def _refuse(self, worker: _Worker, report: _Report) -> None:
        self._finish(worker)
        sentence = f"{report.at.address} has {report.version}, this one {_version()}. Install the same there."
        self._raise(UserError(f"all machines of a cluster need the same numzero; {sentence}"))

    def _end_of_role(self, worker: _Worker, kind: str, content: str) -> None:
        if kind == "fault":
            self._replace_later(worker, "failed", f"worker {worker.name} ended: {content}")
            return
        self._finish(worker)
        if kind == "user_error":
            self._raise(UserError(content))
        elif kind == "bug":
            self._raise(RuntimeError(f"in a worker:\n{content}"))

    def _watch(self, worker: _Worker, seconds: float, now: float) -> None:
        """See to an actor that has not answered yet."""
        if worker.heard:
            patience = worker.patience_seconds if worker.signs else self._config.start_patience_seconds
            worker.silent_seconds += min(seconds, SHARE_OF_PATIENCE * patience)
            if worker.silent_seconds > patience:
                self._examine(worker, "hung", None)
        elif self._stopping:
            self._finish(worker)
        elif now - worker.began > UNPLACED_SECONDS:
            self._note(Notice(worker.name, "waiting", UNPLACED))

    def _examine(self, worker: _Worker, kind: Literal["died", "hung"], error: Exception | None) -> None:
        """An actor is dead, or is killed now: ask its machine where it was."""
        assert self._library is not None
        worker.end()
        worker.end_kind = kind
        if not worker.heard:
            self._conclude(worker, f": {_in_short(error)}")
        elif not _is_alive(worker.at.machine):
            self._conclude(worker, f": its machine {worker.at.address} is gone")
        else:
            worker.due, life = time.monotonic() + INQUEST_SECONDS, worker.life
            future = self._library.where_it_was(worker.at)
            future.add_done_callback(lambda done: self._heard.put(lambda: self._read_inquest(worker, life, done)))

    def _read_inquest(self, worker: _Worker, life: int, done: Any) -> None:
        if worker.end_kind and worker.life == life:
            where = "" if done.exception() is not None else done.result()
            self._conclude(worker, where and f" {where}")

    def _await_inquest(self, worker: _Worker, now: float) -> None:
        if now >= worker.due:
            self._conclude(worker, "")

    def _conclude(self, worker: _Worker, where: str) -> None:
        """Say what became of a life."""
        kind, worker.end_kind = worker.end_kind, ""
        if kind == "hung":
            sentence = f"worker {worker.name} showed no sign of life for {worker.silent_seconds:.0f} s{where}; killed."
        else:
            hint = "" if where else " Its process was killed, or memory ran out: then use fewer workers."
            sentence = f"worker {worker.name} died{where}.{hint}"
        self._replace_later(worker, kind, sentence)

    def _replace_later(self, worker: _Worker, kind: Any, sentence: str) -> None:
        """Say how a life ended, and see when the next one begins."""
        worker.end()
        self._note(Notice(worker.name, kind, sentence))
        if self._stopping:
            self._finish(worker)
            return
        now = time.monotonic()
        try:
            worker.due = now + worker.restarts.delay_seconds(sentence, worker.lived(now), self._config.max_restarts)
        except UserError as error:
            self._finish(worker)
            self._raise(error)


class _Worker:
    """One task through all its lives: the actor that does it now, and what is known of it."""

    def __init__(
        self, name: str, role: str, unit: str, work: Any, life: int, patience_seconds: float, stride: int = 1
    ) -> None:
        self.name, self.role, self.life = name, role, life
        self.patience_seconds = patience_seconds
        self.actor: Any = None
        self.finished = False  # never to be started again
        self.restarts = Restarts()
        self.report: _Report | None = None  # not taken in yet
        self.answer: tuple[int, Any] = 0, None
        self.end_kind: Any = ""  # while its machine is asked where it was
        self.due = 0.0  # when to do next what is to be done
        self.called = self.began = 0.0
        self.heard = 0  # reports of this life
        self.heard_at = -math.inf
        self.at = _At("", "", "")
        self.signs, self.silent_seconds = 0, 0.0
        self.units = self.granted = 0
        self.stride = stride
        self.is_hungry = False
        self._unit, self._work = unit, work
        self._told: dict[str, int | float] = {}
        self._waiting_share, self._memory_bytes = 0.0, 0

    def begin(self, library: _Library) -> None:
        """The next life."""
        self.life += 1
        self.began, self.heard, self.signs, self.silent_seconds = time.monotonic(), 0, 0, 0.0
        self.report, self.answer = None, (0, None)
        self.actor = library.actor(self.name, self._unit, self.life, dict(self._told), self._work)

    def remember(self, counts: Mapping[str, Any]) -> None:
        """Add up what it told, for its next lives."""
        add_counts(self._told, {n: len(v) if hasattr(v, "__len__") else v for n, v in counts.items()})

    def take_in(self, report: _Report, now: float) -> None:
        """How it is now."""
        self.report, self.heard, self.heard_at, self.at = None, report.number, now, report.at
        self.units, self.stride = report.units, report.stride
        self.silent_seconds = self.silent_seconds if report.signs == self.signs else 0.0
        self.signs = report.signs
        self._waiting_share, self._memory_bytes = report.waiting_share, report.memory_bytes

    def status(self) -> WorkerStatus:
        """What others may know."""
        return WorkerStatus(self.name, self.role, self.life, self.units, self._waiting_share, self._memory_bytes)

    def lived(self, now: float) -> float:
        """Seconds from its start to its last sign of life."""
        return now - self.began - self.silent_seconds

    def end(self) -> None:
        """Kill its actor, and with it what its environment started."""
        if self.actor is not None:
            ray.kill(self.actor)
        self.actor, self.granted = None, self.units


class _Claims:
    """Units that workers of each role have done or may do without asking again.

    What was granted and not used is another's when nothing was heard of its worker for a while.
    """

    def __init__(self, workers: Sequence[_Worker], now: float) -> None:
        self._of_worker: dict[str, int] = {}
        self._of_role: dict[str, int] = {}
        self._at_work: dict[str, int] = {}
        for worker in workers:
            is_heard = now - worker.heard_at < GRANT_SECONDS
            self._count(worker, worker.granted if is_heard else worker.units)
            at_work = worker.heard > 0 and not worker.finished
            self._at_work[worker.role] = self._at_work.get(worker.role, 0) + at_work

    def _count(self, worker: _Worker, claim: int) -> None:
        before = self._of_worker.get(worker.name, 0)
        self._of_worker[worker.name] = claim = max(claim, worker.units)
        self._of_role[worker.role] = self._of_role.get(worker.role, 0) + claim - before

    def change(self, worker: _Worker) -> None:
        """It was granted something."""
        self._count(worker, worker.granted)

    def of_others(self, worker: _Worker) -> int:
        """Of the same role."""
        return self._of_role[worker.role] - self._of_worker[worker.name]

    def num_at_work(self, worker: _Worker) -> int:
        """Of the same role; at least 1."""
        return max(1, self._at_work[worker.role])


def share_of(worker: _Worker, allowed: int, claims: _Claims) -> int:
    """Units that a worker may have done in all: its share of what is left, or one stride, whoever asks first."""
    left = allowed - claims.of_others(worker) - worker.units
    return worker.units + min(left, max(left // claims.num_at_work(worker), worker.stride))


def _version() -> str:
    """Of numzero, as it is installed here."""
    return metadata.version("numzero")


def _is_alive(machine: str) -> bool:
    return any(node["Alive"] and node["NodeID"] == machine for node in ray.nodes())


def _in_short(error: Exception | None) -> str:
    """The last line of what Ray says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__


# ----------------------------------------------------------------------------------------------------- Ray itself


class _Library:
    """Ray, as this process has it: an instance of its own, a cluster's, or the one that it was connected to before.

    Args:
        address: of a cluster; empty: an instance of this machine, which ends with this process.
        store: of the run, after which the folder of an own instance is called.
        num_workers: that are about to begin.

    Raises:
        UserError: there is no such cluster, or it may not be used so.
    """

    def __init__(self, address: str, store: Path, num_workers: int) -> None:
        self._opened = contextlib.ExitStack()
        self.folders: list[Path] = []
        """Made for Ray's files."""
        self._is_own_instance = not address and not ray.is_initialized()
        try:
            if self._is_own_instance:
                self._start_instance(store, num_workers)
            elif not ray.is_initialized():
                self._connect(address)
        except BaseException:
            self.close()
            raise

    def _start_instance(self, store: Path, num_workers: int) -> None:
        """Processes of Ray on this machine that only this machine can reach."""
        self._opened.enter_context(family.no_orphans())
        folder = self._opened.enter_context(_folder_of(store))
        self.folders.append(folder)
        self._opened.callback(ray.shutdown)
        with _local_settings(), _start_explained():
            ray.init(
                address="local",
                num_cpus=num_workers,  # so many processes wait for work; actors of this machine ask for none
                num_gpus=0,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=str(folder),
                _node_ip_address=LOOPBACK,
                **QUIET,
            )

    def _connect(self, address: str) -> None:
        """Join a cluster as a driver, and send it the current folder."""
        require_token(address)
        self._opened.callback(ray.shutdown)
        runtime_env = {"working_dir": os.getcwd(), "excludes": LEFT_OUT}
        try:
            with _begun_quietly():
                ray.init(address=address, runtime_env=runtime_env, **QUIET)
        except (ConnectionError, ImportError, RuntimeError, ValueError, exceptions.RayError) as error:
            raise UserError(
                f"runtime.address must lead to a running Ray cluster; {address}: {_in_short(error)}."
            ) from error

    def actor(self, name: str, unit: str, life: int, told: dict[str, int | float], work: Any) -> Any:
        """A new actor; it begins when a machine has a core for it."""
        if self._is_own_instance:
            options: dict[str, Any] = {"num_cpus": 0}
            start = _Start(name, unit, life, told, [work], os.getcwd(), [path or os.getcwd() for path in sys.path])
        else:
            options = {"num_cpus": 1, "scheduling_strategy": "SPREAD"}
            start = _Start(name, unit, life, told, [work], "", [])
        return ray.remote(_Actor).options(**options).remote(start)

    def where_it_was(self, at: _At) -> Any:
        """A future of what the machine of a dead actor says of it."""
        strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(at.machine, soft=False)
        ask = ray.remote(_where_it_was).options(num_cpus=0, max_retries=0, scheduling_strategy=strategy)
        return ask.remote(at.file).future()

    def close(self) -> None:
        """End what was begun here."""
        self._opened.close()


@contextlib.contextmanager
def _folder_of(store: Path) -> Iterator[Path]:
    """A folder for Ray's files, which is removed afterwards, or by the next session if this one is killed."""
    parent = Path(tempfile.gettempdir())
    if sys.platform != "win32" and len(str(parent)) > LONGEST_FOLDER:
        parent = Path("/tmp")
    folder = parent / f"numzero-ray-{hashlib.blake2b(os.fsencode(store), digest_size=6).hexdigest()}"
    if folder.is_dir() and not folder.is_symlink() and (sys.platform == "win32" or folder.stat().st_uid == os.getuid()):
        shutil.rmtree(folder, ignore_errors=True)  # one session at a time uses this store
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        folder = Path(tempfile.mkdtemp(prefix="numzero-ray-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _local_settings() -> Iterator[None]:
    """Inside, what Ray starts listens on this machine only, wants a token, and tells nobody that it is used."""
    wanted = {
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # there Ray keeps to the loopback address, and so it does here
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    with _begun_quietly():
        is_open = ray_constants.ENABLE_RAY_CLUSTER
        os.environ.update(wanted)
        os.environ.pop("RAY_AUTH_MODE", None)  # then Ray turns it on for what it starts
        ray_constants.ENABLE_RAY_CLUSTER = False
        try:
            yield
        finally:
            ray_constants.ENABLE_RAY_CLUSTER = is_open


def _unheard(data: object, ignore_prefix: bool = False) -> None:
    """In place of Ray's own printing."""
    del data, ignore_prefix


@contextlib.contextmanager
def _start_explained() -> Iterator[None]:
    """Ray gives itself half a minute to start, and raises one thing or another after it."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"Ray could not start on this machine: {_in_short(error)}. Try again when it has less to do, or set "
            "runtime.kind to processes."
        ) from error


@contextlib.contextmanager
def _begun_quietly() -> Iterator[None]:
    """Ray takes SIGTERM for itself, which would cost a run its last checkpoint, and says what users need not know."""
    before, logger = signal.getsignal(signal.SIGTERM), logging.getLogger("ray")
    level, environment = logger.level, dict(os.environ)
    logger.setLevel(logging.ERROR)
    rays_worker.print_to_stdstream = _unheard  # pages about a lost machine, on standard output; notices say it
    try:
        yield
    finally:
        logger.setLevel(level)
        for name in os.environ.keys() - environment:
            del os.environ[name]
        os.environ.update(environment)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def require_token(address: str) -> None:
    """Whoever reaches a cluster's ports may run code on all of its machines, unless it asks for a token."""
    if os.environ.get("RAY_AUTH_MODE", "token") != "token":
        return  # the user's word
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if not os.environ.get("RAY_AUTH_TOKEN") and not file.is_file():
        raise UserError(
            f"a Ray cluster needs a token, since who reaches it may run code there; there is none for {address}: no "
            f"RAY_AUTH_TOKEN and no file {file}. Make one (Ray's command get-auth-token), give it to every machine, "
            "and start Ray there with RAY_AUTH_MODE=token. In a network that is yours alone RAY_AUTH_MODE=disabled "
            "does without."
        )
