"""Positions that an actor has met, to start games from.

Knows the bytes of a position and how many are kept; knows nothing of games.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.runtime.base import State

__all__ = ["Archive"]

MOST_POSITIONS = 10_000


class Archive:
    """The newest `MOST_POSITIONS` positions, any of which is drawn as often as another (Go-Exploit's)."""

    def __init__(self) -> None:
        self._positions = np.zeros((0, 0), np.uint8)
        self._next = 0  # where the next one goes, once there is no more room

    def __len__(self) -> int:
        """How many there are."""
        return len(self._positions)

    def add(self, positions: NDArray[np.uint8]) -> None:
        """Keep `positions` `[n, S]`, in place of the oldest where there is no room for more."""
        room = MOST_POSITIONS - len(self._positions)
        if len(self._positions) == 0:
            self._positions = positions[:room].copy()
        else:
            self._positions = np.concatenate([self._positions, positions[:room]])
        rest = positions[room:]
        at = (self._next + np.arange(len(rest))) % MOST_POSITIONS
        self._positions[at] = rest
        self._next = (self._next + len(rest)) % MOST_POSITIONS

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """`[count, S]`, with replacement; there must be one."""
        return self._positions[rng.integers(len(self._positions), size=count)]

    def state(self) -> State:
        """All that `restore` needs."""
        return {"positions": self._positions.copy(), "next": np.array(self._next)}

    def restore(self, state: State) -> None:
        """Take up where `state` was taken; an empty one is of a run made before there was any.

        Raises:
            UserError: it is none of ours.
        """
        if not state:
            return
        positions, following = state["positions"], int(state["next"])
        if positions.dtype != np.uint8 or positions.ndim != 2 or not 0 <= following < MOST_POSITIONS >= len(positions):
            raise UserError(f"stored starts must be up to {MOST_POSITIONS:,} rows of bytes. Take another checkpoint.")
        self._positions, self._next = positions.copy(), following
