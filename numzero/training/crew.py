"""The roles of a run: what they are given to do, and what they bring.

Knows every role and its task; knows nothing of how much they may do, nor where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from numzero.frames import FrameStack
from numzero.inference import ModelFiles
from numzero.replay import Trajectory
from numzero.runtime.base import Notice, Runtime
from numzero.training.config import RunConfig
from numzero.training.memory import pieces_of
from numzero.training.plan import RunPlan
from numzero.training.roles.evaluation import EvaluationTask, evaluation
from numzero.training.roles.random_play import RandomTask
from numzero.training.roles.reanalyze import ReanalyzeTask, reanalyze
from numzero.training.roles.selfplay import SelfPlayTask, selfplay, warm_up

__all__ = ["Brought", "Crew"]

EVALUATION_SEED = 1_000_003
EVALUATION_PATIENCE_SECONDS = 600.0
"""An evaluation shows a sign of life at every move of its batch of games."""


class Brought(NamedTuple):
    """What roles did since they were last asked."""

    games: Sequence[Trajectory]
    steps: int
    """Played."""
    episodes: list[Any]
    """Finished."""
    positions: int
    """Searched again, allowances that lapsed included."""
    evaluations: list[tuple[int, int, dict[str, Any], list[dict[str, int]]]]
    """Updates and environment steps of agents that were judged, their scores, and what they came to against earlier
    agents."""
    random: list[dict[str, Any]]
    """What a random policy got, once in a run."""
    unjudged: list[tuple[int, str]]
    """Updates of agents that could not be judged, and why."""
    notices: list[Notice]
    replayed: tuple[int, int, int]
    """Steps of running episodes that were played again, how many there are in all (told once), and episodes dropped."""


def evaluation_task(config: RunConfig, earlier: Sequence[dict[str, bytes]]) -> EvaluationTask:
    """How a run's agents are judged, wherever that is; earlier: files of those judged before, the newest last."""
    how = config.evaluation
    return EvaluationTask(
        config.game,
        how.games,
        how.num_simulations,
        EVALUATION_SEED,
        how.max_steps,
        how.rated_games,
        tuple(earlier),
    )


def random_task(config: RunConfig) -> RandomTask:
    """How a random policy is measured beside a run's agents."""
    how = config.evaluation
    return RandomTask(how.random_steps, EVALUATION_SEED, how.max_steps)


class Crew:
    """Starts the roles of a run and speaks with them.

    Args:
        config: settings.
        plan: what was asked.
        runtime: where they work.
        steps: that were played before this session.
        positions: that were searched again before.
    """

    def __init__(self, config: RunConfig, plan: RunPlan, runtime: Runtime, steps: int, positions: int) -> None:
        self._config = config
        self._plan = plan
        self._runtime = runtime
        self._first_steps = steps
        self._first_positions = positions

    def start(
        self,
        model: ModelFiles,
        window_steps: int,
        *,
        evaluates: bool,
        measures_random: bool,
        earlier: Sequence[dict[str, bytes]] = (),
    ) -> None:
        """Start all roles.

        Args:
            model: any weights of the run, to compile for.
            window_steps: what the window holds.
            evaluates: whether one of them evaluates.
            measures_random: whether a random policy is yet to be measured.
            earlier: the files of agents that were judged before, which those to be judged meet.
        """
        if not self._plan.offline:
            tasks = self._selfplay_tasks()
            warm_up(tasks[0], model)
            if measures_random:
                tasks[0] = tasks[0]._replace(random=random_task(self._config))
            self._runtime.start(selfplay, tasks)
        if self._plan.reanalyze_workers:
            self._runtime.start(reanalyze, self._reanalyze_tasks(window_steps), unit="positions")
        if evaluates:
            task = evaluation_task(self._config, earlier)
            self._runtime.start(evaluation, [task], unit="updates", patience_seconds=EVALUATION_PATIENCE_SECONDS)

    def _selfplay_tasks(self) -> list[SelfPlayTask]:
        config, plan = self._config, self._plan
        settings = config.game, config.search, config.selfplay, config.schedule.gamma, plan.seed
        most_steps = pieces_of(config, plan.spec, plan.workers).most_steps
        shape = plan.spec.observation_shape
        task = SelfPlayTask(*settings, 0, observation=config.observation, most_steps=most_steps, frame_shape=shape)
        shares = config.selfplay.shared(max(1, plan.workers))
        return [
            task._replace(actor=actor, config=replace(config.selfplay, batch_size=share))
            for actor, share in enumerate(shares)
        ]

    def _reanalyze_tasks(self, window_steps: int) -> list[ReanalyzeTask]:
        config, count = self._config.reanalyze, self._plan.reanalyze_workers
        newest_steps = window_steps if config.scope == "window" else 0
        frames = FrameStack(self._plan.spec, self._config.observation)
        task = ReanalyzeTask(self._config.search, config.positions, 0, count, newest_steps=newest_steps, frames=frames)
        return [task._replace(worker=worker) for worker in range(count)]

    def allow(self, steps: int, positions: int) -> None:
        """Let actors play up to so many steps of the run, and workers search up to so many positions again."""
        self._runtime.allow(selfplay.__name__, steps - self._first_steps)
        if self._plan.reanalyze_workers:
            self._runtime.allow(reanalyze.__name__, positions - self._first_positions)

    def judge_up_to(self, updates: int) -> None:
        """Let the newest agent be judged, which has so many updates."""
        self._runtime.allow(evaluation.__name__, updates)

    def positions_searched(self) -> int:
        """What workers have searched again so far, of which not all may have been brought."""
        if not self._plan.reanalyze_workers:
            return 0
        units = [worker.units for worker in self._runtime.workers() if worker.role == reanalyze.__name__]
        return self._first_positions + sum(units)

    def bring(self) -> Brought:
        """What they did since the last call."""
        games, counts = self._runtime.collect(), self._runtime.take_counts()
        return Brought(
            games,
            counts.get("steps", 0),
            counts.get("episodes", []),
            counts.get("positions", 0),
            counts.get("evaluations", []),
            counts.get("random", []),
            counts.get("unjudged", []),
            self._runtime.take_notices(),
            (counts.get("replayed", 0), counts.get("to_replay", 0), counts.get("dropped_episodes", 0)),
        )
