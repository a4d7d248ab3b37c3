"""What boards have in common where chance has its say after an action.

Knows how each copy draws; knows no rules. A copy's chance is a number of its own, begun by the reset's generator: so
equal generators give equal episodes, and a copy that is put back into a position meets the same chance there.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import search_kernel
from numzero.errors import UserError
from numzero.games.base import STAY, GameSpec, StepResult, Symmetries, require_mask
from numzero.games.boards.base import Board, Rules, named_kernel, nth_marked

__all__ = ["ChanceBoard", "ChanceRules", "draw"]

_NUM_BYTES = 8
"""Of a copy's chance in `positions`."""
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_FIRST_FACTOR, _SECOND_FACTOR = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_FIRST_SHIFT, _SECOND_SHIFT, _THIRD_SHIFT, _LAST_SHIFT = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_UNIT = 2.0**-53


class ChanceRules(NamedTuple):
    """The rules of a game with chance, as kernels on one copy; see `Rules`. What they draw, they draw by `draw`."""

    name: str
    """Of the game: one for each set of kernels."""
    begin: Any
    """(cells, settings, chance, b): make a game of the start's cells."""
    mark_legal: Any
    """As in `Rules`."""
    play: Any
    """(cells, player, action, settings, chance, b): play a legal action; returns the mover's reward, the outcome,
    whether the turn passes, and whether the game is over."""


class ChanceBoard(Board):
    """A batch of boards of a game with chance; see `Board`.

    Args:
      spec: of the game, with `num_outcomes`.
      batch_size: at least 1, else a UserError.
      rules: of the game.
      settings: for the rules.
      start: as in `Board`.
      symmetries: of the rules, outcomes included, if there are any.
    """

    def __init__(
        self,
        spec: GameSpec,
        batch_size: int,
        rules: ChanceRules,
        settings: Sequence[int],
        *,
        start: NDArray[np.int8] | None = None,
        symmetries: Symmetries | None = None,
    ) -> None:
        alike = Rules(rules.name, rules.mark_legal, rules.play)
        super().__init__(spec, batch_size, alike, settings, start=start, symmetries=symmetries)
        self._chance_kernels = _batch_kernels(rules)
        self._chance = np.zeros(batch_size, np.uint64)
        self._outcome = np.zeros(batch_size, np.int32)

    def reset(self, which: NDArray[np.bool_], rng: np.random.Generator) -> None:
        """See `Game`."""
        require_mask(which, self.batch_size)
        self._chance[which] = rng.integers(2**64, size=int(which.sum()), dtype=np.uint64)
        super().reset(which, rng)
        self._chance_kernels.begin(self.board, self.settings, self._chance, which)

    def step(self, action: NDArray[np.int32]) -> StepResult:
        """See `Board`; with what chance made of each action."""
        self._outcome[:] = 0
        return super().step(action)._replace(outcome=self._outcome.copy())

    def _move(self, action: NDArray[np.int32], reward: NDArray[np.float32], terminated: NDArray[np.bool_]) -> bool:
        state = self.board, self._to_play, self._running, self._chance
        told = reward, self._outcome, terminated
        return bool(self._chance_kernels.step(*state, self.settings, self._legal, action, *told))

    def play_randomly(self, num_moves: NDArray[np.int64], rng: np.random.Generator) -> None:
        """See `PlaysRandomly`; copies go on with their own chance."""
        state = self.board, self._to_play, self._running, self._chance
        numbers = rng.integers(2**64, size=self.batch_size, dtype=np.uint64)
        self._chance_kernels.play_randomly(*state, self.settings, self._legal, self._start, num_moves, numbers)

    def positions(self) -> NDArray[np.uint8]:
        """See `Board`; and each copy's chance."""
        return np.hstack([super().positions(), self._chance.view(np.uint8).reshape(-1, _NUM_BYTES)])

    def place(self, which: NDArray[np.bool_], positions: NDArray[np.uint8]) -> None:
        """See `Board`."""
        if positions.ndim != 2 or positions.shape[1] <= _NUM_BYTES:
            raise UserError(f"positions of {self.spec.name!r} must be those that positions() gave; got others.")
        super().place(which, positions[:, :-_NUM_BYTES])
        self._chance[which] = np.ascontiguousarray(positions[which, -_NUM_BYTES:]).view(np.uint64)[:, 0]


@search_kernel
def draw(chance: NDArray[np.uint64], b: int) -> float:
    """The next number of copy b, in [0, 1): SplitMix64 (Steele, Lea and Flood 2014)."""
    chance[b] += _INCREMENT
    mixed = chance[b]
    mixed = (mixed ^ (mixed >> _FIRST_SHIFT)) * _FIRST_FACTOR
    mixed = (mixed ^ (mixed >> _SECOND_SHIFT)) * _SECOND_FACTOR
    mixed ^= mixed >> _THIRD_SHIFT
    return float((mixed >> _LAST_SHIFT) * _UNIT)


class _Kernels(NamedTuple):
    """The rules of a game on a batch."""

    begin: Any
    step: Any
    play_randomly: Any


@functools.cache
def _batch_kernels(rules: ChanceRules) -> _Kernels:
    """The kernels of one game; `board` `[B, S]`, `to_play`, `running` and `chance` `[B]` are the state they change."""
    begin_of, mark_legal_of, play = rules.begin, rules.mark_legal, rules.play

    def begin(board: Any, settings: Any, chance: Any, which: Any) -> None:
        """Make games of the starts' cells in `which` `[B]`."""
        for b in range(len(board)):
            if which[b]:
                begin_of(board[b], settings, chance, b)

    def step(
        board: Any, to_play: Any, running: Any, chance: Any, settings: Any, legal: Any, action: Any, reward: Any,
        outcome: Any, terminated: Any,
    ) -> bool:  # fmt: skip
        """Play where the action is not STAY, and say what came of it; False, and nothing moves, if one cannot be."""
        for b in range(len(board)):
            if action[b] != STAY:
                if not running[b] or action[b] < 0 or action[b] >= legal.shape[1]:
                    return False
                mark_legal_of(board[b], int(to_play[b]), settings, legal[b])
                if not legal[b, action[b]]:
                    return False
        for b in range(len(board)):
            if action[b] != STAY:
                paid, drawn, passes, over = play(board[b], int(to_play[b]), int(action[b]), settings, chance, b)
                reward[b], outcome[b], terminated[b] = paid, drawn, over
                to_play[b] = 1 - to_play[b] if passes else to_play[b]
                running[b] = not over
        return True

    def play_randomly(
        board: Any, to_play: Any, running: Any, chance: Any, settings: Any, legal: Any, start: Any, num_moves: Any,
        numbers: Any,
    ) -> None:  # fmt: skip
        """`num_moves` `[B]` random moves, drawn by `numbers` `[B]`, which are chances of their own."""
        for b in range(len(board)):
            left = num_moves[b]
            while left > 0:
                if not running[b]:
                    for i in range(len(start)):
                        board[b, i] = start[i]
                    begin_of(board[b], settings, chance, b)
                    to_play[b] = 0
                    running[b] = True
                    left = int(draw(numbers, b) * (num_moves[b] + 1))
                else:
                    mark_legal_of(board[b], int(to_play[b]), settings, legal[b])
                    action = nth_marked(legal[b], draw(numbers, b))
                    _, _, passes, over = play(board[b], int(to_play[b]), action, settings, chance, b)
                    to_play[b] = 1 - to_play[b] if passes else to_play[b]
                    running[b] = not over
                    left = num_moves[b] if over else left - 1  # not 0: there is a restart to come

    return _Kernels(*(named_kernel(rules.name, each) for each in (begin, step, play_randomly)))
