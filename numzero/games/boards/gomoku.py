"""Gomoku: stones in a row on a board of any size; five on 15 x 15, three on 3 x 3 and whatever lies between (m,n,k).

Knows the rules and symmetries; knows nothing of search, networks or gymnasium.
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
from numzero.games.boards.layout import BoardPage, Layout, cell_places

__all__ = ["RULES", "Gomoku", "longest_row"]

LARGEST_SIZE = 19


class Gomoku(Board):
    """A batch of boards; see `Board` for observations of three planes.

    Players set a stone on any empty cell in turn. The first to have `length` or more in a row, a column or a diagonal
    wins (free-style: no move is forbidden, six in a row win too); a full board is a draw. Action a is cell a, row by
    row from the top left; a person writes h8, columns from a and rows from 1 at the bottom.

    Args:
      batch_size: at least 1.
      size: rows and columns, 3 to 19.
      length: stones in a row that win, 2 to the larger side.
      rows: other than `size`, if given.
      columns: other than `size`, if given.

    Raises:
      UserError: an argument is out of range.
    """

    def __init__(
        self, batch_size: int, size: int = 9, length: int = 5, rows: int | None = None, columns: int | None = None
    ) -> None:
        rows, columns = size if rows is None else rows, size if columns is None else columns
        require_whole("gomoku", 3, LARGEST_SIZE, size=size, rows=rows, columns=columns)
        require_whole("gomoku", 2, max(rows, columns), length=length)
        self._arguments = {"rows": rows, "columns": columns, "length": length}
        symmetries = _symmetries(rows, columns)
        super().__init__(
            _spec(rows, columns, length), batch_size, RULES, (rows, columns, length), symmetries=symmetries
        )

    def render(self, row: int) -> str:
        """See `Game`."""
        return drawn(self.cells(row), letters(self._shape[1]), range(self._shape[0], 0, -1))

    def page(self) -> BoardPage:
        """See `HasBoard`."""
        rows, columns = self._shape
        layout = Layout(
            title="Gomoku",
            cells="points",
            surface="wood",
            rows=rows,
            columns=columns,
            places=cell_places(rows * columns, self.spec.num_actions),
            row_names=tuple(map(str, range(rows, 0, -1))),
            column_names=tuple(letters(columns)),
            players=("Black", "White"),
        )
        return BoardPage(layout, Path(__file__).with_suffix(".mjs"), self._arguments)


def _spec(rows: int, columns: int, length: int) -> GameSpec:
    sides = {"size": rows} if rows == columns else {"rows": rows, "columns": columns}
    defaults = {"size": 9, "rows": None, "columns": None, "length": 5}
    return GameSpec(
        name=full_name("gomoku", defaults, **sides, length=length),
        num_actions=rows * columns,
        observation_shape=(3, rows, columns),
        observation_dtype="uint8",
        num_players=2,
        max_steps=rows * columns,
        action_names=tuple(f"{letter}{row}" for row in range(rows, 0, -1) for letter in letters(columns)),
        observation_layout=f"Three planes of {rows} x {columns}, rows from the top, cells from the left, each cell 0 "
        "or 1: the stones of the player to move, the opponent's stones, the empty cells.",
        legal_rule="Every empty cell; action a is cell a, counted from 0 row by row from the top left.",
    )


@functools.cache
def _symmetries(rows: int, columns: int) -> Symmetries:
    cells = cell_symmetries(rows, columns, "all")
    return symmetries_of_cells(cells, 3, cells)


@search_kernel
def _mark_legal(cells: NDArray[np.int8], player: int, settings: NDArray[np.int64], legal: NDArray[np.bool_]) -> None:
    """Every empty cell."""
    for cell in range(len(cells)):
        legal[cell] = cells[cell] == EMPTY


@search_kernel
def _play(cells: NDArray[np.int8], player: int, action: int, settings: NDArray[np.int64]) -> int:
    """Set a stone; settings: rows, columns, and how many in a row win."""
    cells[action] = player + 1
    if longest_row(cells, action, settings[0], settings[1]) >= settings[2]:
        return 1
    for cell in range(len(cells)):
        if cells[cell] == EMPTY:
            return GOES_ON
    return 0


@search_kernel
def longest_row(cells: NDArray[np.int8], cell: int, rows: int, columns: int) -> int:
    """How many stones of one colour lie in the longest row, column or diagonal through a stone."""
    longest = 0
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        count = 1 + _run(cells, cell, down, right, rows, columns) + _run(cells, cell, -down, -right, rows, columns)
        longest = max(longest, count)
    return longest


@search_kernel
def _run(cells: NDArray[np.int8], cell: int, down: int, right: int, rows: int, columns: int) -> int:
    """How many stones follow a stone of their colour in one direction."""
    row, column, count = cell // columns + down, cell % columns + right, 0
    while 0 <= row < rows and 0 <= column < columns and cells[row * columns + column] == cells[cell]:
        row, column, count = row + down, column + right, count + 1
    return count


RULES = Rules("gomoku", _mark_legal, _play)
"""Stones that are set anywhere; tic-tac-toe's too."""
