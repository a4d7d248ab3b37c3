"""Games that draw themselves: pictures, a window of their own, or text.

Knows what a game must offer for that, and how one is made so; knows nothing of who looks.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.games.base import Game
from numzero.games.naming import extended
from numzero.games.registry import make_game

__all__ = ["PICTURES", "TEXT", "WINDOW", "Pictured", "drawn_game", "warned"]

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


def warned(sentence: str) -> None:
    """Say what is wrong as a warning of Python's."""
    warnings.warn(sentence, stacklevel=4)


def drawn_game(name: str, modes: Sequence[str], on_fault: Callable[[str], object] = warned) -> tuple[Game, str]:
    """One copy of a game that draws itself in the first of `modes` that it can, and that mode; "" if it can in none.

    It has drawn itself once: environments ask for what they draw with, pygame for example, no earlier. A mode that it
    knows and fails in is left, and `on_fault` is told why in a sentence.

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
            if fault := _fault_of(drawn, mode):
                drawn.close()
                on_fault(f"It is shown in another way than {mode!r}: {fault}")
                continue
            game.close()
            return drawn, mode
    return game, ""


def _fault_of(game: Game, mode: str) -> str:
    """Why a game that was made to draw itself so does not; "" if it does."""
    try:
        game.reset(np.ones(1, np.bool_), np.random.default_rng(0))  # where a window is drawn
        if mode == PICTURES and isinstance(game, Pictured):
            game.picture(0)
        elif mode == TEXT:
            game.render(0)
    except UserError as error:
        return _lacking(error) or str(error)
    return ""


def _lacking(error: BaseException) -> str:
    """What is said of a package that an error goes back to, which is not there; "" of other errors."""
    said, cause = "", error.__cause__
    while cause is not None and not isinstance(cause, ImportError):
        said, cause = str(cause), cause.__cause__
    return (said or str(cause)).rstrip(".") + "." if cause is not None else ""
