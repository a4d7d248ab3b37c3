"""One episode of an agent's game, with somebody who chooses the moves.

Knows turns and rewards; knows nothing of who chooses, nor of what is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero.agent import Agent, Decision
from numzero.games import Game

__all__ = ["play_episode"]


def play_episode(
    agent: Agent,
    game: Game,
    choose: Callable[[int, Decision], Any],
    rng: np.random.Generator,
    *,
    simulations: int | None = None,
    drawn: Callable[[int], None] = lambda outcome: None,
    max_steps: int | None = None,
) -> NDArray[np.float64] | None:
    """Play copy 0 of `game` from a reset to its end.

    Args:
        agent: searches every position.
        game: one copy.
        choose: is told whose move it is and what the agent would do; returns an action, or None to leave.
        rng: decides the reset.
        simulations: of each search; None: the agent's own.
        drawn: is told what chance made of each action, where the game says it.
        max_steps: after which the episode is left as it is; None: it ends where the game ends it.

    Returns:
        `[2]` the rewards of each player, summed up; None if `choose` left.
    """
    game.reset(np.ones(1, np.bool_), rng)
    total, ended, steps = np.zeros(2), False, 0
    history = agent.history(1)
    while not ended and steps != max_steps:
        mover = int(game.to_play()[0])
        seen = history.stack(game.observation())[0]
        action = choose(mover, agent.act(seen, game.legal()[0], simulations=simulations))
        if action is None:
            return None
        played = np.array([action], np.int32 if game.spec.vectors is None else np.float32)
        history.advance(game.observation(), played)
        step = game.step(played)
        if step.outcome is not None:
            drawn(int(step.outcome[0]))
        total[mover] += float(step.reward[0])
        steps += 1
        ended = bool(step.terminated[0] | step.truncated[0])
    return total
