"""A run's stored games, searched again with an agent.

Knows tasks of reanalyzing and what is counted; knows nothing of how it is shown. Never imports torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.folders import store_lock
from numzero.frames import FrameStack
from numzero.interrupts import Interrupts
from numzero.limits import num_cores
from numzero.replay import GameStore
from numzero.runtime.base import AUTO, UNLIMITED, Place, Runtime
from numzero.runtime.factory import make_runtime
from numzero.runtime.family import no_orphans
from numzero.training.memory import check_workers
from numzero.training.offline import find_source
from numzero.training.roles.reanalyze import ReanalyzeTask, count_out_of_date, reanalyze

__all__ = ["RefreshSession", "RefreshTotals"]

POLL_SECONDS = 0.5


@dataclasses.dataclass
class RefreshTotals:
    """What all workers did so far."""

    out_of_date: int
    """Games when it began."""
    games: int = 0
    positions: int = 0
    seconds: float = 0.0
    left: int = 0
    """Games that are out of date still; known at the end."""


class RefreshSession:
    """Gives all games of a run fresh policy targets and root values.

    What this agent has searched is passed over, so a session that was stopped can be made again and goes on.

    Args:
        run: the run's folder, a folder of self-play, or a store.
        agent: the folder of an agent, or of a run, that searches; None: the newest of `run`.
        simulations: per position; None: the agent's own.
        workers: processes; 0: this one alone; None: one per core.
        positions: at a time.

    Raises:
        UserError: there are no games or no agent, or the agent plays another game.
    """

    def __init__(
        self,
        run: Path,
        agent: Path | None = None,
        *,
        simulations: int | None = None,
        workers: int | None = None,
        positions: int = 256,
    ) -> None:
        source = find_source(run)
        self.store, self.agent = source.store, Agent.load(run if agent is None else agent)
        game = self.agent.info.spec.name
        if game != source.spec.name:
            raise UserError(f"the agent plays {game}, the games are of {source.spec.name}. Name one that plays it.")
        self._workers = num_cores() if workers is None else workers
        check_workers(self._workers)
        self._tasks = self._make_tasks(agent is not None, simulations, positions)

    def _make_tasks(self, is_foreign: bool, simulations: int | None, positions: int) -> list[ReanalyzeTask]:
        agent, search = self.agent, self.agent.info.search
        if simulations is not None:
            search = dataclasses.replace(search, num_simulations=simulations)
        # A run's weights are told apart by their version; another agent by what it is made of.
        made_of = hashlib.sha256(agent.files.initial + agent.files.recurrent + repr(search).encode()).hexdigest()[:16]
        name = made_of if is_foreign or simulations is not None else ""
        count = max(1, self._workers)
        frames = FrameStack(agent.info.spec, agent.info.observation)
        task = ReanalyzeTask(search, positions, 0, count, agent=name, frames=frames, once=True)
        return [task._replace(worker=worker) for worker in range(count)]

    def run(
        self,
        *,
        show: Callable[[RefreshTotals], None] = lambda totals: None,
        say: Callable[[str], None] = lambda line: None,
    ) -> RefreshTotals:
        """Search until nothing is out of date, or ^C; `show` hears of the totals.

        Raises:
            UserError: another process works in the run's folder, or workers end again and again.
        """
        with (
            no_orphans(),
            store_lock(self.store),
            tempfile.TemporaryDirectory(prefix="numzero-") as folder,
            GameStore(self.store) as store,
        ):
            totals = RefreshTotals(self._count(store))
            self._refresh(self._runtime(Path(folder) / "weights"), totals, show, say)
            totals.left = self._count(store)
        return totals

    def _count(self, store: GameStore) -> int:
        return count_out_of_date(store.index(), self._tasks[0].agent, self.agent.info.model_version)

    def _runtime(self, weights: Path) -> Runtime:
        return make_runtime(AUTO, Place(self.store, weights), self._workers)

    def _refresh(
        self,
        runtime: Runtime,
        totals: RefreshTotals,
        show: Callable[[RefreshTotals], None],
        say: Callable[[str], None],
    ) -> None:
        interrupts, started = Interrupts(), time.perf_counter()
        with interrupts.heard():
            try:
                with interrupts.at_once():
                    runtime.publish(self.agent.info.model_version, self.agent.folder_files())
                    runtime.start(reanalyze, self._tasks, unit="positions")
                    runtime.allow(reanalyze.__name__, UNLIMITED)
                while runtime.running() and not interrupts.requested:
                    runtime.poll(POLL_SECONDS)
                    _add(totals, runtime.take_counts(), time.perf_counter() - started)
                    show(totals)
                if interrupts.requested:
                    say("stopping: storing what is finished")
            finally:
                runtime.stop()
                _add(totals, runtime.take_counts(), time.perf_counter() - started)
                runtime.close()


def _add(totals: RefreshTotals, counts: dict[str, Any], seconds: float) -> None:
    totals.games += counts.get("refreshed", 0)
    totals.positions += counts.get("reanalyzed", 0)
    totals.seconds = seconds
