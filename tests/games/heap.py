"""A board game as a user would write it on numzero's base: take 1 to 3 from a heap of 7; who takes the last wins."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import kernel
from numzero.games.base import STAY, GameSpec
from numzero.games.boards.base import Board

SIZE = 7


class Heap(Board):
    """One cell holds what has been taken."""

    largest_cell = SIZE

    def __init__(self, batch_size: int) -> None:
        spec = GameSpec(
            name="heap",
            num_actions=3,
            observation_shape=(SIZE + 1,),
            observation_dtype="uint8",
            num_players=2,
            max_steps=SIZE,
            action_names=("one", "two", "three"),
            observation_layout="How many have been taken, one-hot.",
            legal_rule="No more than are left.",
        )
        super().__init__(spec, batch_size, 1)

    def move(self, action: NDArray[np.int32], reward: NDArray[np.float32], terminated: NDArray[np.bool_]) -> bool:
        return bool(_move(self.board, self._to_play, self._running, action, reward, terminated))

    def observe(self, observation: NDArray[Any]) -> None:
        observation[:] = np.arange(SIZE + 1) == self.board

    def mark_legal(self, legal: NDArray[np.bool_]) -> None:
        legal[:] = (self.board + np.arange(1, 4) <= SIZE) & self._running[:, None]

    def render(self, row: int) -> str:
        return "o" * (SIZE - int(self.board[row, 0]))


@kernel
def _move(board: Any, to_play: Any, running: Any, action: Any, reward: Any, terminated: Any) -> bool:
    for b in range(len(board)):
        if action[b] != STAY and not (0 <= action[b] < 3 and running[b] and board[b, 0] + action[b] + 1 <= SIZE):
            return False
    for b in range(len(board)):
        if action[b] != STAY:
            board[b, 0] += action[b] + 1
            to_play[b] = 1 - to_play[b]
            terminated[b] = board[b, 0] == SIZE
            reward[b] = 1.0 if terminated[b] else 0.0
            running[b] = not terminated[b]
    return True
