"""Pig, a dice race of two: the rules as kernels on a batch of boards, and exact play by value iteration.

Knows the rules and, for a target that is not large, what every move is worth (Neller and Presser 2004, "Optimal play of
the dice game Pig"); knows nothing of search or networks.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import search_kernel
from numzero.games.base import GameSpec, SolvedPositions
from numzero.games.boards.base import full_name, require_whole
from numzero.games.boards.chance import ChanceBoard, ChanceRules, draw

__all__ = ["HOLD", "ROLL", "Pig"]

ROLL, HOLD = 0, 1
BEST = -1
"""In place of an action: whichever is worth more."""
NUM_FACES = 6
TARGET = 50
LEAST_TARGET, LARGEST_TARGET = 2, 100
FIRST, SECOND, TURN = 0, 1, 2
"""Cells of a board: both players' points, and those of the turn, which are not safe yet."""
CLOSE = 1e-12
"""Value iteration ends where a sweep changes no value by more."""


def _spec(target: int) -> GameSpec:
    return GameSpec(
        name=full_name("pig", {"target": TARGET}, target=target),
        num_actions=2,
        observation_shape=(3, target),
        observation_dtype="uint8",
        num_players=2,
        max_steps=None,
        action_names=("roll", "hold"),
        observation_layout=f"Three rows of {target}: the points of the player to move, the opponent's, those of this "
        "turn; n points are n ones and then zeros.",
        legal_rule="Rolling always; holding once there are points in this turn.",
        turns="vary",
        num_outcomes=NUM_FACES + 1,
        outcome_names=("no die", *(str(face + 1) for face in range(NUM_FACES))),
    )


class Pig(ChanceBoard):
    """A batch of races to `target` points; see `ChanceBoard`.

    A player rolls a die as often as they like. Each face but 1 adds its points to the turn's; a 1 loses these, and the
    turn passes. Holding makes them safe and passes the turn. Whoever has `target` points, those of the turn included,
    has won: reward 1. The outcome is the face, or 0 of a hold, where no die is thrown.
    """

    def __init__(self, batch_size: int, target: int = TARGET) -> None:
        require_whole("pig", LEAST_TARGET, LARGEST_TARGET, target=target)
        super().__init__(_spec(target), batch_size, RULES, (target,), start=np.zeros(3, np.int8))
        self.target = target
        self.largest_cell = target + NUM_FACES

    def observe(self, planes: NDArray[Any]) -> None:
        """See `Board`."""
        _observe(self.board, self._to_play, planes)

    def solved_positions(self) -> SolvedPositions:
        """See `Solved`: all that play can reach; values are mean returns, 1 for a sure win."""
        own, other, turn = _positions(self.target)
        game = Pig(len(own), self.target)
        game.board[:] = np.stack([own, other, turn], axis=1)
        game._running[:] = True
        values = _solution(self.target)[own, other, turn]
        arrays = (game.observation(), game.legal(), values)
        for array in arrays:
            array.setflags(write=False)
        return SolvedPositions(*arrays)

    def optimal_actions(self) -> NDArray[np.bool_]:
        """See `Solved`."""
        rows, player = np.arange(self.batch_size), self._to_play
        turn = np.minimum(self.board[:, TURN], self.target - 1)  # a finished copy may hold the target
        values = _solution(self.target)[self._safe(rows, player), self._safe(rows, 1 - player), turn]
        return np.asarray(self.legal() & (values >= values.max(axis=1, keepdims=True) - CLOSE))

    def _safe(self, rows: NDArray[np.int64], player: NDArray[np.int8]) -> NDArray[np.int8]:
        return np.asarray(self.board[rows, player])

    def play_value(self, action: NDArray[np.int32]) -> float:
        """See `RatesPlay`."""
        play = np.full((2, *(self.target,) * 3), BEST, np.int8)
        play[0][_positions(self.target)] = action
        mine, theirs = _settled(play)
        return float(mine[0, 0, 0, ROLL] - theirs[0, 0, 0, ROLL]) / 2

    def render(self, row: int) -> str:
        """The points of copy `row`, and those of the turn behind whose turn it is."""
        first, second, turn = self.board[row].tolist()
        points = [f"player {player + 1}: {own}" for player, own in enumerate((first, second))]
        points[self._to_play[row]] += f" + {turn}"
        return f"{', '.join(points)}, to {self.target}"


@functools.cache
def _positions(target: int) -> tuple[NDArray[np.int64], ...]:
    """`[N]` each: the points of the player to move, the other's, and those of the turn, wherever play can come.

    No points at all can be 1: a 1 is what loses them.
    """
    there = np.ones((target,) * 3, np.bool_)
    for axis in range(3):
        there.swapaxes(0, axis)[1] = False
    own, _, turn = np.ogrid[:target, :target, :target]
    return np.nonzero(there & (own + turn < target))


@functools.cache
def _solution(target: int) -> NDArray[np.float64]:
    """`[T, T, T, 2]` what rolling and holding are worth where both play their best.

    By the points of the player to move, the other's and the turn's; behind the target it says nothing.
    """
    values: NDArray[np.float64] = _settled(np.full((2, target, target, target), BEST, np.int8))[0]
    return values


def _settled(play: NDArray[np.int8]) -> NDArray[np.float64]:
    """`[2, T, T, T, 2]` what rolling and holding are worth to two players who play `play` `[2, T, T, T]`."""
    values = np.zeros((*play.shape, 2))
    _settle(values, play)
    return values


@search_kernel
def _settle(values: NDArray[np.float64], play: NDArray[np.int8]) -> None:
    """Value iteration, from the end of the game: a race only goes back to positions of the same points in safety.

    V(i, j, k) = max((-V(j, i, 0) + sum of V(i, j, k + f) for f from 2 to 6) / 6, -V(j, i + k, 0)), and 1 where i + k
    reaches the target: Neller and Presser 2004, section 3, with returns of 1 and -1 for chances to win.
    """
    target = values.shape[1]
    for points in range(2 * target - 2, -1, -1):
        for own in range(max(0, points - target + 1), min(points, target - 1) + 1):
            change = np.inf
            while change > CLOSE:
                other = points - own
                change = max(_sweep(values, play, 0, own, other), _sweep(values, play, 1, other, own))


@search_kernel
def _sweep(values: NDArray[np.float64], play: NDArray[np.int8], player: int, own: int, other: int) -> float:
    """Values of a player's turns at such points in safety; the largest change."""
    target, change = values.shape[1], 0.0
    passed = -_worth(values, play, 1 - player, other, own, 0)
    for turn in range(target - 1 - own, -1, -1):
        roll, hold = passed, -np.inf
        for face in range(2, NUM_FACES + 1):
            wins = own + turn + face >= target
            roll += 1.0 if wins else _worth(values, play, player, own, other, turn + face)
        if turn > 0:
            hold = -_worth(values, play, 1 - player, other, own + turn, 0)
        change = max(change, abs(roll / NUM_FACES - values[player, own, other, turn, ROLL]))
        values[player, own, other, turn, ROLL] = roll / NUM_FACES
        values[player, own, other, turn, HOLD] = hold
    return change


@search_kernel
def _worth(values: NDArray[np.float64], play: NDArray[np.int8], player: int, own: int, other: int, turn: int) -> float:
    """Of a position to its player to move, who plays as `play` says."""
    action = play[player, own, other, turn]
    roll, hold = values[player, own, other, turn]
    if action == BEST:
        action = ROLL if roll >= hold else HOLD
    return float(roll if action == ROLL else hold)


@search_kernel
def _begin(cells: NDArray[np.int8], settings: NDArray[np.int64], chance: NDArray[np.uint64], b: int) -> None:
    """A race begins with no points."""


@search_kernel
def _mark_legal(cells: NDArray[np.int8], player: int, settings: NDArray[np.int64], legal: NDArray[np.bool_]) -> None:
    """Fill legal `[2]`."""
    legal[ROLL] = True
    legal[HOLD] = cells[TURN] > 0


@search_kernel
def _play(
    cells: NDArray[np.int8], player: int, action: int, settings: NDArray[np.int64], chance: NDArray[np.uint64], b: int
) -> tuple[float, int, bool, bool]:
    """Throw a die or hold; see `ChanceRules`."""
    if action == HOLD:
        cells[player] += cells[TURN]
        cells[TURN] = 0
        return 0.0, 0, True, False
    face = 1 + int(NUM_FACES * draw(chance, b))
    if face == 1:
        cells[TURN] = 0
        return 0.0, face, True, False
    cells[TURN] += face
    wins = cells[player] + cells[TURN] >= settings[0]
    return (1.0 if wins else 0.0), face, False, wins


RULES = ChanceRules("pig", _begin, _mark_legal, _play)


@search_kernel
def _observe(board: NDArray[np.int8], to_play: NDArray[np.int8], rows: NDArray[np.uint8]) -> None:
    """Fill rows `[B, 3, target]`."""
    for b in range(len(board)):
        own, other, turn = board[b, to_play[b]], board[b, 1 - to_play[b]], board[b, TURN]
        for point in range(rows.shape[2]):
            rows[b, 0, point] = point < own
            rows[b, 1, point] = point < other
            rows[b, 2, point] = point < turn
