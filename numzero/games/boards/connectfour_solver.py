"""What every move of Connect Four is worth under best play, by alpha-beta on boards of bits.

Knows positions as two numbers, and a table of what was found; knows nothing of who plays, nor of the other rules.

A board is a number. Of each column, from the left, it has as many bits as there are rows and one more, which stays 0,
the lowest cell first; `mask` has all stones, `position` those of the player to move. Moves that lose at once are left
out, the others tried in the order of how many winning cells they make (Pons 2015, "Solving Connect 4: how to build a
perfect AI"); every question is a null window, "at least so much?", so that an answer is yes or no. A score is 0 for a
draw, positive where the mover wins and the larger the sooner: the number of stones that the winner has left, and one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import search_kernel
from numzero.errors import UserError
from numzero.games.boards.base import EMPTY, read_only
from numzero.interrupts import heard_during

__all__ = ["LENGTH", "MOST_BITS", "Solver"]

LENGTH = 4
"""Stones in a row that win; lines of other lengths are not known here."""
MOST_BITS = 55
"""Of a board: with 8 for what was found it is an entry of the table, (rows + 1) * columns of them."""
TABLE_SIZE = 4_194_319
"""Entries, a prime number, of 8 bytes each."""

_LOWER, _UPPER = 0, 1
_NO, _YES, _OPEN = 0, 1, 2
_NOUGHT = 64
"""Stands for a bound of 0; no score of a board of `MOST_BITS` bits is further from 0."""


class _Room(NamedTuple):
    """A board's size, and where one search after the other takes place."""

    height: int
    """Bits of a column: rows + 1."""
    num_cells: int
    bottom: int
    """The lowest cell of each column."""
    full: int
    """All cells."""
    columns: NDArray[np.int64]
    """`[A]` the cells of each column, the middle ones first."""
    position: NDArray[np.int64]
    """`[cells]` by the number of stones, of the line that is looked at; so are the next ones."""
    mask: NDArray[np.int64]
    least: NDArray[np.int64]
    """`[cells]` the score that is asked about."""
    num_moves: NDArray[np.int64]
    num_tried: NDArray[np.int64]
    moves: NDArray[np.int64]
    """`[cells, A]` what is tried."""
    worth: NDArray[np.int64]
    """`[cells, A]` of these moves."""
    table: NDArray[np.int64]
    """What was found: key * 256 + twice the bound, with its kind."""


class Solver:
    """Exact play on boards of one size.

    Args:
        rows: of the board.
        columns: of the board; (rows + 1) * columns must be at most MOST_BITS, else a UserError.
        table_size: entries of the table, better a prime number.
    """

    def __init__(self, rows: int, columns: int, table_size: int = TABLE_SIZE) -> None:
        if (rows + 1) * columns > MOST_BITS:
            raise UserError(
                f"exact play of connectfour is known where (rows + 1) * columns is at most {MOST_BITS}; got {rows} "
                f"rows and {columns} columns. Play mcts:1000 instead.",
                arguments=("opponent",),
            )
        self._size = rows, columns, table_size
        self._num_columns = columns
        self._begin()

    def outcomes(self, board: NDArray[np.int8], to_play: NDArray[np.int8]) -> NDArray[np.int8]:
        """`[B, A]` what each move is worth to the mover: 1 wins, 0 draws, -1 loses; of no use where it is not legal.

        Args:
            board: `[B, cells]` of running games.
            to_play: `[B]`.
        """
        values = np.full((len(board), self._num_columns), -1, np.int8)
        for b in range(len(board)):
            self._run(_mark_outcomes, *self._bits(board[b], int(to_play[b])), values[b])
        return values

    def reaches(self, board: NDArray[np.int8], to_play: int, least: int) -> bool:
        """Whether the mover's score is at least so much; board `[cells]` of a running game."""
        return bool(self._run(_reaches, *self._bits(board, to_play), least))

    def score(self, board: NDArray[np.int8], to_play: int) -> int:
        """The mover's score; board `[cells]` of a running game."""
        low, high = -(self._room.num_cells // 2), (self._room.num_cells + 1) // 2
        while low < high:  # at least low, at most high
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.reaches(board, to_play, middle) else (low, middle - 1)
        return low

    def _run(self, kernel: Callable[..., Any], *arguments: Any) -> Any:
        """What a kernel says of a position, however long that takes."""
        return heard_during(partial(kernel, self._room, *arguments), self._begin)

    def _begin(self) -> None:
        """Nothing is known yet."""
        self._room = _room(*self._size)

    def _bits(self, board: NDArray[np.int8], to_play: int) -> tuple[int, int, int]:
        """Position, mask and number of stones."""
        height = self._room.height
        columns, rows = self._num_columns, height - 1
        stones = board[: rows * columns].reshape(rows, columns)[::-1].T  # [columns, rows from below]
        places = np.left_shift(1, np.arange(height * columns).reshape(columns, height)[:, :rows])
        mine, all_stones = int(places[stones == to_play + 1].sum()), int(places[stones != EMPTY].sum())
        return mine, all_stones, int((stones != EMPTY).sum())


def _room(rows: int, columns: int, table_size: int) -> _Room:
    height, cells = rows + 1, rows * columns
    order = sorted(range(columns), key=lambda column: (abs(2 * column - columns + 1), column))
    lines = np.zeros((5, cells), np.int64)
    column = [((1 << rows) - 1) << (height * i) for i in range(columns)]
    return _Room(
        height,
        cells,
        bottom=sum(1 << (height * i) for i in range(columns)),
        full=sum(column),
        columns=read_only(np.array([column[i] for i in order], np.int64)),
        position=lines[0],
        mask=lines[1],
        least=lines[2],
        num_moves=lines[3],
        num_tried=lines[4],
        moves=np.zeros((cells, columns), np.int64),
        worth=np.zeros((cells, columns), np.int64),
        table=np.zeros(table_size, np.int64),
    )


@search_kernel
def _mark_outcomes(room: _Room, position: int, mask: int, stones: int, values: NDArray[np.int8]) -> None:
    """Fill `values` `[A]`."""
    wins, theirs = _winning_cells(room, position, mask), mask ^ position
    for column in range(len(values)):
        cells = (((1 << (room.height - 1)) - 1) << (room.height * column)) & room.full
        move = (mask + room.bottom) & cells
        if move & wins:
            values[column] = 1
        elif move and stones + 1 == room.num_cells:
            values[column] = 0
        elif move:
            after = mask | move
            if _reaches(room, theirs, after, stones + 1, 1):
                values[column] = -1
            else:
                values[column] = 0 if _reaches(room, theirs, after, stones + 1, 0) else 1


@search_kernel
def _reaches(room: _Room, position: int, mask: int, stones: int, least: int) -> bool:
    """Whether the mover's score is at least `least`."""
    if (mask + room.bottom) & _winning_cells(room, position, mask):
        return bool((room.num_cells + 1 - stones) // 2 >= least)
    return bool(_reaches_later(room, position, mask, stones, least))


@search_kernel
def _reaches_later(room: _Room, position: int, mask: int, stones: int, least: int) -> bool:
    """The same of a mover who cannot win at once; without calling itself, since such kernels cannot be kept."""
    at = stones
    answer = _enter(room, position, mask, at, least)
    while at > stones or answer == _OPEN:
        if answer == _OPEN and room.num_tried[at] < room.num_moves[at]:
            move = room.moves[at, room.num_tried[at]]
            room.num_tried[at] += 1
            position, mask, least = room.mask[at] ^ room.position[at], room.mask[at] | move, 1 - room.least[at]
            at += 1
            answer = _enter(room, position, mask, at, least)
        elif answer == _OPEN:
            answer = _NO
            _remember(room, at, room.least[at] - 1, _UPPER)
        else:
            at -= 1
            answer = _OPEN if answer == _YES else _YES  # one move that leaves the opponent with less is enough
            if answer == _YES:
                _remember(room, at, room.least[at], _LOWER)
    return bool(answer == _YES)


@search_kernel
def _enter(room: _Room, position: int, mask: int, stones: int, least: int) -> int:
    """Begin to look at a position: `_YES` or `_NO` where that is known, else `_OPEN`, and there are moves to try."""
    safe = _safe_moves(room, position, mask)
    if safe == 0:
        return _YES if -((room.num_cells - stones) // 2) >= least else _NO
    if stones >= room.num_cells - 2:
        return _YES if least <= 0 else _NO
    if -((room.num_cells - 2 - stones) // 2) >= least:  # no sooner can the opponent win
        return _YES
    if (room.num_cells - 1 - stones) // 2 < least:
        return _NO
    key = position + mask
    found = room.table[key % len(room.table)]
    if found >> 8 == key:
        bound = ((found & 255) >> 1) - _NOUGHT
        if found & 1 == _LOWER and bound >= least:
            return _YES
        if found & 1 == _UPPER and bound < least:
            return _NO
    room.position[stones], room.mask[stones], room.least[stones] = position, mask, least
    room.num_moves[stones], room.num_tried[stones] = _sort_moves(room, position, mask, stones, safe), 0
    return _OPEN


@search_kernel
def _remember(room: _Room, stones: int, bound: int, kind: int) -> None:
    """Of the position after so many stones; what was in its place is forgotten."""
    key = room.position[stones] + room.mask[stones]
    room.table[key % len(room.table)] = key << 8 | (bound + _NOUGHT) << 1 | kind


@search_kernel
def _safe_moves(room: _Room, position: int, mask: int) -> int:
    """The moves after which the opponent cannot win at once."""
    moves = (mask + room.bottom) & room.full
    threats = _winning_cells(room, mask ^ position, mask)
    forced = moves & threats
    if forced:
        if forced & (forced - 1):  # more than one
            return 0
        moves = forced
    return int(moves & ~(threats >> 1))


@search_kernel
def _sort_moves(room: _Room, position: int, mask: int, stones: int, safe: int) -> int:
    """Fill `moves` with the best looking first; returns how many there are."""
    moves, worth, count = room.moves[stones], room.worth[stones], 0
    for column in room.columns:
        move = safe & column
        if move:
            threats = _count_bits(_winning_cells(room, position | move, mask))
            at = count
            while at > 0 and worth[at - 1] < threats:
                moves[at], worth[at] = moves[at - 1], worth[at - 1]
                at -= 1
            moves[at], worth[at] = move, threats
            count += 1
    return count


@search_kernel
def _winning_cells(room: _Room, position: int, mask: int) -> int:
    """The empty cells that complete four in a row of these stones, whether or not a stone can fall there."""
    cells = (position << 1) & (position << 2) & (position << 3)
    for way in range(-1, 2):
        step = room.height + way
        two = (position << step) & (position << 2 * step)
        cells |= two & ((position << 3 * step) | (position >> step))
        two = (position >> step) & (position >> 2 * step)
        cells |= two & ((position << step) | (position >> 3 * step))
    return cells & (room.full ^ mask)


@search_kernel
def _count_bits(bits: int) -> int:
    """How many are 1; the compiler has an instruction for it."""
    bits -= (bits >> 1) & 0x5555555555555555
    bits = (bits & 0x3333333333333333) + ((bits >> 2) & 0x3333333333333333)
    bits = (bits + (bits >> 4)) & 0x0F0F0F0F0F0F0F0F
    return ((bits * 0x0101010101010101) >> 56) & 255
