"""When and where a run has its agent judged: by a role beside training, or here, between two updates.

Knows the settings and who judges; knows nothing of how scores come about.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from numzero.errors import CannotBeMade
from numzero.training.account import Account
from numzero.training.checkpoint import RunState
from numzero.training.config import RunConfig
from numzero.training.crew import Crew, evaluation_task
from numzero.training.pace import Pace
from numzero.training.publisher import Publisher
from numzero.training.roles.evaluation import NUM_EARLIER, Judge, StoppedError

__all__ = ["Evaluations"]


class Evaluations:
    """Has the agent judged, at intervals and in the end.

    Args:
        config: settings.
        pace: says when.
        crew: has a role for it, perhaps.
        publisher: of the agent.
        account: hears of the scores.
        state: how far the run has come.
        stopping: whether somebody asked to stop.
    """

    def __init__(
        self,
        config: RunConfig,
        pace: Pace,
        crew: Crew,
        publisher: Publisher,
        account: Account,
        state: RunState,
        stopping: Callable[[], bool],
    ) -> None:
        self._config = config
        self._pace = pace
        self._crew = crew
        self._publisher = publisher
        self._account = account
        self._state = state
        self._stopping = stopping
        self._judge: Judge | None = None

    def at_interval(self, updates: int) -> None:
        """After so many updates, if it is time to; one that a stop cuts short is made up when the run goes on."""
        if not self._pace.evaluates(updates, self._state.evaluated):
            return
        if self._pace.evaluates_beside:
            self._keep()
            self._publisher.publish_agent()
            self._crew.judge_up_to(updates)
        else:
            self._publisher.save_agent()  # so that whoever hears its scores finds it
            with contextlib.suppress(StoppedError):
                self._if_possible(updates)

    def _if_possible(self, updates: int) -> None:
        """Judge, unless the environment cannot be made once more, beside self-play's: it may allow no other."""
        try:
            self.now(self._stopping)
        except CannotBeMade as error:
            self._account.not_evaluated(updates, str(error))

    def _keep(self) -> None:
        """For agents that will meet it, where the run rates its agents."""
        if self._config.evaluation.rated_games:
            self._publisher.keep_for_judge()

    def earlier(self) -> list[dict[str, bytes]]:
        """The files of agents that those to be judged will meet, where the run rates its agents."""
        if not self._config.evaluation.rated_games:
            return []
        return self._publisher.judged_agents()[-NUM_EARLIER - 1 :]  # one of them may be the one to be judged

    def came(self) -> None:
        """Scores came: of the agents that are kept for others to meet, only those stay that some will."""
        if self._config.evaluation.rated_games:
            self._publisher.prune_judged()

    def now(self, stopping: Callable[[], bool] = lambda: False) -> dict[str, Any]:
        """Judge the agent so far, and say how it did; raises StoppedError as soon as it is stopping."""
        agent = self._publisher.agent()
        with self._account.meter.at("evaluation"):
            if self._judge is None:  # from here on it knows the agents that it judged
                self._judge = Judge(evaluation_task(self._config, self.earlier()))
            scores, met = self._judge(agent, stopping)
        self._keep()
        self._account.evaluated(agent.info.model_version, self._state.steps, scores, met)
        self.came()
        return scores
