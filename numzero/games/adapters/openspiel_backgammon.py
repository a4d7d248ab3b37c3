"""Backgammon on OpenSpiel's rules by a count of pips, shots and points: an opponent that is the same everywhere.

A linear evaluator of one move ahead, of the kind of Tesauro's pubeval, but with five weights that were chosen by hand
and never trained. Knows pyspiel's boards of backgammon; knows nothing of who plays against it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero.games.adapters.openspiel import SpielGame
from numzero.games.base import Game

__all__ = ["BackgammonCount", "position_worth"]

_State = Any

NUM_POINTS = 24
BAR = 100
"""OpenSpiel's number of the bar."""
SHOTS = np.array([0, 11, 12, 14, 15, 15, 17, 6, 6, 5, 3, 2, 3, 0, 0, 1, 1, 0, 1, 0, 1, 0, 0, 0, 1, 0], np.float64)
"""`[26]` in how many of 36 rolls a checker so many pips away hits, if nothing stands in between."""
HOME, HOME_POINT, OTHER_POINT = 6, 3.0, 1.0
"""Pips that two checkers on a point are worth, in one's home board and elsewhere."""
BORNE_OFF = 2.0
"""Pips that a checker is worth which left the board, beside those that it walked."""


class BackgammonCount:
    """Plays the move behind which it counts most for itself, and least for the other; the first of equals."""

    def choose(self, game: Game, rng: np.random.Generator) -> NDArray[np.int32]:
        """`[B]` a legal action for each running copy; else 0."""
        del rng
        assert isinstance(game, SpielGame)
        chosen = np.zeros(game.batch_size, np.int32)
        for row in np.flatnonzero(game.legal().any(axis=1)):
            chosen[row] = _best_move(game.state(int(row)))
        return chosen


def _best_move(state: _State) -> int:
    player = state.current_player()
    return int(max(state.legal_actions(), key=lambda action: position_worth(state.child(action), player)))


def position_worth(state: _State, player: int) -> float:
    """Pips that a position is worth to `player`, 0 or 1: what is counted for them less what is for the other."""
    mine, other = _checkers(state, player), _checkers(state, 1 - player)
    return _count(mine, other) - _count(other, mine)


def _checkers(state: _State, player: int) -> NDArray[np.int64]:
    """`[26]` how many checkers of `player` have so many pips to go; 25 is the bar, and 0 is off the board."""
    ways = [state.board(player, NUM_POINTS - pips if player == 0 else pips - 1) for pips in range(1, NUM_POINTS + 1)]
    on_board = [*ways, state.board(player, BAR)]
    return np.array([15 - sum(on_board), *on_board])


def _count(mine: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """What is counted for one player. mine, other: as `_checkers` says, each from their own side."""
    pips = np.arange(len(mine))
    points = mine[1 : NUM_POINTS + 1] >= 2
    worth = BORNE_OFF * mine[0] - mine @ pips
    worth += HOME_POINT * points[:HOME].sum() + OTHER_POINT * points[HOME:].sum()
    for blot in np.flatnonzero(mine[1 : NUM_POINTS + 1] == 1) + 1:
        ahead = pips[1:] - (NUM_POINTS + 1 - blot)  # [25] pips from each of the other's places to the blot
        shots = SHOTS[ahead[(other[1:] > 0) & (ahead > 0)]].sum()
        worth -= min(1.0, shots / 36) * (NUM_POINTS + 1 - blot)  # what was walked is lost
    return float(worth)
