"""Backgammon on OpenSpiel's rules by a count of pips, shots and points; see `games.boards.backgammon_count`.

Knows pyspiel's boards of backgammon; knows nothing of who plays against it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero.games.adapters.openspiel import SpielGame
from numzero.games.base import Game
from numzero.games.boards.backgammon import NUM_CHECKERS, NUM_POINTS
from numzero.games.boards.backgammon_count import worth

__all__ = ["SpielBackgammonCount", "position_worth"]

_State = Any

BAR = 100
"""OpenSpiel's number of the bar."""


class SpielBackgammonCount:
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
    return worth(_checkers(state, player), _checkers(state, 1 - player))


def _checkers(state: _State, player: int) -> NDArray[np.int64]:
    """`[26]` how many checkers of `player` have so many pips to go; 25 is the bar, and 0 is off the board."""
    ways = [state.board(player, NUM_POINTS - pips if player == 0 else pips - 1) for pips in range(1, NUM_POINTS + 1)]
    on_board = [*ways, state.board(player, BAR)]
    return np.array([NUM_CHECKERS - sum(on_board), *on_board])
