"""Obvious twins of numzero.replay: a window as a list of cells, and prioritised drawing by its formulas."""

from __future__ import annotations

from typing import Any


class ListWindow:
    """The window's rule in words: a game goes behind the newest one, or to the start if it does not fit there."""

    def __init__(self, capacity: int) -> None:
        self.cells: list[tuple[Any, int] | None] = [None] * capacity  # (game, its position t)
        self.games: list[Any] = []  # oldest first
        self.head = 0

    def add(self, game: Any) -> None:
        wanted = list(range(self.head, self.head + game.num_steps + 1))
        if wanted[-1] >= len(self.cells):
            wanted = list(range(self.head, len(self.cells))) + list(range(game.num_steps + 1))
        while any(self.cells[cell] is not None for cell in wanted):
            leaving = self.games.pop(0)
            self.cells = [None if cell is not None and cell[0] is leaving else cell for cell in self.cells]
        mine = wanted[-(game.num_steps + 1) :]
        for t, cell in enumerate(mine):
            self.cells[cell] = (game, t)
        self.games.append(game)
        self.head = mine[-1] + 1

    def sampleable(self) -> list[int]:
        return [
            s
            for s, cell in enumerate(self.cells)
            if cell is not None and cell[0].lead_in <= cell[1] < cell[0].num_steps
        ]


def probabilities(priority: list[float], alpha: float) -> list[float]:
    """P(i) = p(i) ** alpha / sum; a priority of 0 is never drawn, whatever alpha."""
    mass = [p**alpha if p > 0 else 0.0 for p in priority]
    return [m / sum(mass) for m in mass]


def weights(probability: list[float], drawn: list[int], num_steps: int, beta: float) -> list[float]:
    """(1 / (N P(i))) ** beta over the largest of the batch."""
    raw = [(1 / (num_steps * probability[i])) ** beta for i in drawn]
    return [w / max(raw) for w in raw]


def leaf_under(mass: list[float], point: float) -> int:
    """The index whose stretch of the line holds the point."""
    for index, width in enumerate(mass):
        if point < width:
            return index
        point -= width
    return max(index for index, width in enumerate(mass) if width > 0)
