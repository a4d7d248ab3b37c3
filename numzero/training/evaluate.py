"""The role that judges agents beside training.

Knows its task and its mailbox; `judging` judges. Never imports torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from numzero.agent import Agent
from numzero.judging.evaluate import evaluate
from numzero.runtime.base import Mailbox

__all__ = ["EvaluationTask", "evaluation"]

NICENESS = 10
"""Of a process that evaluates beside training: it takes the time that the other roles leave."""


class EvaluationTask(NamedTuple):
    """All that a process which evaluates beside training needs; plain values."""

    run: str
    """The run's folder, whose newest agent is judged."""
    game: str
    """The run's; an agent that names another is refused."""
    games: int
    num_simulations: int
    seed: int


class _Stopped(Exception):
    """The run ends, and these scores are not needed."""


def evaluation(task: EvaluationTask, mailbox: Mailbox) -> Iterator[None]:
    """The role that judges the newest agent whenever the run allows it to; agents in between are passed over.

    Its unit is `updates`: the budget goes up to those of the agent that is to be judged. Reports `evaluations`, triples
    of updates, environment steps and scores.
    """
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    told = int(mailbox.told.get("updates", 0))

    def move(done: int, total: int) -> None:
        del done, total
        if mailbox.stopping():
            raise _Stopped

    while not mailbox.stopping():
        if mailbox.budget() <= 0:
            mailbox.wait()
        else:
            agent = Agent.load(Path(task.run))
            updates, steps = agent.info.model_version, int(agent.info.training.get("environment_steps", 0))
            settings = {"games": task.games, "simulations": task.num_simulations, "seed": task.seed}
            try:
                scores = evaluate(agent, opponent=None, progress=move, trust=task.game, **settings)
            except _Stopped:
                return
            mailbox.report({"updates": max(updates - told, 1), "evaluations": [(updates, steps, scores)]})
            told = max(updates, told + 1)
        yield
