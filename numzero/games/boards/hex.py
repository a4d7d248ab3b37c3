"""Hex on a rhombus of any size.

Knows the rules, the half turn, and who solves it; knows nothing of search, networks or gymnasium.
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
    letters,
    require_whole,
    symmetries_of_cells,
)
from numzero.games.boards.hex_solver import HexSolver
from numzero.games.boards.layout import BoardPage, Layout, cell_places

__all__ = ["Hex"]

LARGEST_SIZE = 19


class Hex(Board):
    """A batch of boards; see `Board` for observations of four planes.

    Players set a stone on any empty cell in turn. Whoever moves first wins by a chain from the top row to the bottom
    row, the other by one from the left column to the right column; one of them always does. A cell has six neighbours:
    left and right, above and above to the right, below and below to the left. Action a is cell a, row by row from the
    top left; a person writes d4, columns from a and rows from 1 at the top.

    With `swap` the second player's first move may be the last action, "swap": the stone on the board becomes its own,
    on the cell that row and column exchanged give, so that it is worth to the one what it was worth to the other.

    Args:
      batch_size: at least 1.
      size: rows and columns, 2 to 19.
      swap: whether there is that move.

    Raises:
      UserError: an argument is out of range.
    """

    def __init__(self, batch_size: int, size: int = 7, swap: bool = False) -> None:
        require_whole("hex", 2, LARGEST_SIZE, size=size)
        if not isinstance(swap, bool):
            raise UserError(f"swap of hex must be true or false; got {swap!r}. Write hex(swap=true).")
        settings = (size, *[0] * size**2)
        super().__init__(_spec(size, swap), batch_size, _RULES, settings, symmetries=_symmetries(size, swap))
        self._solver: HexSolver | None = None

    def render(self, row: int) -> str:
        """See `Game`: X goes from the top to the bottom, O from the left to the right."""
        return drawn(self.cells(row), letters(self._shape[1]), range(1, self._shape[0] + 1), slant=1)

    def optimal_actions(self) -> NDArray[np.bool_]:
        """See `KnowsBestPlay`: those that win; where none does, all that are legal.

        Raises:
          UserError: the board is too large; see `HexSolver`.
        """
        legal = self.legal()
        wins = legal & self._wins()
        return np.asarray(np.where(wins.any(axis=1, keepdims=True), wins, legal))

    def _wins(self) -> NDArray[np.bool_]:
        """`[B, A]` which moves win; of no use where they are not legal."""
        if self._solver is None:
            self._solver = HexSolver(self._shape[0])
        num_cells, running = self._num_cells, self.running()
        wins = np.zeros((self.batch_size, self.spec.num_actions), np.bool_)
        wins[running, :num_cells] = self._solver.wins(self.board[running], self.to_play()[running])
        if self.spec.num_actions > num_cells:
            stones = (self.board != EMPTY).sum(axis=1)
            # To take over a stone is worth to the second player what it was worth to the first, and so one of the two
            # always wins: the swap, or a cell. Whoever sets the first stone then loses.
            wins[:, num_cells] = ~wins[:, :num_cells].any(axis=1)
            wins[stones == 0] = False
        return wins

    def page(self) -> BoardPage:
        """See `HasBoard`."""
        size = self._shape[0]
        layout = Layout(
            title="Hex",
            cells="hexes",
            rows=size,
            columns=size,
            places=cell_places(size**2, self.spec.num_actions),
            row_names=tuple(map(str, range(1, size + 1))),
            column_names=tuple(letters(size)),
            players=("Red", "Blue"),
            colours=("red", "blue"),
        )
        arguments = {"size": size, "swap": self.spec.num_actions > size**2}
        return BoardPage(layout, Path(__file__).with_suffix(".mjs"), arguments)


def _spec(size: int, swap: bool) -> GameSpec:
    cells = tuple(f"{letter}{row + 1}" for row in range(size) for letter in letters(size))
    return GameSpec(
        name=full_name("hex", {"size": 7, "swap": False}, size=size, swap=swap),
        num_actions=size**2 + swap,
        observation_shape=(4, size, size),
        observation_dtype="uint8",
        num_players=2,
        max_steps=size**2 + swap,
        action_names=(*cells, "swap") if swap else cells,
        observation_layout=f"Four planes of {size} x {size}, rows from the top, cells from the left, each cell 0 or 1: "
        "the stones of the player to move, the opponent's stones, the empty cells, and 1 everywhere if the player to "
        "move is the one who moved first and connects the top with the bottom.",
        legal_rule="Every empty cell; action a is cell a, counted from 0 row by row from the top left."
        + (" The last action, swap, is legal as the second player's first move." if swap else ""),
    )


@functools.cache
def _symmetries(size: int, swap: bool) -> Symmetries:
    cells = cell_symmetries(size, size, "half turn")
    return symmetries_of_cells(cells, 4, np.pad(cells, ((0, 0), (0, int(swap))), constant_values=size**2))


@search_kernel
def _mark_legal(cells: NDArray[np.int8], player: int, settings: NDArray[np.int64], legal: NDArray[np.bool_]) -> None:
    """Every empty cell; the swap behind them, if there is one, where one stone lies and the second player moves."""
    num_stones = 0
    for cell in range(len(cells)):
        legal[cell] = cells[cell] == EMPTY
        num_stones += cells[cell] != EMPTY
    if len(legal) > len(cells):
        legal[len(cells)] = num_stones == 1 and player == 1


@search_kernel
def _play(cells: NDArray[np.int8], player: int, action: int, settings: NDArray[np.int64]) -> int:
    """Set a stone, or take the one that lies there; settings: the size, and room for all cells."""
    if action == len(cells):
        _swap(cells, settings[0])
        return GOES_ON
    cells[action] = player + 1
    return 1 if _connects(cells, action, player, settings[0], settings[1:]) else GOES_ON


@search_kernel
def _swap(cells: NDArray[np.int8], size: int) -> None:
    """The first player's stone becomes the second's, rows and columns exchanged."""
    for cell in range(len(cells)):
        if cells[cell] == 1:
            cells[cell] = EMPTY
            cells[cell % size * size + cell // size] = 2
            break


@search_kernel
def _connects(cells: NDArray[np.int8], cell: int, player: int, size: int, reached: NDArray[np.int64]) -> bool:
    """Whether the chain through a stone joins its player's two sides: rows for the first player, columns for the other.

    A flood over the chain: a stone that was `reached` `[cells]` is 2 larger until the flood is over.
    """
    stone, count, done, first, last = cells[cell], 1, 0, False, False
    reached[0] = cell
    cells[cell] += 2
    while done < count:
        row, column = reached[done] // size, reached[done] % size
        done += 1
        along = row if player == 0 else column
        first |= along == 0
        last |= along == size - 1
        for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, -1), (-1, 1)):
            r, c = row + down, column + right
            if 0 <= r < size and 0 <= c < size and cells[r * size + c] == stone:
                cells[r * size + c] += 2
                reached[count] = r * size + c
                count += 1
    for i in range(count):
        cells[reached[i]] = stone
    return first and last


_RULES = Rules("hex", _mark_legal, _play)
