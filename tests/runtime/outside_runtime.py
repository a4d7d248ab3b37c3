"""A runtime from outside the package, all in this file: every role in a thread of this process.

`tests.runtime.test_runtimes` runs its suite over it, found by the name of this file and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from numzero.replay import GameStore, Trajectory
from numzero.runtime.base import WEIGHTS, Notice, Place, Role, RuntimePace, State, WorkerStatus, add_counts
from numzero.runtime.shelf import Shelf

WAIT_SECONDS = 0.005


class ThreadRuntime:
    """See `numzero.runtime.base.Runtime`; games go through the store, all else through memory."""

    pace = RuntimePace(in_step=False, wait_seconds=0.05)

    def __init__(self, place: Place) -> None:
        assert place.store is not None
        self.place = place
        self.sequence = place.first_sequence
        self.lock = threading.Lock()
        self.news = threading.Event()
        self.stopping = threading.Event()
        self.published: dict[str, tuple[int, dict[str, bytes]]] = {}
        self.allowed: dict[str, int] = {}
        self.counts: dict[str, Any] = {}
        self.errors: list[Exception] = []
        self.threads: list[Worker] = []
        self._store: GameStore | None = None

    def start(
        self, role: Role, tasks: Sequence[Any], *, unit: str = "steps", patience_seconds: float | None = None
    ) -> None:
        for number, task in enumerate(tasks):
            worker = Worker(self, role, task, f"{role.__name__}-{number}", unit)
            self.threads.append(worker)
            worker.start()

    def publish(self, version: int, files: Mapping[str, bytes], channel: str = WEIGHTS) -> None:
        self.published[channel] = version, dict(files)

    def allow(self, role: str, total: int) -> None:
        self.allowed[role] = total

    def poll(self, timeout_seconds: float) -> None:
        if self.running():
            self.news.wait(timeout_seconds)
        self.news.clear()
        self.watch()

    def watch(self) -> None:
        if self.errors:
            raise self.errors.pop()

    def collect(self) -> Sequence[Trajectory]:
        assert self.place.store is not None
        if self._store is None:
            self._store = GameStore(self.place.store)
        self.sequence, games = self._store.read_after(self.sequence, 10**9)
        return games

    def take_counts(self) -> dict[str, Any]:
        with self.lock:
            counts, self.counts = self.counts, {}
        return counts

    def take_notices(self) -> list[Notice]:
        return []

    def workers(self) -> list[WorkerStatus]:
        return [WorkerStatus(w.name, w.role.__name__, w.life, w.units, 0.0, 0) for w in self.threads]

    def settle(self) -> dict[str, State]:
        return {}

    def running(self) -> bool:
        return any(worker.is_alive() for worker in self.threads) or bool(self.errors)  # until they are raised

    def stop(self) -> None:
        self.stopping.set()
        for worker in self.threads:
            worker.join()

    def close(self) -> None:
        self.stop()
        if self._store is not None:
            self._store.close()


class Worker(threading.Thread):
    """One role at one task."""

    def __init__(self, runtime: ThreadRuntime, role: Role, task: Any, name: str, unit: str) -> None:
        super().__init__(name=name, daemon=True)
        self.runtime, self.role, self.task, self.unit = runtime, role, task, unit
        self.life = runtime.place.first_life
        self.units = 0

    def run(self) -> None:
        assert self.runtime.place.store is not None
        with GameStore(self.runtime.place.store, on_damage=lambda _: None) as store:
            try:
                for _ in self.role(self.task, ThreadMailbox(self, store)):
                    pass
            except Exception as error:
                self.runtime.errors.append(error)
        self.runtime.news.set()


class ThreadMailbox(Shelf):
    """See `numzero.runtime.base.Mailbox`."""

    keeps_state = False

    def __init__(self, worker: Worker, store: GameStore) -> None:
        super().__init__(store)
        self._worker, self._runtime, self._games = worker, worker.runtime, store
        self.life = worker.life
        self.told: dict[str, int | float] = {}

    def newest_weights(self, newer_than: int, channel: str = WEIGHTS) -> tuple[int, dict[str, bytes]] | None:
        newest = self._runtime.published.get(channel)
        return newest if newest is not None and newest[0] > newer_than else None

    def deliver(self, trajectories: Sequence[Trajectory]) -> None:
        self._games.add(trajectories)

    def report(self, counts: Mapping[str, Any]) -> None:
        with self._runtime.lock:
            self._worker.units += counts.get(self._worker.unit, 0)
            add_counts(self._runtime.counts, counts)
        self._runtime.news.set()

    def budget(self) -> int:
        role = self._worker.role
        done = sum(worker.units for worker in self._runtime.threads if worker.role is role)
        return self._runtime.allowed.get(role.__name__, 0) - done

    def stopping(self) -> bool:
        return self._runtime.stopping.is_set()

    def wait(self) -> None:
        time.sleep(WAIT_SECONDS)

    def keep_state(self, save: Callable[[], State]) -> State | None:
        return None


def half_a_runtime(place: Place) -> Iterator[None]:
    """No class."""
    yield


class Half:
    """Lacks most of what a runtime has."""

    def publish(self, version: int, files: Mapping[str, bytes]) -> None:
        """Nothing."""
