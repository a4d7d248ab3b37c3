"""How often each action was taken in each position, and the way to what was taken least.

Knows positions by their numbers alone, and which followed which; knows nothing of rewards, networks or searches. Where
positions do not come back, as where observations are measured, it says so and holds nothing.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.runtime.base import State

__all__ = ["Visits"]

MOST_ENTRIES = 200_000
"""Positions times actions; beyond, planning would take longer than playing."""
JUDGED_AFTER, NEW_SHARE = 200, 0.5
"""After so many positions met, as many of them must have been met before that a table of them says something."""
DISCOUNT, SWEEPS, CLOSE = 0.95, 200, 1e-3
"""Of the planning: how far it looks ahead, how often it passes over all positions, and when they are good enough."""
BEST = 1.0 / (1.0 - DISCOUNT)
"""What a position is worth at most."""
SMALLEST = 64
"""Positions that there is room for from the start."""
MISFIT = "stored visits must be of positions and actions that they name. Take another checkpoint."
UNKNOWN, END = -1, -2
"""In place of the position that follows: nobody has been there, or the episode ends."""


class Visits:
    """A table of the positions that a game was in, and of what followed each action there.

    What was not tried yet in a position counts as leading to the best there can be; what was tried n times is worth
    (n + 1) ** -0.5, and what follows it (R-max, Brafman and Tennenholtz 2002; a bonus by counts, Strehl and Littman
    2008). What follows an action is taken to be what followed it last; behind an end it goes on as it does on average,
    since another episode begins.

    Args:
        num_actions: A.
    """

    def __init__(self, num_actions: int) -> None:
        self._row_of: dict[bytes, int] = {}
        self._num_met = 0
        self._end_value = BEST  # as much as a position is worth on average: another episode begins
        self._allocate(SMALLEST, num_actions)

    def _allocate(self, size: int, num_actions: int) -> None:
        self._count = np.zeros((size, num_actions), np.int64)
        self._next = np.full((size, num_actions), UNKNOWN, np.int64)
        self._legal = np.zeros((size, num_actions), np.bool_)
        self._worth = np.full((size, num_actions), 1.0 + DISCOUNT * BEST)

    @property
    def is_useful(self) -> bool:
        """Whether positions come back, as far as was seen, and are few enough to plan with."""
        num_rows, num_actions = len(self._row_of), self._count.shape[1]
        enough = self._num_met >= JUDGED_AFTER and num_rows <= NEW_SHARE * self._num_met
        return enough and num_rows * num_actions <= MOST_ENTRIES

    @property
    def is_hopeless(self) -> bool:
        """Whether they do not, or are not: nothing more need be told."""
        return self._num_met >= JUDGED_AFTER and not self.is_useful

    def rows(self, observation: NDArray[Any], legal: NDArray[np.bool_]) -> NDArray[np.int64]:
        """`[B]` the rows of positions met now, which `observation` `[B, *O]` and `legal` `[B, A]` tell apart."""
        found = np.empty(len(observation), np.int64)
        for b, seen in enumerate(observation):
            key = hashlib.blake2b(seen.tobytes() + legal[b].tobytes(), digest_size=8).digest()
            found[b] = self._row_of.setdefault(key, len(self._row_of))
            if found[b] == len(self._count):
                self._grow()
            self._legal[found[b]] = legal[b]
        self._num_met += len(found)
        return found

    def _grow(self) -> None:
        old, (size, num_actions) = self._arrays(), self._count.shape
        self._allocate(2 * size, num_actions)
        for name, array in self._arrays().items():
            array[:size] = old[name]

    def follow(self, row: NDArray[np.int64], action: NDArray[np.int32], after: NDArray[np.int64]) -> None:
        """In positions `row` `[n]` these actions were taken and led to `after` `[n]`, rows or END."""
        np.add.at(self._count, (row, action), 1)
        self._next[row, action] = after
        value = np.where(self._legal[after], self._worth[after], 0.0).max(axis=1)
        value[after == END] = self._end_value
        self._worth[row, action] = (self._count[row, action] + 1.0) ** -0.5 + DISCOUNT * value

    def plan(self) -> None:
        """Say anew what each action is worth, in all positions."""
        num_rows = len(self._row_of)
        count, after, legal = self._count[:num_rows], self._next[:num_rows], self._legal[:num_rows]
        bonus = (count + 1.0) ** -0.5
        worth = np.where(legal, self._worth[:num_rows], 0.0)
        value = np.empty(num_rows + 2)
        value[UNKNOWN] = BEST
        for _ in range(SWEEPS):
            value[:num_rows] = np.where(legal, worth, 0.0).max(axis=1)
            value[END] = self._end_value = value[:num_rows].mean()
            before, worth = worth, bonus + DISCOUNT * value[after]
            if abs(worth - before)[legal].max(initial=0.0) < CLOSE:
                break
        self._worth[:num_rows] = worth

    def choose(self, row: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int32]:
        """`[n]` the actions worth most in positions `row` `[n]`, as `plan` left them; any of equals."""
        worth = np.where(
            self._legal[row], self._worth[row] + CLOSE * rng.random((len(row), self._worth.shape[1])), -1.0
        )
        return np.asarray(worth.argmax(axis=1), np.int32)

    def state(self) -> State:
        """All that `restore` needs."""
        return {
            "keys": np.frombuffer(b"".join(self._row_of), np.uint64).copy(),
            "num_met": np.array(self._num_met),
            "end_value": np.array(self._end_value),
            **{name: array[: len(self._row_of)].copy() for name, array in self._arrays().items()},
        }

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"count": self._count, "next": self._next, "legal": self._legal, "worth": self._worth}

    def restore(self, state: State) -> None:
        """Take up where `state` was taken.

        Raises:
            UserError: it is none of ours.
        """
        num_rows, num_actions = len(state["keys"]), self._count.shape[1]
        self._allocate(max(SMALLEST, 1 << num_rows.bit_length()), num_actions)
        self._row_of = {key.tobytes(): row for row, key in enumerate(state["keys"])}
        self._num_met = int(state["num_met"])
        self._end_value = float(state["end_value"])
        for name, array in self._arrays().items():
            if state[name].shape != (num_rows, num_actions) or state[name].dtype != array.dtype:
                raise UserError(MISFIT)
            array[:num_rows] = state[name]
        self.require(self._next)

    def require(self, rows: NDArray[np.int64]) -> None:
        """UserError unless all of these are rows, UNKNOWN or END."""
        if rows.min(initial=END) < END or rows.max(initial=END) >= len(self._row_of):
            raise UserError(MISFIT)
