"""Board games whose turn does not simply alternate, as a user would write them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from numzero.games.base import STAY, GameSpec, StepResult, require_legal, require_mask


class Twice:
    """Player 1 chooses twice, player 2 once, to no effect; player 1 wins if and only if it chose 0, then 1."""

    symmetries = None

    def __init__(self, batch_size: int, *, turns: Literal["alternate", "vary"] = "vary") -> None:
        self.batch_size = batch_size
        self.spec = GameSpec(
            name="tests.games.turns:Twice",
            num_actions=2,
            observation_shape=(5,),
            observation_dtype="float32",
            num_players=2,
            max_steps=3,
            action_names=("a", "b"),
            observation_layout="Two choices of player 1, one-hot, then the player to move.",
            legal_rule="Both, always.",
            turns=turns,
        )
        self.moves = np.zeros((batch_size, 3), np.int64)
        self.count = np.full(batch_size, 3)
        self.running = np.zeros(batch_size, np.bool_)

    def reset(self, which: NDArray[np.bool_], rng: np.random.Generator) -> None:
        require_mask(which, self.batch_size)
        self.moves[which] = 0
        self.count[which] = 0
        self.running[which] = True

    def observation(self) -> NDArray[np.float32]:
        shown = np.zeros((self.batch_size, 5), np.float32)
        for row in range(self.batch_size):
            for t in range(min(2, self.count[row])):
                shown[row, 2 * t + self.moves[row, t]] = 1.0
            shown[row, 4] = self.to_play()[row]
        return shown

    def legal(self) -> NDArray[np.bool_]:
        return np.repeat(self.running[:, None], 2, axis=1)

    def to_play(self) -> NDArray[np.int8]:
        return (self.count >= 2).astype(np.int8)

    def step(self, action: NDArray[np.int32]) -> StepResult:
        require_legal(action, self.legal(), self.spec.name)
        result = StepResult(*(np.zeros(self.batch_size, kind) for kind in (np.float32, np.bool_, np.bool_)))
        for row in np.flatnonzero(action != STAY):
            self.moves[row, self.count[row]] = action[row]
            self.count[row] += 1
            if self.count[row] == 3:
                result.reward[row] = -1.0 if tuple(self.moves[row, :2]) == (0, 1) else 1.0  # of player 2, who moved
                result.terminated[row] = True
                self.running[row] = False
        return result

    def render(self, row: int) -> str:
        return " ".join(str(move) for move in self.moves[row, : self.count[row]])

    def close(self) -> Any:
        """Nothing to let go of."""
