"""Hex solved by trying everything: who wins when all cells that are left are played out."""

from __future__ import annotations

from functools import cache

WAYS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, -1), (-1, 1))


def joins(cells: tuple[int, ...], size: int, player: int) -> bool:
    """Whether a chain of a player's stones (player + 1) leads from side to side: rows for 0, columns for 1."""
    places = {divmod(cell, size) for cell, stone in enumerate(cells) if stone == player + 1}
    found = {place for place in places if place[player] == 0}
    for _ in range(size**2):
        found |= {(r + d, c + e) for r, c in found for d, e in WAYS if (r + d, c + e) in places}
    return any(place[player] == size - 1 for place in found)


@cache
def wins(cells: tuple[int, ...], size: int, mover: int) -> bool:
    """Whether the mover wins a game that is not over."""
    return any(wins_by(cells, size, mover, cell) for cell, stone in enumerate(cells) if stone == 0)


def wins_by(cells: tuple[int, ...], size: int, mover: int, cell: int) -> bool:
    """Whether a move wins."""
    after = (*cells[:cell], mover + 1, *cells[cell + 1 :])
    return joins(after, size, mover) or not wins(after, size, 1 - mover)
