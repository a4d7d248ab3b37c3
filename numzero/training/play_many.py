"""An agent's games, played in many processes and stored.

Knows tasks of self-play, the folder of the games and what is counted; knows nothing of how it is shown. Never imports
torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from numzero.agent import Agent
from numzero.files import tidy
from numzero.folders import GAMES, STORE_NAME, FolderLock, kind_of
from numzero.interrupts import Interrupts
from numzero.limits import num_cores
from numzero.replay import GAME_NOTE, MEBIBYTE, GameStore
from numzero.runtime.base import UNLIMITED, Place, Runtime
from numzero.runtime.factory import make_runtime
from numzero.runtime.family import no_orphans
from numzero.training.memory import SHORTEST_PIECE, check_workers, position_bytes
from numzero.training.roles.selfplay import SelfPlayConfig, SelfPlayTask, selfplay, warm_up

__all__ = ["SelfPlaySession", "SelfPlayTotals"]

POLL_SECONDS = 0.5

RUNNING_MB = 1024
"""Memory of all games under way, in MiB; longer ones are stored in pieces."""


class SelfPlayTotals:
    """What all processes did so far."""

    def __init__(self) -> None:
        self.games = 0
        self.steps = 0
        self.simulations = 0
        self.total_reward = 0.0
        self.seconds = 0.0
        """Of play, without the start of the processes."""

    def add(self, counts: Mapping[str, Any]) -> None:
        """Count what they report."""
        episodes = counts.get("episodes", ())
        self.games += len(episodes)
        self.total_reward += sum(episode.total_reward for episode in episodes)
        self.steps += counts.get("steps", 0)
        self.simulations += counts.get("simulations", 0)

    def rates(self) -> dict[str, float]:
        """Games, moves and simulations per second."""
        seconds = max(self.seconds, 1e-9)
        return {
            "games_per_second": self.games / seconds,
            "moves_per_second": self.steps / seconds,
            "simulations_per_second": self.simulations / seconds,
        }

    def mean_return(self) -> float | None:
        """Of the finished games; None where there are none."""
        return self.total_reward / self.games if self.games else None


class SelfPlaySession:
    """Many processes play an agent's games until they are asked to stop; every finished game is stored.

    Args:
        agent: plays its game, which may be made: see `trusted_name`.
        out: the folder of the games, new, empty, or of an earlier session, to which this one adds.
        workers: processes; None: one per core. No more than `games`.
        simulations: per move; None: the agent's own.
        batch_size: games in lockstep in each process.
        seed: decides all that is drawn; None: a new one.
        games: how many are finished; None: no end.

    Raises:
        UserError: the folder is another's.
    """

    def __init__(
        self,
        agent: Agent,
        out: Path,
        *,
        workers: int | None = None,
        simulations: int | None = None,
        batch_size: int = 64,
        seed: int | None = None,
        games: int | None = None,
    ) -> None:
        kind_of(out, GAMES)  # before any work is done
        workers = num_cores() if workers is None else workers
        check_workers(workers)
        self.workers = min(workers, games or workers)
        self.seed = secrets.randbits(32) if seed is None else seed
        self.store = out / STORE_NAME
        self.totals = SelfPlayTotals()
        self.num_stored = 0
        self._agent, self._out = agent, Path(os.path.abspath(out))  # wherever an environment may go
        self._started: float | None = None
        self._tasks = self._make_tasks(simulations, batch_size, games)

    @property
    def task(self) -> SelfPlayTask:
        """What the first process does; others differ in their number and their share of the games."""
        return self._tasks[0]

    def _make_tasks(self, simulations: int | None, batch_size: int, games: int | None) -> list[SelfPlayTask]:
        agent, search = self._agent, self._agent.info.search
        if simulations is not None:
            search = dataclasses.replace(search, num_simulations=simulations)
        quotas: list[int | None] = [None] * self.workers
        if games is not None:
            quotas = [games // self.workers + (i < games % self.workers) for i in range(self.workers)]
        config = SelfPlayConfig(batch_size=batch_size)
        played = hashlib.sha256(agent.files.initial + agent.files.recurrent + repr((search, batch_size)).encode())
        label = f"{played.hexdigest()[:8]}-"  # the same seed with another agent or budget is another game
        spec, copies = agent.info.spec, batch_size * self.workers
        task = SelfPlayTask(
            spec.name,
            search,
            config,
            agent.info.discount,
            self.seed,
            0,
            label=label,
            observation=agent.info.observation,
            frame_shape=spec.observation_shape,
            most_steps=max(SHORTEST_PIECE, RUNNING_MB * MEBIBYTE // (copies * position_bytes(spec))),
        )
        return [task._replace(actor=i, num_games=quota) for i, quota in enumerate(quotas)]

    def run(
        self,
        *,
        minutes: float | None = None,
        show: Callable[[SelfPlayTotals], None] = lambda totals: None,
        say: Callable[[str], None] = lambda line: None,
    ) -> SelfPlayTotals:
        """Play until all games are finished, so many minutes have gone by, or ^C; `show` hears of the totals.

        Raises:
            UserError: another process works in the folder, or workers end again and again.
        """
        lock = FolderLock(self._out, GAMES)
        with lock.kept(), GameStore(self._out / STORE_NAME) as store:
            tidy(self._out, GAMES)
            num_before = store.num_games()
            store.write_note(
                GAME_NOTE, msgspec.json.encode(self._agent.info.spec)
            )  # so that others can learn from them
        try:
            with no_orphans():
                self._run(minutes, show, say)
        finally:
            lock.close()
        with GameStore(self._out / STORE_NAME) as store:
            self.num_stored = store.num_games() - num_before
        return self.totals

    def _run(self, minutes: float | None, show: Callable[[SelfPlayTotals], None], say: Callable[[str], None]) -> None:
        runtime, interrupts = (
            make_runtime("processes", Place(self._out / STORE_NAME, self._out / "weights")),
            Interrupts(),
        )
        try:
            with interrupts.heard():
                say("preparing kernels (the first time on a machine takes a minute)")
                with interrupts.at_once():
                    self._start(runtime)
                while runtime.running() and not interrupts.requested and not self._is_over(minutes):
                    runtime.poll(POLL_SECONDS)
                    for notice in runtime.take_notices():
                        say(notice.message)
                    self._count(runtime)
                    show(self.totals)
                if interrupts.requested:
                    say("stopping: storing finished games")
                runtime.stop()
            self._count(runtime)
        finally:
            runtime.close()

    def _start(self, runtime: Runtime) -> None:
        warm_up(self.task, self._agent.files)
        runtime.publish(self._agent.info.model_version, self._agent.folder_files())
        runtime.allow(selfplay.__name__, UNLIMITED)
        runtime.start(selfplay, self._tasks)

    def _is_over(self, minutes: float | None) -> bool:
        return minutes is not None and self.totals.seconds >= 60.0 * minutes

    def _count(self, runtime: Runtime) -> None:
        counts = runtime.take_counts()
        if self._started is None and counts:
            self._started = time.perf_counter()
        self.totals.add(counts)
        if self._started is not None:
            self.totals.seconds = time.perf_counter() - self._started
