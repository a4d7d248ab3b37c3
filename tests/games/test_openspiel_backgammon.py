"""The player that counts in OpenSpiel's backgammon counts what it says, and is no random player."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numzero.errors import UserError
from numzero.games import make_game
from numzero.judging.evaluate import match
from numzero.judging.opponents import RandomPlayer, named_opponent

backgammon = pytest.importorskip("numzero.games.adapters.openspiel_backgammon", reason="OpenSpiel is not installed")
pyspiel = pytest.importorskip("pyspiel")

FULL = 'openspiel:backgammon(scoring_type="full_scoring")'


def random_state(moves: int, seed: int) -> Any:
    """A position of OpenSpiel's after so many random events, chance or not."""
    state, rng = pyspiel.load_game("backgammon").new_initial_state(), np.random.default_rng(seed)
    while moves > 0 or state.is_chance_node():
        if state.is_terminal():
            break
        state.apply_action(int(rng.choice(state.legal_actions())))
        moves -= 1
    return state


def test_the_start_has_167_pips_each() -> None:
    """Fifteen checkers, on the points 24, 13, 8 and 6."""
    state = pyspiel.load_game("backgammon").new_initial_state()
    for player in (0, 1):
        checkers = backgammon._checkers(state, player)
        assert checkers @ np.arange(26) == 167
        assert {int(pips): int(checkers[pips]) for pips in np.flatnonzero(checkers)} == {24: 2, 13: 5, 8: 3, 6: 5}


@pytest.mark.parametrize("seed", range(20))
def test_what_a_position_is_worth_to_one_it_costs_the_other(seed: int) -> None:
    """And no checker is lost in counting."""
    state = random_state(10 * seed, seed)
    assert backgammon.position_worth(state, 0) == -backgammon.position_worth(state, 1)
    for player in (0, 1):
        checkers = backgammon._checkers(state, player)
        assert checkers.sum() == 15
        assert checkers.min() >= 0


def test_it_beats_random_play_and_gains_are_told() -> None:
    """In 20 games, 17 or more; a gammon counts two, so what a game brings is told with its interval."""
    player = named_opponent("backgammon-count", make_game(FULL, 1).spec)
    scores = match(FULL, player, RandomPlayer(), games=20, seed=0)
    assert scores["wins"] >= 17
    assert scores["gain_low"] < scores["mean_gain"] < scores["gain_high"] <= 3.0
    assert scores["mean_gain"] > 0.9


def test_it_plays_nothing_else() -> None:
    """It says what it plays."""
    with pytest.raises(
        UserError, match=r"backgammon-count plays backgammon and openspiel:backgammon only; this game is openspiel:pig"
    ):
        named_opponent("backgammon-count", make_game("openspiel:pig", 1).spec)
