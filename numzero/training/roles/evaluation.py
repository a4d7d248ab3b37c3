"""The judge: plays the newest agent of a run while it trains.

Knows the mailbox and how an agent is judged; opens no file, and never imports torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from numzero.agent import Agent
from numzero.errors import CannotBeMade
from numzero.judging.evaluate import Progress, evaluate
from numzero.judging.opponents import AgentPlayer
from numzero.runtime.base import AGENTS, Mailbox

__all__ = ["NUM_EARLIER", "EvaluationTask", "Judge", "StoppedError", "evaluation"]

NICENESS = 10
"""Of a process that evaluates beside training: it takes the time that the other roles leave."""


NUM_EARLIER = 3
"""Agents judged before that a new one meets: more would say little, since all hang together through these."""


class EvaluationTask(NamedTuple):
    """How an agent is judged; plain values, so that they travel to a process beside training."""

    game: str
    """The run's; an agent that names another is refused."""
    games: int
    num_simulations: int
    seed: int
    max_steps: int = 0
    """As `EvaluationConfig` says."""
    rated_games: int = 0
    """As `EvaluationConfig` says."""
    earlier: tuple[dict[str, bytes], ...] = ()
    """The files of agents that were judged before, the newest last."""


class StoppedError(Exception):
    """Somebody asked to stop while an agent was judged; nobody waits for its scores."""


def evaluation(task: EvaluationTask, mailbox: Mailbox) -> Iterator[None]:
    """The role that judges the newest agent whenever the run allows it to; agents in between are passed over.

    Its unit is `updates`: the budget goes up to those of the agent that is to be judged, which is published in the
    channel of agents before. Reports `evaluations`, of updates, environment steps, scores and what came of games
    against earlier agents, or `unjudged`, pairs of updates and why there are no scores.
    """
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    told = int(mailbox.told.get("updates", 0))
    judged, judge = -1, Judge(task)
    while not mailbox.stopping():
        newest = mailbox.newest_weights(judged, AGENTS) if mailbox.budget() > 0 else None
        if newest is None:
            mailbox.wait()
        else:
            judged, files = newest
            agent = Agent.from_files(files, "the agent to be judged")
            updates, steps = agent.info.model_version, int(agent.info.training.get("environment_steps", 0))
            try:
                found: dict[str, Any] = {"evaluations": [(updates, steps, *judge(agent, mailbox.stopping))]}
            except StoppedError:
                return
            except CannotBeMade as error:  # beside those of self-play, perhaps
                found = {"unjudged": [(updates, str(error))]}
            mailbox.report({"updates": max(updates - told, 1), **found})
            told = max(updates, told + 1)
        yield


class Judge:
    """Scores agents, beside training or in the middle of it, and has them play those that were scored before."""

    def __init__(self, task: EvaluationTask) -> None:
        self._task = task
        self._earlier = [Agent.from_files(files, "an agent judged before") for files in task.earlier]

    def __call__(self, agent: Agent, stopping: Callable[[], bool]) -> tuple[dict[str, Any], list[dict[str, int]]]:
        """The agent's scores, and the fields of a `Met` for each earlier agent that it played.

        Raises StoppedError as soon as it is stopping, which is asked at every move.
        """

        def move(done: int, total: int) -> None:
            del done, total
            if stopping():
                raise StoppedError

        earlier = [each for each in self._earlier if _age(each) != _age(agent)][-NUM_EARLIER:]
        scores = self._play(agent, None, move)
        met = [self._meet(agent, other, move) for other in earlier]
        if self._task.rated_games:
            self._earlier = [*earlier, agent][-NUM_EARLIER:]
        return scores, met

    def _meet(self, agent: Agent, other: Agent, move: Progress) -> dict[str, int]:
        scores = self._play(agent, other, move)
        return {"updates": _age(other), **{name: int(scores[name]) for name in ("wins", "draws", "losses")}}

    def _play(self, agent: Agent, other: Agent | None, move: Progress) -> dict[str, Any]:
        task = self._task
        return evaluate(
            agent,
            opponent=None if other is None else AgentPlayer(other, task.num_simulations),
            games=task.games if other is None else task.rated_games,
            simulations=task.num_simulations,
            seed=task.seed if other is None else task.seed + _age(agent),
            max_steps=task.max_steps,
            progress=move,
            trust=task.game,
        )


def _age(agent: Agent) -> int:
    return agent.info.model_version
