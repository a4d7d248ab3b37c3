"""What a run says of its progress: rates, ages, shares of time and memory since it last spoke.

Knows counters and clocks; knows nothing of how a role works.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from numzero.metrics import Progress
from numzero.replay import MEBIBYTE, Trajectory
from numzero.runtime.base import WorkerStatus
from numzero.usage import resident_bytes

__all__ = ["Counts", "Meter"]

PROGRESS_SECONDS = 1.0
RECENT_EPISODES = 100


class Counts(NamedTuple):
    """Where a run stands."""

    seconds: float
    updates: int
    steps: int
    games: int
    reanalyzed: int


class Meter:
    """Collects what happens between two progress events.

    Args:
        num_updates: of the whole run.
        batch_size: samples per update.
        start: where this session begins.
    """

    def __init__(self, num_updates: int, batch_size: int, start: Counts) -> None:
        self.episodes: deque[tuple[int, float]] = deque(maxlen=RECENT_EPISODES)
        self._num_updates = num_updates
        self._batch_size = batch_size
        self._start = self._last = start
        self._losses: list[dict[str, float]] = []
        self._seconds: dict[str, float] = {}
        self._played_version: float | None = None

    @contextlib.contextmanager
    def at(self, activity: str) -> Iterator[None]:
        """Time spent inside goes to `activity`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[activity] = self._seconds.get(activity, 0.0) + time.perf_counter() - started

    def learned(self, losses: dict[str, float]) -> None:
        """Note the losses of an update."""
        self._losses.append(losses)

    def played(self, games: Sequence[Trajectory]) -> None:
        """Note games that came in."""
        if games:
            self._played_version = float(np.mean([game.model_version[-1] for game in games]))

    def is_due(self, now: Counts) -> bool:
        """Whether it is time to speak again."""
        return now.seconds - self._last.seconds >= PROGRESS_SECONDS

    def take(
        self,
        now: Counts,
        *,
        learning_rate: float,
        window_steps: int,
        mean_version: float,
        workers: Sequence[WorkerStatus],
        has_returns: bool,
    ) -> Progress:
        """What happened since the last time."""
        last, seconds = self._last, max(now.seconds - self._last.seconds, 1e-9)
        overall = (now.updates - self._start.updates) / max(now.seconds - self._start.seconds, 1e-9)
        names = self._losses[0] if self._losses else ()
        event = Progress(
            seconds=now.seconds,
            updates=now.updates,
            steps=now.steps,
            games=now.games,
            updates_per_second=(now.updates - last.updates) / seconds,
            steps_per_second=(now.steps - last.steps) / seconds,
            samples_per_step=now.updates * self._batch_size / now.steps if now.steps else None,
            reanalyzed=now.reanalyzed,
            reanalyzed_per_sample=now.reanalyzed / max(1, now.updates * self._batch_size),
            mean_return=self._mean(1) if has_returns else None,
            mean_length=self._mean(0),
            losses={name: float(np.mean([losses[name] for losses in self._losses])) for name in names}
            | {"learning_rate": learning_rate},
            target_age=now.updates - mean_version if window_steps else None,
            weights_age=None if self._played_version is None else now.updates - self._played_version,
            busy=self._busy(seconds, workers),
            memory_mb=_memory(workers),
            window_steps=window_steps,
            eta_seconds=(self._num_updates - now.updates) / max(overall, 1e-9),
        )
        self._losses, self._seconds, self._last = [], {}, now
        return event

    def _mean(self, column: int) -> float | None:
        return float(np.mean([episode[column] for episode in self.episodes])) if self.episodes else None

    def _busy(self, seconds: float, workers: Sequence[WorkerStatus]) -> dict[str, float]:
        """See `Progress.busy`."""
        shares = {name: min(1.0, spent / seconds) for name, spent in self._seconds.items()}
        if any(worker.memory_bytes for worker in workers):  # processes of their own
            shares["learner"] = 1.0 - shares.pop("wait", 0.0)
            for role in sorted({worker.role for worker in workers}):
                shares[role] = float(np.mean([1.0 - worker.waiting_share for worker in workers if worker.role == role]))
        shares.pop("wait", None)
        return {name: round(share, 4) for name, share in shares.items()}


def _memory(workers: Sequence[WorkerStatus]) -> dict[str, float]:
    memory = {"learner": resident_bytes() / MEBIBYTE}
    for worker in workers:
        if worker.memory_bytes:
            memory[worker.role] = memory.get(worker.role, 0.0) + worker.memory_bytes / MEBIBYTE
    return {role: round(size, 1) for role, size in memory.items()}


def as_episodes(episodes: Sequence[Any]) -> list[tuple[int, float]]:
    """Lengths and returns."""
    return [(int(each.num_steps), float(each.total_reward)) for each in episodes]
