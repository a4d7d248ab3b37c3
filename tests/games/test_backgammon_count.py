"""The player that counts in backgammon counts what it says, plays whole turns, and is no random player."""

from __future__ import annotations

import numpy as np
import pytest

from numzero.errors import UserError
from numzero.games import game_spec, make_game
from numzero.games.boards import backgammon_count as backgammon
from numzero.games.boards.backgammon import DICE, SIDE, Backgammon
from numzero.judging.evaluate import match
from numzero.judging.opponents import RandomPlayer, named_opponent


def test_a_blot_costs_by_who_may_hit_it() -> None:
    """Six pips before a checker of the other's 17 of 36 rolls take what was walked; behind all of them none do."""
    mine, other = np.zeros(26, np.int64), np.zeros(26, np.int64)
    mine[10], mine[0], other[0] = 1, 14, 14
    other[21] = 1  # 6 pips away: from this side at 25 - 21 = 4 pips to go, and the blot at 10
    base = 14 * backgammon.BORNE_OFF - 10
    assert backgammon._count(mine, other) == pytest.approx(base - 17 / 36 * 15)
    other[21], other[5] = 0, 1
    assert backgammon._count(mine, other) == pytest.approx(base)


def test_what_a_position_is_worth_to_one_it_costs_the_other() -> None:
    """And at the start nothing; the checkers are those of the board, 167 pips each."""
    game = make_game("backgammon", 4)
    assert isinstance(game, Backgammon)
    game.reset(np.ones(4, np.bool_), np.random.default_rng(0))
    sides = [backgammon._checkers(game.board[0], player) for player in (0, 1)]
    assert [int(side @ np.arange(26)) for side in sides] == [167, 167]
    assert backgammon.worth(*sides) == 0.0
    game.play_randomly(np.full(4, 60), np.random.default_rng(1))
    for cells in game.board:
        mine, other = (backgammon._checkers(cells, player) for player in (0, 1))
        assert mine.sum() == other.sum() == 15
        assert backgammon.worth(mine, other) == -backgammon.worth(other, mine)


def test_it_looks_at_the_whole_turn() -> None:
    """3-1 from the start makes the point on 5: first either of 8/5 and 6/5, then the other."""
    game, names = Backgammon(1), Backgammon(1).spec.action_names
    game.reset(np.ones(1, np.bool_), np.random.default_rng(0))
    game.board[0, DICE:] = [1, 0, 1, 0, 0, 0]
    player, rng = backgammon.BackgammonCount(), np.random.default_rng(0)
    first = player.choose(game, rng)
    assert game.step(first).outcome == 0
    second = player.choose(game, rng)
    assert {names[first[0]], names[second[0]]} == {"8/5", "6/5"}
    game.step(second)
    assert game.board[0, 4] == 2
    assert game.board[0, SIDE:DICE].sum() == 15


def test_it_beats_random_play_and_gains_are_told() -> None:
    """In 12 games, 10 or more; a gammon counts two, so what a game brings is told with its interval."""
    player = named_opponent("backgammon-count", game_spec("backgammon"))
    scores = match("backgammon", player, RandomPlayer(), games=12, seed=0)
    assert scores["wins"] >= 10
    assert scores["gain_low"] < scores["mean_gain"] < scores["gain_high"] <= 3.0
    assert scores["mean_gain"] > 0.9


def test_it_plays_nothing_else() -> None:
    """It says what it plays."""
    with pytest.raises(UserError, match=r"plays backgammon and openspiel:backgammon only; this game is pig\."):
        named_opponent("backgammon-count", game_spec("pig"))
