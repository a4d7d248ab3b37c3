"""What a finite task is worth, step by step from the start, in plain Python."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from numzero.games.tabular import Tables


def mean_return(task: Tables, chosen: Callable[[Iterable[float]], float]) -> float:
    """The mean undiscounted return where `chosen` makes one number of those of all actions: max, or their mean."""
    chance, reward, over = task.chance.tolist(), task.reward.tolist(), task.over.tolist()

    @functools.cache
    def worth(state: int, steps_left: int) -> float:
        if over[state] or steps_left == 0:
            return 0.0
        return chosen([action_worth(state, action, steps_left) for action in range(len(chance[state]))])

    def action_worth(state: int, action: int, steps_left: int) -> float:
        likely = [after for after, p in enumerate(chance[state][action]) if p > 0.0]
        return sum(
            chance[state][action][after] * (reward[state][action][after] + worth(after, steps_left - 1))
            for after in likely
        )

    return sum(p * worth(state, task.max_steps) for state, p in enumerate(task.start.tolist()) if p > 0.0)
