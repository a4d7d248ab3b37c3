"""A game in which nothing happens: for whoever needs a game's shapes and must not play it.

Knows a spec; an environment of somebody else may hang or crash, and then takes its process along.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero.games.actions import moved
from numzero.games.base import GameSpec, StepResult

__all__ = ["StillGame"]


class StillGame:
    """Shows zeros and ones of the right shapes for ever; see `Game`. Turns pass between two, and no episode ends.

    Args:
      spec: of the game it stands for.
      batch_size: copies.
    """

    symmetries: None = None

    def __init__(self, spec: GameSpec, batch_size: int) -> None:
        self.spec = spec
        self.batch_size = batch_size
        self._observation = np.zeros((batch_size, *spec.observation_shape), spec.observation_dtype)
        self._to_play = np.zeros(batch_size, np.int8)

    def reset(self, which: NDArray[np.bool_], rng: np.random.Generator) -> None:
        """Player 0 begins; nothing else is to be started again."""
        self._to_play[which] = 0

    def observation(self) -> NDArray[np.uint8] | NDArray[np.float32]:
        """`[B, *O]` zeros."""
        return self._observation

    def legal(self) -> NDArray[np.bool_]:
        """`[B, A]` everything."""
        return np.ones((self.batch_size, self.spec.num_legal), np.bool_)

    def to_play(self) -> NDArray[np.int8]:
        """`[B]` the one, then the other, of two players."""
        return self._to_play

    def step(self, action: NDArray[Any]) -> StepResult:
        """Brings nothing, but the other player's turn."""
        if self.spec.num_players == 2:
            self._to_play[moved(action)] ^= 1
        nothing = np.zeros(self.batch_size, np.bool_)
        outcome = np.zeros(self.batch_size, np.int32) if self.spec.num_outcomes else None
        return StepResult(np.zeros(self.batch_size, np.float32), nothing, nothing, outcome)

    def render(self, row: int) -> str:
        """There is nothing to see."""
        return ""

    def close(self) -> None:
        """Nothing to let go of."""
