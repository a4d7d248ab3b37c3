"""Roles as Ray actors, wherever a cluster has cores: watched, replaced, and ended with the process that directs them.

Knows the store's file beside the learner; knows nothing of what roles do. An actor is one life of one worker. Its role
works in a thread of its own, while the process answers one call after another: the call brings what is new (how much
may be done, references to weights, answers) and takes away what the role has to say (games, encoded as they are stored,
counts, questions about stored games). Only the process that directs them opens a file, in a thread here, and Ray
carries the weights to each machine once.
"""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from numzero.errors import DiskFullError, UserError
from numzero.replay import (
    EncodedGame,
    GameStore,
    StoreBusyError,
    Trajectory,
    decode_statistics,
    encode_games,
)
from numzero.runtime.base import WEIGHTS, Notice, Place, Role, RuntimePace, State, WorkerStatus, add_counts
from numzero.runtime.ray.actors import Actor, At, News, Report, WorkerStart, where_it_was
from numzero.runtime.ray.library import (
    Library,
    exceptions,
    in_short,
    is_alive,
    other_version,
    ray,
    version_here,
)
from numzero.runtime.shelf import Shelf, unheard
from numzero.runtime.supervision import SHARE_OF_PATIENCE, STOP_SECONDS, Notices, Restarts

__all__ = ["Claims", "RayRuntime", "Worker", "share_of"]

CALL_SECONDS = 0.2
"""A call stays with its actor so long where nothing is to be said sooner."""
CALLS_PER_SECOND = 200
"""Of all actors together, at most: with more than forty each call stays longer. One costs the head 1 ms or 2."""
GRANT_SECONDS = 5.0
"""What an actor was granted and has not used is another's, when nothing was heard of it for so long."""
PUBLISH_SECONDS = 0.2
WAIT_SECONDS = 0.1
"""How long there may be nothing to do for whoever directs the workers, before they look again."""
LOOK_SECONDS = 0.05
BUSY_SECONDS = 1.0
RETRY_SECONDS = 0.5
"""A full disk, or a machine that does not answer, is tried again so often."""
INQUEST_SECONDS = 30.0
"""So long at most another machine is asked where a dead actor was: it starts a process for that."""
UNPLACED = (
    "some workers wait for a core of the cluster; they begin as soon as one is free, or another machine has joined."
)


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
        self._library: Library | None = None
        self._files: dict[str, tuple[int, dict[str, bytes]]] = {}
        self._published: dict[str, tuple[int, list[Any]]] = {}
        self._allowed: dict[str, int] = {}
        self._workers: list[Worker] = []
        self._heard: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._counts: dict[str, Any] = {}
        self._notices = Notices()
        self._errors: list[Exception] = []
        self._is_news = threading.Event()
        self._stopping = self._closing = False
        self._supervisor: threading.Thread | None = None
        self._shelf = Shelf(None)
        self._claims = Claims([], 0.0)
        self._last_look = time.monotonic()
        self._store: GameStore | None = None

    def start(
        self, role: Role, tasks: Sequence[Any], *, unit: str = "steps", patience_seconds: float | None = None
    ) -> None:
        """See `Runtime`."""
        if self._library is None:
            self._library = Library(self._config.address, self._store_path, len(tasks))
            for channel in self._files:
                self._hand_out(channel)
            self._supervisor = threading.Thread(target=self._supervise, daemon=True)
            self._supervisor.start()
        patience = self._config.patience_seconds if patience_seconds is None else patience_seconds
        for row, task in enumerate(tasks):
            name = f"numzero-{role.__name__}-{row}"
            worker = Worker(name, role.__name__, unit, ray.put((role, task)), self._first_life - 1, patience)
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

    def collect(self) -> Sequence[Trajectory]:
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
        self._claims = Claims(workers, now)
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

    def _begin_when_due(self, worker: Worker, now: float) -> None:
        if self._stopping:
            self._finish(worker)
        elif now >= worker.due:
            assert self._library is not None
            worker.begin(self._library)
            self._call(worker)

    def _called(self, worker: Worker, now: float) -> bool:
        """Whether it was time to call an actor that is not being called."""
        has_reason = now >= worker.due
        if worker.is_hungry and not has_reason and now >= worker.called + len(self._workers) / CALLS_PER_SECOND:
            has_reason = self._stopping or self._grant(worker) > worker.units
        if has_reason:
            self._call(worker)
        return has_reason

    def _call(self, worker: Worker) -> None:
        """Send an actor what is new; its report comes back by the queue."""
        worker.granted = max(worker.units, self._grant(worker))
        self._claims.change(worker)
        seconds = self._call_seconds()
        news = News(worker.heard, worker.granted, seconds, self._stopping, self._published, worker.answer)
        worker.is_hungry, worker.due, worker.called = False, math.inf, time.monotonic()
        life = worker.life
        future = worker.actor.call.remote(news).future()
        future.add_done_callback(lambda done: self._heard.put(lambda: self._hear(worker, life, done)))

    def _grant(self, worker: Worker) -> int:
        return share_of(worker, self._allowed.get(worker.role, 0), self._claims)

    def _hear(self, worker: Worker, life: int, done: Any) -> None:
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

    def _take_in(self, worker: Worker, store: GameStore, now: float) -> None:
        """Store the games of a report, then believe the rest: whoever hears of a game finds it stored."""
        report = worker.report
        assert report is not None
        if report.number > worker.heard:
            if not self._stored(worker, report.games, store, now):
                return
            self._believe(worker, report)
        worker.take_in(report, now)
        if report.version != version_here():
            self._refuse(worker, report)
        elif report.last_word[0]:
            self._end_of_role(worker, *report.last_word)
        else:
            self._call_later(worker, report, now)

    def _stored(self, worker: Worker, games: Sequence[EncodedGame], store: GameStore, now: float) -> bool:
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

    def _believe(self, worker: Worker, report: Report) -> None:
        if not worker.heard and worker.life > self._first_life:  # not before: it may have waited for a core
            self._note(Notice(worker.name, "replaced", f"worker {worker.name} was replaced."))
        worker.remember(report.counts)
        if report.games:
            worker.restarts.got_somewhere()
        if report.counts or report.games:
            with self._lock:
                add_counts(self._counts, report.counts)
            self._is_news.set()

    def _call_later(self, worker: Worker, report: Report, now: float) -> None:
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
            return [game.payload for game in encode_games(self._shelf.read_games(*of))]
        if what == "put_statistics":
            return self._shelf.put_statistics([decode_statistics(payload) for payload in of[0]])
        return self._shelf.oldest_game() if what == "oldest_game" else self._shelf.stored_games(*of)

    # ----------------------------------------------------------------------------------------------- ends of lives

    def _finish(self, worker: Worker) -> None:
        """Nothing comes of it any more."""
        worker.end()
        worker.finished = True
        self._is_news.set()

    def _refuse(self, worker: Worker, report: Report) -> None:
        self._finish(worker)
        self._raise(other_version(report.at.address, report.version))

    def _end_of_role(self, worker: Worker, kind: str, content: str) -> None:
        if kind == "fault":
            self._replace_later(worker, "failed", f"worker {worker.name} ended: {content}")
            return
        self._finish(worker)
        if kind == "user_error":
            self._raise(UserError(content))
        elif kind == "bug":
            self._raise(RuntimeError(f"in a worker:\n{content}"))

    def _watch(self, worker: Worker, seconds: float, now: float) -> None:
        """See to an actor that has not answered yet."""
        if worker.heard:
            patience = worker.patience_seconds if worker.signs else self._config.start_patience_seconds
            worker.silent_seconds += min(seconds, SHARE_OF_PATIENCE * patience)
            if worker.silent_seconds > patience:
                self._examine(worker, "hung", None)
        elif self._stopping:
            self._finish(worker)
        elif self._library is not None and self._library.is_unplaced(now - worker.began):
            self._note(Notice(worker.name, "waiting", UNPLACED))

    def _examine(self, worker: Worker, kind: Literal["died", "hung"], error: Exception | None) -> None:
        """An actor is dead, or is killed now: ask its machine where it was."""
        assert self._library is not None
        worker.end()
        worker.end_kind = kind
        if not worker.heard:
            self._conclude(worker, f": {in_short(error)}")
        elif not is_alive(worker.at.machine):
            self._conclude(worker, f": its machine {worker.at.address} is gone")
        elif self._library.is_own_instance:  # its file is here
            self._conclude(worker, _in_words(_here(worker.at.file)))
        else:
            worker.due, life = time.monotonic() + INQUEST_SECONDS, worker.life
            future = self._library.ask(worker.at.machine, where_it_was, worker.at.file)
            future.add_done_callback(lambda done: self._heard.put(lambda: self._read_inquest(worker, life, done)))

    def _read_inquest(self, worker: Worker, life: int, done: Any) -> None:
        if worker.end_kind and worker.life == life:
            self._conclude(worker, _in_words("" if done.exception() is not None else done.result()))

    def _await_inquest(self, worker: Worker, now: float) -> None:
        if now >= worker.due:
            self._conclude(worker, "")

    def _conclude(self, worker: Worker, where: str) -> None:
        """Say what became of a life."""
        kind, worker.end_kind = worker.end_kind, ""
        if kind == "hung":
            sentence = f"worker {worker.name} showed no sign of life for {worker.silent_seconds:.0f} s{where}; killed."
        else:
            hint = "" if where else " Its process was killed, or memory ran out: then use fewer workers."
            sentence = f"worker {worker.name} died{where}.{hint}"
        self._replace_later(worker, kind, sentence)

    def _replace_later(self, worker: Worker, kind: Any, sentence: str) -> None:
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


class Worker:
    """One task through all its lives: the actor that does it now, and what is known of it."""

    def __init__(
        self, name: str, role: str, unit: str, work: Any, life: int, patience_seconds: float, stride: int = 1
    ) -> None:
        self.name, self.role, self.life = name, role, life
        self.patience_seconds = patience_seconds
        self.actor: Any = None
        self.finished = False  # never to be started again
        self.restarts = Restarts()
        self.report: Report | None = None  # not taken in yet
        self.answer: tuple[int, Any] = 0, None
        self.end_kind: Any = ""  # while its machine is asked where it was
        self.due = 0.0  # when to do next what is to be done
        self.called = self.began = 0.0
        self.heard = 0  # reports of this life
        self.heard_at = -math.inf
        self.at = At("", "", "")
        self.signs, self.silent_seconds = 0, 0.0
        self.units = self.granted = 0
        self.stride = stride
        self.is_hungry = False
        self._unit, self._work = unit, work
        self._told: dict[str, int | float] = {}
        self._waiting_share, self._memory_bytes = 0.0, 0

    def begin(self, library: Library) -> None:
        """The next life."""
        self.life += 1
        self.began, self.heard, self.signs, self.silent_seconds = time.monotonic(), 0, 0, 0.0
        self.report, self.answer = None, (0, None)
        start = WorkerStart(self.name, self._unit, self.life, dict(self._told), [self._work])
        self.actor = library.actor(Actor, 0 if library.is_own_instance else 1, start)

    def remember(self, counts: Mapping[str, Any]) -> None:
        """Add up what it told, for its next lives."""
        add_counts(self._told, {n: len(v) if hasattr(v, "__len__") else v for n, v in counts.items()})

    def take_in(self, report: Report, now: float) -> None:
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


class Claims:
    """Units that workers of each role have done or may do without asking again.

    What was granted and not used is another's when nothing was heard of its worker for a while.
    """

    def __init__(self, workers: Sequence[Worker], now: float) -> None:
        self._of_worker: dict[str, int] = {}
        self._of_role: dict[str, int] = {}
        self._at_work: dict[str, int] = {}
        for worker in workers:
            is_heard = now - worker.heard_at < GRANT_SECONDS
            self._count(worker, worker.granted if is_heard else worker.units)
            at_work = worker.heard > 0 and not worker.finished
            self._at_work[worker.role] = self._at_work.get(worker.role, 0) + at_work

    def _count(self, worker: Worker, claim: int) -> None:
        before = self._of_worker.get(worker.name, 0)
        self._of_worker[worker.name] = claim = max(claim, worker.units)
        self._of_role[worker.role] = self._of_role.get(worker.role, 0) + claim - before

    def change(self, worker: Worker) -> None:
        """It was granted something."""
        self._count(worker, worker.granted)

    def of_others(self, worker: Worker) -> int:
        """Of the same role."""
        return self._of_role[worker.role] - self._of_worker[worker.name]

    def num_at_work(self, worker: Worker) -> int:
        """Of the same role; at least 1."""
        return max(1, self._at_work[worker.role])


def share_of(worker: Worker, allowed: int, claims: Claims) -> int:
    """Units that a worker may have done in all: its share of what is left, or one stride, whoever asks first.

    Nothing before its process is heard of: what waits for it there could not be given to another one meanwhile.
    """
    if not worker.heard:
        return worker.units
    left = allowed - claims.of_others(worker) - worker.units
    return worker.units + min(left, max(left // claims.num_at_work(worker), worker.stride))


def _here(file: str) -> str:
    """Where a dead actor of this machine was, if it had time to say."""
    try:
        return where_it_was(file)
    except OSError:
        return ""


def _in_words(where: str) -> str:
    return where and f" {where}"
