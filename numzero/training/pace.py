"""Who may do how much, and what is due when.

Knows counts, the replay ratio and the intervals of the schedule; knows nothing of who does it, nor where.
"""

from __future__ import annotations

import time
from typing import Any

from numzero.errors import UserError
from numzero.runtime.base import RuntimePace
from numzero.training.config import RunConfig
from numzero.training.limiter import Limiter
from numzero.training.plan import RunPlan

__all__ = ["Pace", "limiter_of", "updates_of"]


def limiter_of(config: RunConfig) -> Limiter:
    """The replay ratio of a run."""
    schedule = config.schedule
    return Limiter(schedule.samples_per_step, config.learner.batch_size, schedule.start_steps)


def updates_of(config: RunConfig, steps: int, *, offline: bool) -> int:
    """How many updates a run of so many environment steps makes.

    Raises:
        UserError: it makes none; learning offline plays no steps.
    """
    if offline:
        raise UserError("learning offline plays no steps; set schedule.num_updates.", arguments=("steps",))
    updates = limiter_of(config).updates_at(steps)
    if updates < 1:
        least = limiter_of(config).steps_at(1)
        raise UserError(
            f"a run must have {least:,} steps or more, which its first update needs; got {steps:,}. Raise it."
        )
    return updates


class Pace:
    """Holds learner, actors and reanalyze to the ratios of the settings, all ways.

    Args:
        config: settings.
        plan: what was asked.
        keeping: how the roles keep time.
    """

    def __init__(self, config: RunConfig, plan: RunPlan, keeping: RuntimePace) -> None:
        schedule = config.schedule
        self._schedule = schedule
        self._reanalyze = config.reanalyze
        self._evaluation_interval = 0 if plan.offline else config.evaluation.interval
        self._random_steps = config.evaluation.random_steps
        self._batch_size = config.learner.batch_size
        self._plan = plan
        self._keeping = keeping
        self._limiter = limiter_of(config)
        self._slack = max(schedule.publish_interval, config.processes.slack_updates)
        self._last_publish = 0.0

    @property
    def activity(self) -> str:
        """What the time is spent on in which roles are heard."""
        return "selfplay" if self._keeping.in_step else "wait"

    @property
    def evaluates_beside(self) -> bool:
        """Whether a role evaluates at intervals, while others go on."""
        return not self._keeping.in_step and self._evaluation_interval > 0

    def measures_random(self, done: dict[str, Any]) -> bool:
        """Whether a random policy is to be measured: once in a run, and where one player has something to earn."""
        return not done and self._random_steps > 0 and self._plan.spec.num_players == 1 and not self._plan.offline

    # ------------------------------------------------------------------------------------------------ roles

    def steps_allowed(self, done: int, steps: int, *, has_games: bool) -> int:
        """Environment steps up to which may be played, after `done` updates and `steps` steps."""
        allowed = self._limiter.steps_at(self._target(done))
        # Whatever start_steps says: without games there is nothing to learn from before an end.
        return allowed if has_games else max(allowed, steps + 1)

    def positions_allowed(self, done: int) -> int:
        """Positions up to which workers may search again; 0 where there are none."""
        if not self._plan.reanalyze_workers:
            return 0
        return self._reanalyze.positions_at(self._target(done), self._batch_size)

    def _target(self, done: int) -> int:
        """The update that roles may already work for."""
        return min(done + (1 if self._keeping.in_step else self._slack), self._schedule.num_updates)

    def wait_seconds(self, updates_due: int) -> float:
        """How long the roles may be waited for."""
        return 0.0 if updates_due > 0 else self._keeping.wait_seconds

    # ------------------------------------------------------------------------------------------------ the learner

    def updates_due(self, done: int, steps: int, positions: int, *, has_games: bool) -> int:
        """Updates that may be made now, after so many steps and positions that workers have searched again."""
        if not has_games:
            return 0
        allowed = self._schedule.num_updates
        if not self._plan.offline:
            allowed = min(allowed, self._limiter.updates_at(steps))
        if self._plan.reanalyze_workers:
            allowed = min(allowed, self._updates_reanalyzed(positions))
        return allowed - done

    def _updates_reanalyzed(self, positions: int) -> int:
        """How many updates the work of the reanalyze workers allows, with some slack."""
        under_way = self._reanalyze.positions * self._plan.reanalyze_workers
        return int((positions + under_way) / (self._reanalyze.fraction * self._batch_size)) + self._slack

    def updates_at_once(self, due: int) -> int:
        """Updates to make before roles are heard again."""
        return min(due, self._schedule.publish_interval)

    def batches_owed(self, done: int, reanalyzed: int) -> int:
        """Batches of positions to be searched again, where no workers do."""
        owed = self._reanalyze.positions_at(done, self._batch_size) - reanalyzed
        return max(0, owed) // self._reanalyze.positions

    # ------------------------------------------------------------------------------------------------ intervals

    def publishes(self, done: int) -> bool:
        """Whether weights are to be published after this update."""
        is_heard = time.perf_counter() - self._last_publish >= self._keeping.publish_seconds
        return done % self._schedule.publish_interval == 0 and is_heard

    def published(self) -> None:
        """Weights were published just now."""
        self._last_publish = time.perf_counter()

    def saves(self, done: int) -> bool:
        """Whether a checkpoint is to be written after this update."""
        return done % self._schedule.checkpoint_interval == 0

    def evaluates(self, done: int, evaluated: int) -> bool:
        """Whether it is time to evaluate, and was not done before a stop."""
        interval = self._evaluation_interval
        return interval > 0 and done % interval == 0 and evaluated < done < self._schedule.num_updates
