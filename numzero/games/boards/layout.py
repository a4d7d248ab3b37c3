"""How a board looks, for those who draw it: cells, stones, names, and which cells a person presses for a move.

Knows shapes and names; knows no rules, and nothing of pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["BoardPage", "Colour", "HasBoard", "Layout", "cell_places"]

Colour = Literal["black", "white", "red", "yellow", "blue", "orange"]


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """A board of `rows` x `columns` cells, counted row by row from the top left, and the moves on it."""

    title: str = ""
    """What people call the game; "": as `make_game` does."""

    cells: Literal["squares", "points", "hexes", "columns"] = "squares"
    """"points": stones lie where lines cross. "hexes": each row begins half a cell further to the right than the one
    above; the first player joins the top with the bottom, the other left with right. "columns": stones fall."""

    surface: Literal["paper", "felt", "wood", "chequered"] = "paper"
    """What the board is made of."""

    rows: int
    columns: int

    places: tuple[tuple[int, ...], ...]
    """Of each action: nothing where no cell is meant, as of a pass; the cell that is played; or the cell that a piece
    leaves and the one that it goes to. Of "columns" the top cell."""

    row_names: tuple[str, ...] = ()
    """From the top; nothing where rows have no names."""

    column_names: tuple[str, ...] = ()
    """From the left; nothing where columns have no names."""

    players: tuple[str, str] = ("X", "O")
    """What people call them, who moves first before the other."""

    pieces: Literal["discs", "marks", "pawns"] = "discs"
    """"marks" are X and O."""

    colours: tuple[Colour, Colour] = ("black", "white")
    """Of their pieces."""


class BoardPage(NamedTuple):
    """What a page must be told to show a board and to know its rules."""

    layout: Layout
    rules: Path | None = None
    """A JavaScript module, whose default export makes the rules of `arguments`; None: there is none."""
    arguments: Mapping[str, Any] = {}
    """Plain values."""


@runtime_checkable
class HasBoard(Protocol):
    """A game for two that can be drawn."""

    def page(self) -> BoardPage | None:
        """What a page must be told to show the board; None where cells hold anything but pieces."""
        ...

    def cells(self, row: int) -> NDArray[np.int8]:
        """`[rows, columns]` of copy `row`: 0 of an empty cell, 1 and 2 of a piece of who moves first and second."""
        ...


def cell_places(num_cells: int, num_actions: int) -> tuple[tuple[int, ...], ...]:
    """Where action a plays cell a, and actions behind the last cell play none; none does where they are too few."""
    if num_actions < num_cells:
        return ((),) * num_actions
    return tuple((cell,) if cell < num_cells else () for cell in range(num_actions))
