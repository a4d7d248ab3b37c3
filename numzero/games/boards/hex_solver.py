"""Who wins at Hex under best play on small boards, by a search that proves what a win needs.

Knows positions as two numbers, and a table of what was found; knows nothing of who plays, nor of swaps.

A board is a number: row by row from the top left as many bits as there are columns and one more, which stays 0, so that
neighbours are a few places away and none lies beyond a side. Nobody can draw, so that every question is yes or no: does
the mover win? A proof names its carrier, the empty cells that the winner's play needs. A move that loses tells which
others can be better: those in the carrier of the opponent's win, for she wins by the same play against any that leaves
it alone (Hayward et al. 2005, "Solving 7x7 Hex with domination, fill-in, and virtual connections", section 3: must-play
regions). Moves are tried from those that lie on shortest ways of both players, and of one, to those that lie on none.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import search_kernel
from numzero.errors import UserError
from numzero.games.boards.base import read_only
from numzero.interrupts import heard_during

__all__ = ["LARGEST_SOLVED", "HexSolver"]

LARGEST_SOLVED = 5
"""Rows and columns: two larger boards and what was found are no 64 bits."""
TABLE_SIZE = 4_194_319
"""Entries, a prime number, of 16 bytes each."""

_NO, _YES, _OPEN = 0, 1, 2


class _Room(NamedTuple):
    """A board's size, and where one search after the other takes place."""

    width: int
    """Bits of a row: columns + 1."""
    full: int
    """All cells."""
    sides: NDArray[np.int64]
    """`[4]` the cells of the top row, the bottom row, the left column, the right column."""
    middle_first: NDArray[np.int64]
    """`[cells]` each cell, the middle ones first."""
    stones: NDArray[np.int64]
    """`[cells + 1, 2]` of both players, in the line that is looked at; so are the next ones."""
    groups: NDArray[np.int64]
    """`[cells + 1, 3]` the empty cells, in the order in which they are tried."""
    must: NDArray[np.int64]
    """`[cells + 1]` the moves that may win."""
    tried: NDArray[np.int64]
    """`[cells + 1]` the move that is looked at."""
    carrier: NDArray[np.int64]
    """`[cells + 1]` what the winner needs; where nothing is known yet, what the opponent needed against each move."""
    layers: NDArray[np.int64]
    """`[cells]` the cells that so many stones lead to from a side."""
    table: NDArray[np.int64]
    """`[entries]` what was found: four times the key, 2, and whether the mover wins."""
    carriers: NDArray[np.int64]
    """`[entries]` how."""


class HexSolver:
    """Exact play without swap on boards of one size.

    Args:
        size: rows and columns, at most LARGEST_SOLVED, else a UserError.
        table_size: entries of the table, better a prime number.
    """

    def __init__(self, size: int, table_size: int = TABLE_SIZE) -> None:
        if size > LARGEST_SOLVED:
            raise UserError(
                f"exact play of hex is known up to {LARGEST_SOLVED} rows and columns; got {size}. Play mcts:1000 "
                "instead.",
                arguments=("opponent",),
            )
        self._size = size, table_size
        self._begin()
        self._places = np.left_shift(1, np.arange(size * (size + 1)).reshape(size, size + 1)[:, :size]).ravel()

    def wins(self, board: NDArray[np.int8], to_play: NDArray[np.int8]) -> NDArray[np.bool_]:
        """`[B, cells]` which moves win; none that is not legal.

        Args:
            board: `[B, cells]` of running games.
            to_play: `[B]`.
        """
        wins = np.zeros(board.shape, np.bool_)
        for b in range(len(board)):
            position = *self._bits(board[b]), int(to_play[b])
            heard_during(partial(_mark_wins, self._room, *position, self._places, wins[b]), self._begin)
        return wins

    def _begin(self) -> None:
        """Nothing is known yet."""
        self._room = _room(*self._size)

    def _bits(self, cells: NDArray[np.int8]) -> tuple[int, int]:
        """The stones of the first player and of the second."""
        return int(self._places[cells == 1].sum()), int(self._places[cells == 2].sum())


def _room(size: int, table_size: int) -> _Room:
    width, cells = size + 1, size**2
    row, column = (1 << size) - 1, sum(1 << (width * i) for i in range(size))
    order = sorted(range(cells), key=lambda cell: (_from_middle(cell, size), cell))
    lines = np.zeros((3, cells + 1), np.int64)
    return _Room(
        width,
        full=row * column,
        sides=read_only(np.array([row, row << (width * (size - 1)), column, column << (size - 1)], np.int64)),
        middle_first=read_only(np.array([1 << (cell // size * width + cell % size) for cell in order], np.int64)),
        stones=np.zeros((cells + 1, 2), np.int64),
        groups=np.zeros((cells + 1, 3), np.int64),
        must=lines[0],
        tried=lines[1],
        carrier=lines[2],
        layers=np.zeros(cells, np.int64),
        table=np.zeros(table_size, np.int64),
        carriers=np.zeros(table_size, np.int64),
    )


def _from_middle(cell: int, size: int) -> int:
    """Twice the steps that a cell is away from the middle, rows and columns added."""
    return abs(2 * (cell // size) - size + 1) + abs(2 * (cell % size) - size + 1)


@search_kernel
def _mark_wins(
    room: _Room, first: int, second: int, mover: int, places: NDArray[np.int64], wins: NDArray[np.bool_]
) -> None:
    """Fill `wins` `[cells]`."""
    mine, theirs = (first, second) if mover == 0 else (second, first)
    joining = _winning_cells(room, mine, theirs, mover)
    must = room.full & ~(mine | theirs | joining)
    for cell in range(len(places)):
        move = places[cell]
        wins[cell] = (move & joining) != 0
        if move & must:
            after = mine | move
            wins[cell] = not _wins(room, after if mover == 0 else theirs, theirs if mover == 0 else after, 1 - mover)
            if not wins[cell]:
                must &= room.carrier[0]


@search_kernel
def _wins(room: _Room, first: int, second: int, mover: int) -> bool:
    """Whether the mover wins; without calling itself, since such kernels cannot be kept."""
    at = 0
    room.stones[at, 0], room.stones[at, 1] = first, second
    answer = _enter(room, at, mover)
    while at > 0 or answer == _OPEN:
        if answer == _OPEN and room.must[at]:
            move = _next_move(room, at)
            room.tried[at] = move
            room.must[at] &= ~move
            room.stones[at + 1, mover] = room.stones[at, mover] | move
            room.stones[at + 1, 1 - mover] = room.stones[at, 1 - mover]
            at, mover = at + 1, 1 - mover
            answer = _enter(room, at, mover)
        elif answer == _OPEN:
            answer = _NO
            _remember(room, at, mover, answer)
        else:
            at, mover = at - 1, 1 - mover
            if answer == _YES:
                room.must[at] &= room.carrier[at + 1]
                room.carrier[at] |= room.carrier[at + 1]
                answer = _OPEN
            else:  # one move after which the opponent loses is enough
                room.carrier[at] = room.tried[at] | room.carrier[at + 1]
                answer = _YES
                _remember(room, at, mover, answer)
    return bool(answer == _YES)


@search_kernel
def _enter(room: _Room, at: int, mover: int) -> int:
    """Begin to look at a position: `_YES` or `_NO` where that is known, else `_OPEN`, and there are moves to try."""
    mine, theirs = room.stones[at, mover], room.stones[at, 1 - mover]
    wins = _winning_cells(room, mine, theirs, mover)
    if wins:
        room.carrier[at] = wins & -wins
        return _YES
    threats = _winning_cells(room, theirs, mine, 1 - mover)
    lost_by = _two_of(threats)
    if not threats:
        lost_by = _bridged(room, theirs, mine, 1 - mover)
    if lost_by:
        room.carrier[at] = lost_by
        return _NO
    place = _place(room, at, mover)
    if room.table[place] >> 1 == _key(room, at, mover) << 1 | 1:
        room.carrier[at] = room.carriers[place]
        return int(room.table[place] & 1)
    room.carrier[at] = threats
    room.must[at] = threats if threats else room.full & ~(mine | theirs)
    own, other = _shortest_ways(room, mine, theirs, mover), _shortest_ways(room, theirs, mine, 1 - mover)
    room.groups[at, 0], room.groups[at, 1], room.groups[at, 2] = own & other, own ^ other, room.full
    return _OPEN


@search_kernel
def _next_move(room: _Room, at: int) -> int:
    """The best looking of the moves that may win; there is one."""
    for group in room.groups[at]:
        for cell in room.middle_first:
            if cell & group & room.must[at]:
                return int(cell)
    return 0


@search_kernel
def _key(room: _Room, at: int, mover: int) -> int:
    """One number for each position: two boards of 30 bits at most, and whose turn it is."""
    return int(((room.stones[at, 0] << 30) | room.stones[at, 1]) << 1 | mover)


@search_kernel
def _place(room: _Room, at: int, mover: int) -> int:
    """Of a position in the table."""
    return int(_key(room, at, mover) % len(room.table))


@search_kernel
def _remember(room: _Room, at: int, mover: int, answer: int) -> None:
    """What was found; what was in its place is forgotten."""
    place = _place(room, at, mover)
    room.table[place] = _key(room, at, mover) << 2 | 2 | answer
    room.carriers[place] = room.carrier[at]


@search_kernel
def _winning_cells(room: _Room, mine: int, theirs: int, player: int) -> int:
    """The empty cells that join a player's sides."""
    start, end = room.sides[2 * player], room.sides[2 * player + 1]
    empty = room.full & ~(mine | theirs)
    from_start = start | _neighbours(room, _chain(room, mine & start, mine))
    return int(from_start & (end | _neighbours(room, _chain(room, mine & end, mine))) & empty)


@search_kernel
def _bridged(room: _Room, mine: int, theirs: int, player: int) -> int:
    """The empty cells of bridges that join a player's sides, whoever moves; 0 where no such are found.

    A bridge: two stones, or a stone and a side, with two cells between them that are empty; who loses one takes the
    other. No cell may serve two.
    """
    start, end = room.sides[2 * player], room.sides[2 * player + 1]
    empty, carrier = room.full & ~(mine | theirs), 0
    reached, before = _chain(room, mine & start, mine), -1
    while reached != before:
        before = reached
        for cell in room.middle_first:
            if cell & mine & ~reached:
                beside = (start | _neighbours(room, reached)) & empty & ~carrier
                bridge = _two_of(_neighbours(room, cell) & beside)
                if bridge:
                    carrier |= bridge
                    reached |= _chain(room, cell, mine)
    if reached & end:
        return int(carrier)
    for cell in room.middle_first:
        if cell & reached:
            bridge = _two_of(_neighbours(room, cell) & end & empty & ~carrier)
            if bridge:
                return int(carrier | bridge)
    return 0


@search_kernel
def _two_of(cells: int) -> int:
    """Two of these cells; 0 where there are fewer."""
    others = cells & (cells - 1)
    return int((cells ^ others) | (others & -others)) if others else 0


@search_kernel
def _shortest_ways(room: _Room, mine: int, theirs: int, player: int) -> int:
    """The empty cells on ways from side to side that need the fewest stones more."""
    empty = room.full & ~(mine | theirs)
    start, end = room.sides[2 * player], room.sides[2 * player + 1]
    reached = _chain(room, mine & start, mine)
    seen = (start | _neighbours(room, reached)) & empty
    layers_end = end | _neighbours(room, _chain(room, mine & end, mine))
    num_layers = 1
    room.layers[0] = seen
    newest = seen
    while newest and not newest & layers_end:
        newest = _neighbours(room, newest | _chain(room, _neighbours(room, newest) & mine, mine)) & empty & ~seen
        seen |= newest
        room.layers[num_layers] = newest
        num_layers += 1
    on_way = newest & layers_end
    ways = on_way
    for layer in range(num_layers - 2, -1, -1):
        on_way = _neighbours(room, on_way | _chain(room, _neighbours(room, on_way) & mine, mine)) & room.layers[layer]
        ways |= on_way
    return int(ways)


@search_kernel
def _chain(room: _Room, some: int, stones: int) -> int:
    """All stones that are connected with some of them."""
    before = 0
    while some != before:
        before = some
        some |= _neighbours(room, some) & stones
    return some


@search_kernel
def _neighbours(room: _Room, cells: int) -> int:
    """Cells beside some of these."""
    width = room.width
    along = (cells << 1) | (cells >> 1) | (cells << width) | (cells >> width)
    return int((along | (cells << (width - 1)) | (cells >> (width - 1))) & room.full)
