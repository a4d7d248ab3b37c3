"""The judge: plays the newest agent of a run while it trains.

Knows the mailbox and how an agent is judged; opens no file, and never imports torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from numzero.agent import Agent
from numzero.errors import CannotBeMade
from numzero.judging.evaluate import evaluate
from numzero.runtime.base import AGENTS, Mailbox

__all__ = ["EvaluationTask", "StoppedError", "evaluation", "judge"]

NICENESS = 10
"""Of a process that evaluates beside training: it takes the time that the other roles leave."""


class EvaluationTask(NamedTuple):
    """How an agent is judged; plain values, so that they travel to a process beside training."""

    game: str
    """The run's; an agent that names another is refused."""
    games: int
    num_simulations: int
    seed: int
    max_steps: int = 0
    """As `EvaluationConfig` says."""


class StoppedError(Exception):
    """Somebody asked to stop while an agent was judged; nobody waits for its scores."""


def evaluation(task: EvaluationTask, mailbox: Mailbox) -> Iterator[None]:
    """The role that judges the newest agent whenever the run allows it to; agents in between are passed over.

    Its unit is `updates`: the budget goes up to those of the agent that is to be judged, which is published in the
    channel of agents before. Reports `evaluations`, triples of updates, environment steps and scores, or `unjudged`,
    pairs of updates and why there are no scores.
    """
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    told = int(mailbox.told.get("updates", 0))
    judged = -1
    while not mailbox.stopping():
        newest = mailbox.newest_weights(judged, AGENTS) if mailbox.budget() > 0 else None
        if newest is None:
            mailbox.wait()
        else:
            judged, files = newest
            agent = Agent.from_files(files, "the agent to be judged")
            updates, steps = agent.info.model_version, int(agent.info.training.get("environment_steps", 0))
            try:
                found: dict[str, Any] = {"evaluations": [(updates, steps, judge(agent, task, mailbox.stopping))]}
            except StoppedError:
                return
            except CannotBeMade as error:  # beside those of self-play, perhaps
                found = {"unjudged": [(updates, str(error))]}
            mailbox.report({"updates": max(updates - told, 1), **found})
            told = max(updates, told + 1)
        yield


def judge(agent: Agent, task: EvaluationTask, stopping: Callable[[], bool]) -> dict[str, Any]:
    """An agent's scores, beside training or in the middle of it; raises StoppedError as soon as it is stopping."""

    def move(done: int, total: int) -> None:
        del done, total
        if stopping():
            raise StoppedError

    return evaluate(
        agent,
        opponent=None,
        games=task.games,
        simulations=task.num_simulations,
        seed=task.seed,
        max_steps=task.max_steps,
        progress=move,
        trust=task.game,
    )
