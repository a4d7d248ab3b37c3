"""Boards whose moves are action vectors of one choice, so that searches look at a few sampled moves of many."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from numzero.games import Game, GameSpec, StepResult, make_game
from numzero.games.actions import Factored


class OneFactor:
    """A board as it is, but for what a move is: its number as a vector `[1]`, NaN to stay; masks stay as they are."""

    board = "tictactoe"
    symmetries: None = None

    def __init__(self, batch_size: int) -> None:
        self.inner: Game = make_game(self.board, batch_size)
        name = f"{type(self).__module__}:{type(self).__name__}"
        inner, actions = self.inner.spec, Factored((self.inner.spec.num_actions,))
        self.spec: GameSpec = msgspec.structs.replace(
            inner, name=name, actions=actions, num_actions=1, action_names=("move",)
        )
        self.batch_size = batch_size

    def reset(self, which: NDArray[np.bool_], rng: np.random.Generator) -> None:
        self.inner.reset(which, rng)

    def observation(self) -> Any:
        return self.inner.observation()

    def legal(self) -> NDArray[np.bool_]:
        return self.inner.legal()

    def to_play(self) -> NDArray[np.int8]:
        return self.inner.to_play()

    def step(self, action: NDArray[np.float32]) -> StepResult:
        """The board refuses what is not legal."""
        assert action.shape == (self.batch_size, 1)
        return self.inner.step(np.where(np.isnan(action[:, 0]), -1.0, action[:, 0]).astype(np.int32))

    def render(self, row: int) -> str:
        return self.inner.render(row)

    def close(self) -> None:
        self.inner.close()


class SampledOthello(OneFactor):
    """Othello of 64 squares and a pass."""

    board = "othello"


class SampledGomoku(OneFactor):
    """Gomoku on 9x9."""

    board = "gomoku(size=9)"
