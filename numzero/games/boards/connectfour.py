"""Connect Four on a board of any size.

Knows the rules, the mirror symmetry, and who solves it; knows nothing of search, networks or gymnasium.
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
    drawn,
    full_name,
    require_whole,
    symmetries_of_cells,
)
from numzero.games.boards.connectfour_solver import LENGTH, Solver
from numzero.games.boards.gomoku import longest_row
from numzero.games.boards.layout import BoardPage, Layout

__all__ = ["ConnectFour"]

LARGEST_SIZE = 16


class ConnectFour(Board):
    """A batch of boards; see `Board` for observations of three planes.

    Stones fall to the lowest empty cell of a column. The first to have `length` or more in a row, a column or a
    diagonal wins; a full board is a draw. Action a is column a from the left; a person writes 1 for the first.

    Args:
      batch_size: at least 1.
      rows: 2 to 16.
      columns: 2 to 16.
      length: stones in a row that win, 2 to the larger side.

    Raises:
      UserError: an argument is out of range.
    """

    def __init__(self, batch_size: int, rows: int = 6, columns: int = 7, length: int = 4) -> None:
        require_whole("connectfour", 2, LARGEST_SIZE, rows=rows, columns=columns)
        require_whole("connectfour", 2, max(rows, columns), length=length)
        self._arguments = {"rows": rows, "columns": columns, "length": length}
        symmetries = _symmetries(rows, columns)
        super().__init__(
            _spec(rows, columns, length), batch_size, _RULES, (rows, columns, length), symmetries=symmetries
        )
        self._solver: Solver | None = None

    def render(self, row: int) -> str:
        """See `Game`: columns above which nothing more falls have no name."""
        cells = self.cells(row)
        names = self.spec.action_names
        open_names = [name if cells[0, i] == EMPTY else " " * len(name) for i, name in enumerate(names)]
        return drawn(cells, names, [""] * len(cells)) + "\n" + " " + " ".join(open_names)

    def page(self) -> BoardPage:
        """See `HasBoard`."""
        rows, columns = self._shape
        layout = Layout(
            title="Connect Four",
            cells="columns",
            rows=rows,
            columns=columns,
            places=tuple((column,) for column in range(columns)),
            column_names=self.spec.action_names,
            players=("Red", "Yellow"),
            colours=("red", "yellow"),
        )
        return BoardPage(layout, Path(__file__).with_name("gomoku.mjs"), self._arguments | {"falls": True})

    def optimal_actions(self) -> NDArray[np.bool_]:
        """See `KnowsBestPlay`: win, draw or loss, however late; with few stones on a large board it takes minutes.

        Raises:
          UserError: lines that win are not of four, or the board is too large; see `Solver`.
        """
        values = np.where(self.legal(), self._outcomes(), -2)
        return np.asarray(self.legal() & (values == values.max(axis=1, keepdims=True)))

    def _outcomes(self) -> NDArray[np.int8]:
        """`[B, A]` what each move is worth; see `Solver`."""
        rows, columns, length = (int(each) for each in self.settings)
        if length != LENGTH:
            raise UserError(
                f"exact play of connectfour is known for {LENGTH} in a row; got {length}. Play mcts:1000 instead.",
                arguments=("opponent",),
            )
        if self._solver is None:
            self._solver = Solver(rows, columns)
        values = np.full((self.batch_size, columns), -1, np.int8)
        running = self.running()
        values[running] = self._solver.outcomes(self.board[running], self.to_play()[running])
        return values


def _spec(rows: int, columns: int, length: int) -> GameSpec:
    defaults = {"rows": 6, "columns": 7, "length": 4}
    return GameSpec(
        name=full_name("connectfour", defaults, rows=rows, columns=columns, length=length),
        num_actions=columns,
        observation_shape=(3, rows, columns),
        observation_dtype="uint8",
        num_players=2,
        max_steps=rows * columns,
        action_names=tuple(str(column + 1) for column in range(columns)),
        observation_layout=f"Three planes of {rows} x {columns}, rows from the top, cells from the left, each cell 0 "
        "or 1: the stones of the player to move, the opponent's stones, the empty cells.",
        legal_rule="Every column whose top cell is empty; action a is column a, counted from 0 at the left.",
    )


@functools.cache
def _symmetries(rows: int, columns: int) -> Symmetries:
    columns_mirrored = np.stack([np.arange(columns), np.arange(columns)[::-1]])
    return symmetries_of_cells(cell_symmetries(rows, columns, "mirror"), 3, columns_mirrored)


@search_kernel
def _mark_legal(cells: NDArray[np.int8], player: int, settings: NDArray[np.int64], legal: NDArray[np.bool_]) -> None:
    """Every column whose top cell is empty."""
    for column in range(len(legal)):
        legal[column] = cells[column] == EMPTY


@search_kernel
def _play(cells: NDArray[np.int8], player: int, action: int, settings: NDArray[np.int64]) -> int:
    """Let a stone fall; settings: rows, columns, and how many in a row win."""
    rows, columns, length = settings[0], settings[1], settings[2]
    cell = (rows - 1) * columns + action
    while cells[cell] != EMPTY:
        cell -= columns
    cells[cell] = player + 1
    if longest_row(cells, cell, rows, columns) >= length:
        return 1
    for column in range(columns):
        if cells[column] == EMPTY:
            return GOES_ON
    return 0


_RULES = Rules("connectfour", _mark_legal, _play)
