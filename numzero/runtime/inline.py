"""Every role in this process, one after the other: the reference, the test double, and bit for bit reproducible.

Knows generators and lists; knows nothing of what roles do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from numzero.files import when_there_is_room
from numzero.replay import EncodedGame, GameRow, GameStore, Trajectory, check_trajectories, encode_games, joined
from numzero.runtime.base import WEIGHTS, Notice, Place, Role, RuntimePace, State, WorkerStatus, add_counts
from numzero.runtime.shelf import Shelf, unheard

__all__ = ["InlineRuntime"]

COMMIT_GAMES = 256
"""Games per commit to the store."""


class InlineRuntime:
    """A runtime whose roles move only while `poll` is called.

    Args:
        place: of which it takes `store`, `states` and `write`; by default nothing is stored.
    """

    pace = RuntimePace(in_step=True)
    life = 0
    """Of all roles: with the states that they are handed they go on with the life that they had."""

    def __init__(self, place: Place | None = None) -> None:
        place = Place() if place is None else place
        self._store = None if place.store is None else GameStore(place.store, on_damage=unheard)
        self.sequence = place.first_sequence  # games come from memory, not from the store
        self._unstored: list[EncodedGame] = []
        self._workers: list[_InlineMailbox] = []
        self._published: dict[str, tuple[int, dict[str, bytes]]] = {}
        self._delivered: list[Sequence[Trajectory]] = []
        self._counts: dict[str, Any] = {}
        self._allowed: dict[str, int] = {}
        self._notices: list[Notice] = []
        self._stopping = False
        self._states = dict(place.states)
        self._write = self._write_when_there_is_room if place.write is None else place.write

    def start(
        self, role: Role, tasks: Sequence[Any], *, unit: str = "steps", patience_seconds: float | None = None
    ) -> None:
        """See `Runtime`: nobody watches over roles in this process."""
        del patience_seconds
        name = role.__name__
        for number, task in enumerate(tasks):
            worker = _InlineMailbox(self, f"{name}-{number}", name, unit)
            worker.work = role(task, worker)
            self._workers.append(worker)

    def publish(self, version: int, files: Mapping[str, bytes], channel: str = WEIGHTS) -> None:
        """See `Runtime`."""
        self._published[channel] = version, dict(files)

    def allow(self, role: str, total: int) -> None:
        """See `Runtime`."""
        self._allowed[role] = total

    def poll(self, timeout_seconds: float) -> None:
        """See `Runtime`: moves every role once; the timeout has no meaning here."""
        del timeout_seconds
        for worker in self._workers:
            worker.move()

    def watch(self) -> None:
        """See `Runtime`: nobody is somewhere else."""

    def collect(self) -> Sequence[Trajectory]:
        """See `Runtime`."""
        delivered, self._delivered = self._delivered, []
        return joined(delivered)

    def take_counts(self) -> dict[str, Any]:
        """See `Runtime`."""
        counts, self._counts = self._counts, {}
        return counts

    def take_notices(self) -> list[Notice]:
        """See `Runtime`: most of what goes wrong in this process is raised."""
        notices, self._notices = self._notices, []
        return notices

    def workers(self) -> list[WorkerStatus]:
        """See `Runtime`: roles here share the memory of their process, and never wait."""
        return [WorkerStatus(w.name, w.role, self.life, w.units, 0.0, 0) for w in self._workers]

    def settle(self) -> dict[str, State]:
        """See `Runtime`."""
        self._commit()
        states = dict(self._states)  # of roles that have not come to take theirs
        return states | {worker.name: worker.save() for worker in self._workers if worker.save is not None}

    def running(self) -> bool:
        """See `Runtime`."""
        return any(worker.work is not None for worker in self._workers)

    def stop(self) -> None:
        """See `Runtime`."""
        self._stopping = True
        for worker in self._workers:
            while worker.work is not None:
                worker.move()
        self._commit()

    def close(self) -> None:
        """See `Runtime`."""
        self._stopping = True
        if self._store is not None:
            self._commit()
            self._store.close()

    def _commit(self) -> None:
        """Store what was delivered; what could not be stored is tried again next time."""
        store, games = self._store, self._unstored
        if store is None or not games or self._write(lambda: store.add_encoded(games)):
            self._unstored = []

    def _write_when_there_is_room(self, write: Callable[[], object]) -> bool:
        return when_there_is_room(write, self._note_full_disk, lambda: self._stopping)

    def _note_full_disk(self, sentence: str) -> None:
        self._notices.append(Notice("store", "waiting", sentence))


class _InlineMailbox(Shelf):
    """One worker: its generator, and what it sees of the world; see `Mailbox`."""

    def __init__(self, runtime: InlineRuntime, name: str, role: str, unit: str) -> None:
        super().__init__(runtime._store)
        self.name = name
        self.role = role
        self.units = 0
        self.work: Iterator[None] | None = None
        self.life = runtime.life
        self.told: dict[str, int | float] = {}
        self.keeps_state = True
        self.save: Callable[[], State] | None = None
        self._runtime = runtime
        self._unit = unit

    def move(self) -> None:
        """Let it work up to its next yield."""
        if self.work is not None and next(self.work, self) is self:
            self.work = None

    def newest_weights(self, newer_than: int, channel: str = WEIGHTS) -> tuple[int, dict[str, bytes]] | None:
        newest = self._runtime._published.get(channel)
        return newest if newest is not None and newest[0] > newer_than else None

    def stored_games(self, after: int) -> list[GameRow]:
        self._runtime._commit()  # by then those that were delivered before are stored
        return super().stored_games(after)

    def deliver(self, trajectories: Sequence[Trajectory]) -> None:
        runtime = self._runtime
        if runtime._store is None:
            check_trajectories(trajectories)  # here, since the learner may use it before it is stored
        else:
            runtime._unstored += encode_games(trajectories)
        runtime._delivered.append(trajectories)
        if len(runtime._unstored) >= COMMIT_GAMES:
            runtime._commit()

    def report(self, counts: Mapping[str, Any]) -> None:
        self.units += counts.get(self._unit, 0)
        add_counts(self._runtime._counts, counts)

    def budget(self) -> int:
        done = sum(worker.units for worker in self._runtime._workers if worker.role == self.role)
        return self._runtime._allowed.get(self.role, 0) - done

    def stopping(self) -> bool:
        return self._runtime._stopping

    def keep_state(self, save: Callable[[], State]) -> State | None:
        self.save = save
        return self._runtime._states.pop(self.name, None)

    def wait(self) -> None:
        """Nobody else works in this process."""
