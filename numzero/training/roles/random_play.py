"""What a random policy gets at a game: the first thing that self-play does in a run, and what its agents are beside.

Knows a batch of copies, a bound of steps and of time, and the mailbox; knows nothing of networks, and opens no file.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from numzero.games import Game
from numzero.judging.evaluate import Played, play_together, returns_of, step_limit
from numzero.judging.opponents import RandomPlayer
from numzero.runtime.base import Mailbox

__all__ = ["RandomTask", "random_play"]

MOST_SECONDS = 10.0
"""After which what runs is cut off, however few steps that were: some environments take a second for each."""
MOVES_AT_ONCE = 50
"""Between two looks at the mailbox."""


class RandomTask(NamedTuple):
    """How a random policy is measured; plain values."""

    num_steps: int
    """No episode begins after so many steps of all copies together, and none is longer."""
    seed: int
    max_steps: int = 0
    """As `EvaluationConfig` says."""


def random_play(game: Game, task: RandomTask, mailbox: Mailbox) -> Iterator[None]:
    """Play all copies of `game` at random, again and again, and report what that came to as `random`; see `RandomTask`.

    Copies begin together and the next round waits for the last of them, so that short episodes do not count more often
    than long ones. The game is to be reset afterwards.
    """
    rng = np.random.default_rng([task.seed, 2_000_000])
    limit = min(step_limit(game.spec, task.max_steps, _NO_END_SEEN), max(1, task.num_steps))
    deadline = time.perf_counter() + MOST_SECONDS
    rounds: list[Played] = []
    num_steps = 0
    while num_steps < task.num_steps and time.perf_counter() < deadline:
        playing = play_together(game, (RandomPlayer(),), rng, limit=limit)
        next(playing)
        for num_moves in range(1, limit + 1):
            try:
                playing.send(time.perf_counter() > deadline)
            except StopIteration as ended:
                rounds.append(ended.value)
                break
            if num_moves % MOVES_AT_ONCE == 0:
                yield
                if mailbox.stopping():
                    return
        num_steps += int(rounds[-1].length.sum())
    mailbox.report({"random": [_scores(rounds)]})


_NO_END_SEEN = {"episodes": 0, "environment_steps": 1}


def _scores(rounds: list[Played]) -> dict[str, Any]:
    """As `returns_of`, and of how many games."""
    return returns_of(rounds) | {"games": sum(len(each.total) for each in rounds)}
