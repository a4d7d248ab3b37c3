"""Breakthrough on 8 x 8, 6 x 6 or another board.

Knows the rules and the mirror symmetry; knows nothing of search, networks or gymnasium.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import search_kernel
from numzero.games.base import GameSpec, Symmetries
from numzero.games.boards.base import (
    EMPTY,
    GOES_ON,
    Board,
    Rules,
    cell_symmetries,
    drawn,
    full_name,
    letters,
    require_whole,
    symmetries_of_cells,
)
from numzero.games.boards.layout import BoardPage, Layout

__all__ = ["Breakthrough"]

LARGEST_SIZE = 12


class Breakthrough(Board):
    """A batch of boards; see `Board` for observations of four planes.

    Each player begins with two full rows. A piece goes one row forward, straight on to an empty cell, or diagonally to
    an empty cell or one of the opponent's, which it captures. Who reaches the last row, or captures all, wins; there is
    always a move. The first player (X) begins at the bottom and moves up. Actions are the moves from each cell, row by
    row from the top left, to the left, straight on and to the right: the first player's, then the other's. A person
    writes a2a3, columns from a and rows from 1 at the bottom.

    Args:
      batch_size: at least 1.
      size: rows and columns, 5 to 12.
      rows: other than `size`, if given.
      columns: other than `size`, if given.

    Raises:
      UserError: an argument is out of range.
    """

    def __init__(self, batch_size: int, size: int = 8, rows: int | None = None, columns: int | None = None) -> None:
        rows, columns = size if rows is None else rows, size if columns is None else columns
        require_whole("breakthrough", 5, LARGEST_SIZE, size=size, rows=rows, columns=columns)
        start = np.repeat(np.array([2, 2, *[EMPTY] * (rows - 4), 1, 1], np.int8), columns)
        made = _spec(rows, columns), batch_size, _RULES, (columns, *np.ravel(_moves(rows, columns)).tolist())
        super().__init__(*made, start=start, symmetries=_symmetries(rows, columns))

    def render(self, row: int) -> str:
        """See `Game`."""
        return drawn(self.cells(row), letters(self._shape[1]), range(self._shape[0], 0, -1))

    def page(self) -> BoardPage:
        """See `HasBoard`."""
        rows, columns = self._shape
        layout = Layout(
            title="Breakthrough",
            surface="chequered",
            rows=rows,
            columns=columns,
            places=tuple(_moves(rows, columns)),
            row_names=tuple(map(str, range(rows, 0, -1))),
            column_names=tuple(letters(columns)),
            players=("White", "Black"),
            pieces="pawns",
            colours=("white", "black"),
        )
        return BoardPage(layout, Path(__file__).with_suffix(".mjs"), {"rows": rows, "columns": columns})


@functools.cache
def _moves(rows: int, columns: int) -> list[tuple[int, int]]:
    """From which cell to which, of each action: the first half moves up."""
    return [
        (row * columns + column, (row + down) * columns + column + right)
        for down in (-1, 1)
        for row in range(rows)
        for column in range(columns)
        for right in (-1, 0, 1)
        if 0 <= row + down < rows and 0 <= column + right < columns
    ]


def _spec(rows: int, columns: int) -> GameSpec:
    sides = {"size": rows} if rows == columns else {"rows": rows, "columns": columns}
    names = [f"{letter}{row}" for row in range(rows, 0, -1) for letter in letters(columns)]
    return GameSpec(
        name=full_name("breakthrough", {"size": 8, "rows": None, "columns": None}, **sides),
        num_actions=len(_moves(rows, columns)),
        observation_shape=(4, rows, columns),
        observation_dtype="uint8",
        num_players=2,
        max_steps=4 * columns * (rows - 2),  # each move brings one of the pieces a row on
        action_names=tuple(names[cell] + names[to] for cell, to in _moves(rows, columns)),
        observation_layout=f"Four planes of {rows} x {columns}, rows from the top, cells from the left, each cell 0 or "
        "1: the pieces of the player to move, the opponent's pieces, the empty cells, and 1 everywhere if the player "
        "to move is the one who moved first and goes up.",
        legal_rule="A piece of the player to move goes one row forward: straight on or diagonally to an empty cell, or "
        "diagonally to a piece of the opponent's. The first half of the actions goes up, for the player who moved "
        "first, the others down; in each half they are ordered by the cell that they begin on, row by row from the top "
        "left, and then from left to right.",
    )


@functools.cache
def _symmetries(rows: int, columns: int) -> Symmetries:
    cells, moves = cell_symmetries(rows, columns, "mirror"), _moves(rows, columns)
    actions = [[moves.index((int(image[cell]), int(image[to]))) for cell, to in moves] for image in cells]
    return symmetries_of_cells(cells, 4, np.array(actions))


@search_kernel
def _mark_legal(cells: NDArray[np.int8], player: int, settings: NDArray[np.int64], legal: NDArray[np.bool_]) -> None:
    """Moves of the player's half that begin on a piece of its own and end as the rules say."""
    half = len(legal) // 2
    for action in range(len(legal)):
        cell, to = settings[1 + 2 * action], settings[2 + 2 * action]
        legal[action] = cells[cell] == player + 1 and (action >= half) == (player == 1) and cells[to] != player + 1
        if legal[action] and cells[to] != EMPTY:
            legal[action] = (to - cell) % settings[0] != 0  # nothing is captured straight on


@search_kernel
def _play(cells: NDArray[np.int8], player: int, action: int, settings: NDArray[np.int64]) -> int:
    """Move a piece; settings: columns, and the two cells of each move."""
    columns, cell, to = settings[0], settings[1 + 2 * action], settings[2 + 2 * action]
    cells[cell] = EMPTY
    cells[to] = player + 1
    if to // columns == (0 if player == 0 else len(cells) // columns - 1):
        return 1
    for other in range(len(cells)):
        if cells[other] == 2 - player:
            return GOES_ON
    return 1


_RULES = Rules("breakthrough", _mark_legal, _play)
