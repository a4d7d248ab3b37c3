"""A board game as a user would write it on numzero's base: take 1 to 3 from a heap of 7; who takes the last wins."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import kernel
from numzero.games.base import GameSpec
from numzero.games.boards.base import GOES_ON, Board, Rules

SIZE = 7


class Heap(Board):
    """One cell holds what has been taken."""

    largest_cell = SIZE

    def __init__(self, batch_size: int) -> None:
        spec = GameSpec(
            name="heap",
            num_actions=3,
            observation_shape=(SIZE + 1, 1, 1),
            observation_dtype="uint8",
            num_players=2,
            max_steps=SIZE,
            action_names=("one", "two", "three"),
            observation_layout="How many have been taken, one-hot.",
            legal_rule="No more than are left.",
        )
        super().__init__(spec, batch_size, RULES, ())

    def observe(self, planes: NDArray[Any]) -> None:
        planes[:, :, 0] = np.arange(SIZE + 1) == self.board

    def render(self, row: int) -> str:
        return "o" * (SIZE - int(self.board[row, 0]))


@kernel
def _mark_legal(cells: Any, player: int, settings: Any, legal: Any) -> None:
    for action in range(3):
        legal[action] = cells[0] + action + 1 <= SIZE


@kernel
def _play(cells: Any, player: int, action: int, settings: Any) -> int:
    cells[0] += action + 1
    return 1 if cells[0] == SIZE else GOES_ON


RULES = Rules("heap", _mark_legal, _play)
