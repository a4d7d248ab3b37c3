"""Exact play of Connect Four on strings, every move tried: the obvious slow twin of `connectfour_solver`.

A position is its columns from the left, each a string of the players who own its stones, from below. Nothing here is
shared with the package.
"""

from __future__ import annotations

import functools

Position = tuple[str, ...]


def after(moves: str, columns: int) -> Position:
    """The position that columns, named from 1 on, lead to."""
    position: Position = ("",) * columns
    for n, move in enumerate(moves):
        position = dropped(position, int(move) - 1, n % 2)
    return position


def dropped(position: Position, column: int, player: int) -> Position:
    """The position with one stone more."""
    return (*position[:column], position[column] + str(player), *position[column + 1 :])


def wins(position: Position, column: int) -> bool:
    """Whether the highest stone of a column is one of four in a row."""
    row = len(position[column]) - 1
    player = position[column][row]

    def owned(place: tuple[int, int]) -> bool:
        at, high = place
        return 0 <= at < len(position) and 0 <= high < len(position[at]) and position[at][high] == player

    for right, up in ((1, 0), (0, 1), (1, 1), (1, -1)):
        for start in range(-3, 1):
            if all(owned((column + (start + i) * right, row + (start + i) * up)) for i in range(4)):
                return True
    return False


@functools.cache
def score(position: Position, rows: int) -> int:
    """0 for a draw; else the stones that the winner has left, and one, negative where the mover loses."""
    return max((move_score(position, column, rows) for column in legal(position, rows)), default=0)


def legal(position: Position, rows: int) -> list[int]:
    """The columns that are not full."""
    return [column for column, stones in enumerate(position) if len(stones) < rows]


def move_score(position: Position, column: int, rows: int) -> int:
    """What playing a column comes to."""
    stones = sum(map(len, position))
    child = dropped(position, column, stones % 2)
    if wins(child, column):
        return (rows * len(position) + 1 - stones) // 2
    return -score(child, rows)
