"""What a random policy gets at a game: the first thing that self-play does in a run, and what its agents are beside.

Knows a batch of copies, a bound of steps and of time, and the mailbox; knows nothing of networks, and opens no file.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
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
    """No episode begins after so many steps of all copies together, and none is longer. Where episodes are cut off
    earlier, as long as nobody knows whether they end, it is tried once more whether they do by then."""
    seed: int
    max_steps: int = 0
    """As `EvaluationConfig` says."""


def random_play(game: Game, task: RandomTask, mailbox: Mailbox) -> Iterator[None]:
    """Play all copies of `game` at random, again and again, and report what that came to as `random`; see `RandomTask`.

    Copies begin together and the next round waits for the last of them, so that short episodes do not count more often
    than long ones. Agents whose own episodes have not ended yet are cut off early; those that come later are not, so
    there are two reports where random episodes do end, but later. The game is to be reset afterwards.
    """
    rng = np.random.default_rng([task.seed, 2_000_000])
    limits = (step_limit(game.spec, task.max_steps, training) for training in (_NO_END_SEEN, {}))
    early, late = (min(limit, max(1, task.num_steps)) for limit in limits)
    deadline = time.perf_counter() + MOST_SECONDS
    rounds = yield from _rounds(game, rng, early, task.num_steps, deadline, mailbox)
    if rounds is None:
        return
    found = [_scores(rounds)]
    if late > early and found[0].get("unfinished"):
        longer = yield from _rounds(game, rng, late, task.num_steps, deadline, mailbox)
        if longer is None:
            return
        found += [scores] if longer and not (scores := _scores(longer)).get("unfinished") else []
    mailbox.report({"random": found})


_NO_END_SEEN = {"episodes": 0, "environment_steps": 1}


def _rounds(
    game: Game, rng: np.random.Generator, limit: int, num_steps: int, deadline: float, mailbox: Mailbox
) -> Generator[None, None, list[Played] | None]:
    """Rounds of so many steps or more, if there is time; None: somebody asked to stop."""
    rounds: list[Played] = []
    done = 0
    while done < num_steps and time.perf_counter() < deadline:
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
                    return None
        done += int(rounds[-1].length.sum())
    return rounds


def _scores(rounds: list[Played]) -> dict[str, Any]:
    """As `returns_of`, and of how many games."""
    return returns_of(rounds) | {"games": sum(len(each.total) for each in rounds)}
