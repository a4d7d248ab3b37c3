"""What all board games for two have in common, so that a new one is its rules.

Knows batches of boards as bytes, whose turn it is and which copies run; knows no rules. A game gives its spec and three
compiled functions of arrays: move, observe, and mark what is legal.
"""

from __future__ import annotations

import abc
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.games.base import GameSpec, StepResult, Symmetries, require_legal, require_mask

__all__ = ["Board"]

_OVER = 2
"""Added to the player to move in `positions` of a copy that is over."""


class Board(abc.ABC):
    """A batch of boards of one game; see `Game` for the contract, and `Placeable`.

    Args:
      spec: of the game.
      batch_size: at least 1, else a UserError.
      num_cells: bytes of one board; all 0 at the start, unless `begin` says otherwise.
      symmetries: of the rules, if there are any.
    """

    largest_cell = 2
    """The largest number that a cell may hold."""

    def __init__(self, spec: GameSpec, batch_size: int, num_cells: int, symmetries: Symmetries | None = None) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1; got {batch_size}. Ask for one copy or more.")
        self.spec = spec
        self.batch_size = batch_size
        self.symmetries = symmetries
        self.board: NDArray[np.int8] = np.zeros((batch_size, num_cells), np.int8)
        """`[B, cells]` int8, to be read."""
        self._to_play = np.zeros(batch_size, np.int8)
        self._running = np.zeros(batch_size, np.bool_)
        self._observation = np.zeros((batch_size, *spec.observation_shape), spec.observation_dtype)
        self._legal = np.zeros((batch_size, spec.num_actions), np.bool_)

    @abc.abstractmethod
    def move(self, action: NDArray[np.int32], reward: NDArray[np.float32], terminated: NDArray[np.bool_]) -> bool:
        """Play `action` `[B]` in every copy whose action is not STAY: change `board`, `_to_play` and `_running`.

        Fills `reward` `[B]`, of the movers, and `terminated` `[B]`, which hold zeros. Returns False, and nothing moves,
        where one of them cannot be played.
        """

    @abc.abstractmethod
    def observe(self, observation: NDArray[Any]) -> None:
        """Fill `observation` `[B, *O]` with the states as the players to move see them."""

    @abc.abstractmethod
    def mark_legal(self, legal: NDArray[np.bool_]) -> None:
        """Fill `legal` `[B, A]`: what may be played in running copies, and nothing in others."""

    @abc.abstractmethod
    def render(self, row: int) -> str:
        """See `Game`."""

    def begin(self, which: NDArray[np.bool_], rng: np.random.Generator) -> None:
        """Put copies in `which` `[B]` at the start of a game: empty boards, the first player to move."""
        del rng
        self.board[which] = 0
        self._to_play[which] = 0

    def reset(self, which: NDArray[np.bool_], rng: np.random.Generator) -> None:
        """See `Game`."""
        require_mask(which, self.batch_size)
        self.begin(which, rng)
        self._running[which] = True

    def observation(self) -> NDArray[Any]:
        """See `Game`."""
        self.observe(self._observation)
        return self._observation

    def legal(self) -> NDArray[np.bool_]:
        """See `Game`."""
        self.mark_legal(self._legal)
        return self._legal

    def to_play(self) -> NDArray[np.int8]:
        """See `Game`: 0 for the player who moves first."""
        return self._to_play

    def step(self, action: NDArray[np.int32]) -> StepResult:
        """See `Game`; UserError where a copy is over or an action is not legal."""
        reward = np.zeros(self.batch_size, np.float32)
        terminated = np.zeros(self.batch_size, np.bool_)
        if action.shape != reward.shape or action.dtype != np.int32 or not self.move(action, reward, terminated):
            require_legal(action, self.legal(), self.spec.name)  # says what is wrong; nothing, if it was but the dtype
            self.move(np.ascontiguousarray(action, np.int32), reward, terminated)
        return StepResult(reward, terminated, np.zeros(self.batch_size, np.bool_))

    def positions(self) -> NDArray[np.uint8]:
        """See `Placeable`: the board, and the player to move, with 2 added where the game is over."""
        return np.column_stack([self.board.view(np.uint8), self._to_play + _OVER * ~self._running]).astype(np.uint8)

    def place(self, which: NDArray[np.bool_], positions: NDArray[np.uint8]) -> None:
        """See `Placeable`; UserError where positions are none that `positions` gives."""
        given, cells = positions[which], self.board.shape[1]
        if given.shape[1:] != (cells + 1,) or (given > [self.largest_cell] * cells + [2 * _OVER - 1]).any():
            raise UserError(
                f"positions of {self.spec.name!r} must be {cells} cells from 0 to {self.largest_cell} and a player; "
                f"got {positions.shape} with others."
            )
        self.board.view(np.uint8)[which] = positions[which, :-1]
        self._to_play[which] = positions[which, -1] % _OVER
        self._running[which] = positions[which, -1] < _OVER

    def close(self) -> None:  # noqa: B027  (nothing by default)
        """Nothing to let go of."""
