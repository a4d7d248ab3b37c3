"""An agent at play, frame by frame.

Knows episodes and what a game shows; knows nothing of films as files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero.agent import Agent, Decision
from numzero.drawing.films import Film, text_frame
from numzero.games import Game
from numzero.games.drawn import Pictured
from numzero.judging.play import play_episode

__all__ = ["Camera"]


class Camera:
    """Shows a film what an agent does.

    Args:
        game: one copy, of which pictures or, else, lines of text are taken.
        agent: makes every move.
        takes_pictures: whether the game was made to draw pictures.
        max_steps: of each episode.
        simulations: of each search; None: the agent's own.

    Attributes:
        frames: taken so far.
        returns: of the episodes so far; of the first player where there are two.
        cut_off: how many of them did not end.
    """

    def __init__(
        self, game: Game, agent: Agent, *, takes_pictures: bool, max_steps: int, simulations: int | None
    ) -> None:
        self._game, self._agent = game, agent
        self._takes_pictures = takes_pictures
        self._max_steps, self._simulations = max_steps, simulations
        self._size: tuple[int, int] | None = None  # of text: that of the first
        self.frames = 0
        self.returns: list[float] = []
        self.cut_off = 0

    def shoot(self, film: Film, episodes: int, rng: np.random.Generator) -> None:
        """Play so many episodes; a frame before each move, and one of the end."""

        def choose(mover: int, decision: Decision) -> Any:
            film.add(self._frame())
            return decision.action

        for _ in range(episodes):
            total = play_episode(
                self._agent, self._game, choose, rng, simulations=self._simulations, max_steps=self._max_steps
            )
            assert total is not None  # nobody leaves
            film.add(self._frame())
            self.returns.append(float(total[0]))
            self.cut_off += bool(self._game.legal()[0].any())

    def _frame(self) -> NDArray[np.uint8]:
        """`[H, W, 3]` what there is to see now."""
        self.frames += 1
        if self._takes_pictures and isinstance(self._game, Pictured):
            return self._game.picture(0)
        picture = text_frame(self._game.render(0), self._size)
        self._size = (picture.shape[1], picture.shape[0])
        return picture
