"""Games that draw themselves: pictures, a window of their own, or text.

Knows what a game must offer for that, and how one is made so; knows nothing of who looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.games.base import Game
from numzero.games.naming import extended
from numzero.games.registry import make_game

__all__ = ["PICTURES", "TEXT", "WINDOW", "Pictured", "drawn_game"]

WINDOW, PICTURES, TEXT = "human", "rgb_array", "ansi"
"""Modes of gymnasium's: the environment opens a window and draws there; it returns a picture; it returns text."""


@runtime_checkable
class Pictured(Protocol):
    """A game that can be drawn in other ways than all games are, if it is made with the argument `render_mode`."""

    @property
    def render_modes(self) -> tuple[str, ...]:
        """The modes that it knows."""

    @property
    def render_fps(self) -> float:
        """How many pictures it means to show in a second."""

    def picture(self, row: int) -> NDArray[np.uint8]:
        """`[H, W, 3]` red, green and blue: copy `row` as it is now, of a game made with `PICTURES`."""
        ...


def drawn_game(name: str, modes: Sequence[str]) -> tuple[Game, str]:
    """One copy of a game that draws itself in the first of `modes` that it knows, and that mode; "" if it knows none.

    Raises:
        UserError: as `make_game`.
    """
    game = make_game(name, 1)
    for mode in modes:
        if isinstance(game, Pictured) and mode in game.render_modes:
            try:
                drawn = make_game(extended(name, {"render_mode": mode}), 1)
            except UserError:  # it lists the mode, but is made without a choice
                continue
            game.close()
            return drawn, mode
    return game, ""
