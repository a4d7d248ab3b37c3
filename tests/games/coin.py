"""The least game in which a model that knows nothing of chance must fail: it has to look before it chooses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from numzero.games import STAY, GameSpec, StepResult
from numzero.games.base import require_legal, require_mask

SAFE = 0.75
"""What leaving earns. Naming a coin unseen earns 0.5 in the mean, naming one that is shown earns 1."""
START, OVER = 0, 3
"""Positions 1 and 2 show heads and tails."""


class Coin:
    """Leave with 0.75, or have a coin tossed, see it, and name it for 1. The toss is an outcome; other steps have 0.

    To a model in which an action leads to one position, the coin that is named was not seen: 0.5 in the mean.
    """

    symmetries = None
    num_outcomes = 2

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.spec = GameSpec(
            name=f"tests.games.coin:{type(self).__name__}",
            num_actions=2,
            observation_shape=(4,),
            observation_dtype="float32",
            num_players=1,
            max_steps=2,
            action_names=("leave or heads", "toss or tails"),
            observation_layout="One-hot: the start, heads, tails, the end.",
            legal_rule="Both.",
            num_outcomes=self.num_outcomes,
        )
        self.position = np.full(batch_size, OVER)
        self.rngs = [np.random.default_rng(0)] * batch_size

    def reset(self, which: NDArray[np.bool_], rng: np.random.Generator) -> None:
        """Back to the start; each copy has a generator of its own."""
        require_mask(which, self.batch_size)
        self.position[which] = START
        for row in np.flatnonzero(which):
            self.rngs[row] = np.random.default_rng(rng.integers(2**31))

    def observation(self) -> NDArray[np.float32]:
        """`[B, 4]`."""
        return np.eye(4, dtype=np.float32)[self.position]

    def legal(self) -> NDArray[np.bool_]:
        """`[B, 2]`."""
        return np.repeat(self.position[:, None] != OVER, 2, axis=1)

    def to_play(self) -> NDArray[np.int8]:
        """`[B]` zeros."""
        return np.zeros(self.batch_size, np.int8)

    def step(self, action: NDArray[np.int32]) -> StepResult:
        """Leave or toss; then heads or tails."""
        require_legal(action, self.legal(), self.spec.name)
        reward, over = np.zeros(self.batch_size, np.float32), np.zeros(self.batch_size, np.bool_)
        outcome = np.zeros(self.batch_size, np.int32)
        for row in np.flatnonzero(action != STAY):
            tosses = self.position[row] == START and action[row] == 1
            if tosses:
                outcome[row] = self.toss(row)
                self.position[row] = 1 + outcome[row]
                continue
            reward[row] = SAFE if self.position[row] == START else float(self.position[row] == 1 + action[row])
            self.position[row], over[row] = OVER, True
        return StepResult(reward, over, np.zeros(self.batch_size, np.bool_), outcome if self.num_outcomes else None)

    def toss(self, row: int) -> int:
        """0 or 1, each as likely."""
        return int(self.rngs[row].integers(2))

    def render(self, row: int) -> str:
        """Where it is."""
        return ("start", "heads", "tails", "over")[self.position[row]]

    def close(self) -> None:
        """Nothing to let go of."""


class SilentCoin(Coin):
    """The same, and only what is seen tells of the toss."""

    num_outcomes = 0


class FixedCoin(SilentCoin):
    """Always heads."""

    def toss(self, row: int) -> int:
        """0."""
        return 0
