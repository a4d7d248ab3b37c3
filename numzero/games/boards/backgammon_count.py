"""A count of pips, shots and points in backgammon, and who plays by it: an opponent that is the same everywhere.

A linear evaluator of one turn ahead, of the kind of Tesauro's pubeval, but with five weights that were chosen by hand
and never trained. Knows where checkers are; knows nothing of who plays against it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from numzero.games.base import Game
from numzero.games.boards.backgammon import BAR, HOME, NUM_POINTS, OFF, SIDE, Backgammon

__all__ = ["BackgammonCount", "worth"]

SHOTS = np.array([0, 11, 12, 14, 15, 15, 17, 6, 6, 5, 3, 2, 3, 0, 0, 1, 1, 0, 1, 0, 1, 0, 0, 0, 1, 0], np.float64)
"""`[26]` in how many of 36 rolls a checker so many pips away hits, if nothing stands in between."""
HOME_POINT, OTHER_POINT = 3.0, 1.0
"""Pips that two checkers on a point are worth, in one's home board and elsewhere."""
BORNE_OFF = 2.0
"""Pips that a checker is worth which left the board, beside those that it walked."""


class BackgammonCount:
    """Plays the turn behind which it counts most for itself, and least for the other; the first of equals."""

    def choose(self, game: Game, rng: np.random.Generator) -> NDArray[np.int32]:
        """`[B]` a legal action for each running copy; else 0."""
        del rng
        assert isinstance(game, Backgammon)
        chosen, positions = np.zeros(game.batch_size, np.int32), game.positions()
        for row in np.flatnonzero(game.legal().any(axis=1)):
            chosen[row] = _best_move(positions[row])
        return chosen


def _best_move(position: NDArray[np.uint8]) -> int:
    """Of the turn that the position is in, by all positions that it may end in."""
    game, everyone = Backgammon(1), np.ones(1, np.bool_)
    game.place(everyone, position[None])
    player, best = int(game.to_play()[0]), (-np.inf, 0)
    waiting, seen = [(position, -1)], set[bytes]()
    for before, begun in waiting:  # which grows
        game.place(everyone, before[None])
        for action in np.flatnonzero(game.legal()[0]).tolist():
            game.place(everyone, before[None])
            game.step(np.array([action], np.int32))
            first, cells = action if begun < 0 else begun, game.board[0]
            if game.to_play()[0] != player or not game.running()[0]:
                best = max(best, (worth(_checkers(cells, player), _checkers(cells, 1 - player)), -first))
            elif cells.tobytes() not in seen:
                seen.add(cells.tobytes())
                waiting.append((game.positions()[0].copy(), first))
    return -best[1]


def _checkers(cells: NDArray[np.int8], player: int) -> NDArray[np.int64]:
    """`[26]` how many checkers of `player` have so many pips to go; 25 is the bar, and 0 is off the board."""
    side = cells[player * SIDE : player * SIDE + SIDE].astype(np.int64)
    return np.concatenate([side[OFF:], side[:NUM_POINTS], side[BAR:OFF]])


def worth(mine: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Pips that a position is worth to a player: what is counted for them less what is for the other.

    mine, other: `[26]` how many checkers have so many pips to go, each from their own side; 25 is the bar, 0 is off.
    """
    return _count(mine, other) - _count(other, mine)


def _count(mine: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """What is counted for one player."""
    pips = np.arange(len(mine))
    points = mine[1 : NUM_POINTS + 1] >= 2
    worth = BORNE_OFF * mine[0] - mine @ pips
    worth += HOME_POINT * points[:HOME].sum() + OTHER_POINT * points[HOME:].sum()
    for blot in np.flatnonzero(mine[1 : NUM_POINTS + 1] == 1) + 1:
        ahead = pips[1:] - (NUM_POINTS + 1 - blot)  # [25] pips from each of the other's places to the blot
        shots = SHOTS[ahead[(other[1:] > 0) & (ahead > 0)]].sum()
        worth -= min(1.0, shots / 36) * (NUM_POINTS + 1 - blot)  # what was walked is lost
    return float(worth)
