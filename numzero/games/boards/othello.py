"""Othello on 8 x 8, 6 x 6 or another even board.

Knows the rules and symmetries; knows nothing of search, networks or gymnasium.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import search_kernel
from numzero.errors import UserError
from numzero.games.base import GameSpec, Symmetries
from numzero.games.boards.base import (
    EMPTY,
    GOES_ON,
    Board,
    Rules,
    cell_symmetries,
    full_name,
    letters,
    require_whole,
    symmetries_of_cells,
)
from numzero.games.boards.layout import BoardPage, Layout, cell_places

__all__ = ["Othello"]

LARGEST_SIZE = 16
_WAYS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


class Othello(Board):
    """A batch of boards; see `Board` for observations of three planes.

    A disc is set so that it encloses discs of the opponent's between itself and another of its own, in any of eight
    directions; all that are enclosed are turned over. Who can enclose none passes, which is a move of its own, the last
    action; if neither can, the game is over, and more discs win. Black (X) moves first, its discs on d5 and e4 of the
    large board. Action a is cell a, row by row from the top left; a person writes d3, columns from a and rows from 1 at
    the top, or "pass".

    Args:
      batch_size: at least 1.
      size: rows and columns, an even number from 4 to 16.

    Raises:
      UserError: the size is out of range.
    """

    def __init__(self, batch_size: int, size: int = 8) -> None:
        require_whole("othello", 4, LARGEST_SIZE, size=size)
        if size % 2:
            raise UserError(f"size of othello must be even; got {size}. Write othello(size={size + 1}).")
        half = size // 2
        start = np.zeros((size, size), np.int8)
        start[half - 1 : half + 1, half - 1 : half + 1] = [[2, 1], [1, 2]]
        made = _spec(size), batch_size, _RULES, _settings(size)
        super().__init__(*made, start=start.ravel(), symmetries=_symmetries(size))

    def page(self) -> BoardPage:
        """See `HasBoard`."""
        size = self._shape[0]
        layout = Layout(
            title="Othello",
            surface="felt",
            rows=size,
            columns=size,
            places=cell_places(size**2, self.spec.num_actions),
            row_names=tuple(map(str, range(1, size + 1))),
            column_names=tuple(letters(size)),
            players=("Black", "White"),
        )
        return BoardPage(layout, Path(__file__).with_suffix(".mjs"), {"size": size})


def _spec(size: int) -> GameSpec:
    return GameSpec(
        name=full_name("othello", {"size": 8}, size=size),
        num_actions=size**2 + 1,
        observation_shape=(3, size, size),
        observation_dtype="uint8",
        num_players=2,
        max_steps=2 * (size**2 - 4),
        action_names=(*(f"{letter}{row + 1}" for row in range(size) for letter in letters(size)), "pass"),
        observation_layout=f"Three planes of {size} x {size}, rows from the top, cells from the left, each cell 0 or "
        "1: the discs of the player to move, the opponent's discs, the empty cells.",
        legal_rule="Every empty cell from which discs of the opponent's are enclosed; action a is cell a, counted from "
        "0 row by row from the top left. The last action, pass, where there is no such cell.",
    )


@functools.cache
def _settings(size: int) -> tuple[int, ...]:
    """The size, and from each cell the steps to the edge in each direction."""
    steps = [
        min(
            size - 1 if way == 0 else at if way < 0 else size - 1 - at
            for at, way in ((cell // size, down), (cell % size, right))
        )
        for cell in range(size**2)
        for down, right in _WAYS
    ]
    return (size, *steps)


@functools.cache
def _symmetries(size: int) -> Symmetries:
    cells = cell_symmetries(size, size, "all")
    return symmetries_of_cells(cells, 3, np.pad(cells, ((0, 0), (0, 1)), constant_values=size**2))


@search_kernel
def _mark_legal(cells: NDArray[np.int8], player: int, settings: NDArray[np.int64], legal: NDArray[np.bool_]) -> None:
    """Cells that enclose something, or else the pass behind them."""
    any_encloses = False
    for cell in range(len(cells)):
        legal[cell] = cells[cell] == EMPTY and _encloses(cells, player, cell, settings)
        any_encloses |= legal[cell]
    legal[len(cells)] = not any_encloses


@search_kernel
def _play(cells: NDArray[np.int8], player: int, action: int, settings: NDArray[np.int64]) -> int:
    """Set a disc and turn over what it encloses, or pass; settings as `_settings` says."""
    if action == len(cells):
        return GOES_ON
    for way in range(8):
        step = _WAYS[way][0] * settings[0] + _WAYS[way][1]
        for i in range(1, 1 + _enclosed(cells, player, action, step, settings[1 + 8 * action + way])):
            cells[action + i * step] = player + 1
    cells[action] = player + 1
    if _can_move(cells, 1 - player, settings) or _can_move(cells, player, settings):
        return GOES_ON
    ahead = 0
    for cell in range(len(cells)):
        if cells[cell] != EMPTY:
            ahead += 1 if cells[cell] == player + 1 else -1
    return 1 if ahead > 0 else -1 if ahead < 0 else 0


@search_kernel
def _can_move(cells: NDArray[np.int8], player: int, settings: NDArray[np.int64]) -> bool:
    """Whether there is a cell that encloses something."""
    for cell in range(len(cells)):  # noqa: SIM110  (a loop is what compiles)
        if cells[cell] == EMPTY and _encloses(cells, player, cell, settings):
            return True
    return False


@search_kernel
def _encloses(cells: NDArray[np.int8], player: int, cell: int, settings: NDArray[np.int64]) -> bool:
    """Whether a disc on an empty cell would enclose something."""
    for way in range(8):
        step = _WAYS[way][0] * settings[0] + _WAYS[way][1]
        if _enclosed(cells, player, cell, step, settings[1 + 8 * cell + way]) > 0:
            return True
    return False


@search_kernel
def _enclosed(cells: NDArray[np.int8], player: int, cell: int, step: int, num_steps: int) -> int:
    """How many discs would be turned over in the direction in which `num_steps` cells lie `step` apart."""
    count = 0
    while count < num_steps and cells[cell + (count + 1) * step] == 2 - player:
        count += 1
    return count if count < num_steps and cells[cell + (count + 1) * step] == player + 1 else 0


_RULES = Rules("othello", _mark_legal, _play)
