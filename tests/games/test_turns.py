"""Signs: one home, and games that say something else about their turns are found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numzero.errors import UserError
from numzero.games import GameContractError, check_game, make_game
from numzero.games.turns import edge_discounts, for_first_player, model_discount, rescaled, turn_gamma
from tests.games.turns import Twice


@pytest.mark.parametrize(("game", "expected"), [("tictactoe", -0.5), ("CartPole-v1", 0.5)])
def test_edges_turn_the_sign_where_two_alternate(game: str, expected: float) -> None:
    """A model's discount is negative exactly where the value behind an edge is the opponent's."""
    assert model_discount(make_game(game, 1).spec, 0.5) == expected


def test_where_turns_vary_the_model_tells_the_sign() -> None:
    """The constant is gamma then, and the prediction decides."""
    spec = Twice(1).spec
    assert turn_gamma(spec, 0.5) == model_discount(spec, 0.5) == 0.5
    assert turn_gamma(make_game("tictactoe", 1).spec, 0.5) is None


def test_a_game_that_declares_its_turns_keeps_the_contract() -> None:
    """Player 1 moves twice in a row, and says so."""
    check_game(Twice(4))


def test_a_turn_that_stays_undeclared_is_found() -> None:
    """The message names the field, the step and the remedy."""
    with pytest.raises(GameContractError, match=r"to_play must pass .* at step 1 .* turns='vary'"):
        check_game(Twice(4, turns="alternate"))


players = st.lists(st.integers(0, 1), min_size=2, max_size=12)


@given(players, st.floats(0.5, 1.0), st.lists(st.floats(-10, 10), min_size=12, max_size=12))
def test_returns_by_discounts_are_returns_by_players(to_play: list[int], gamma: float, reward: list[float]) -> None:
    """return[t] = reward[t] + discount[t] return[t + 1] is what t's player gains less what the other does."""
    mover = np.array(to_play, np.int8)
    last = len(to_play) - 2
    ends = np.arange(last + 1) == last
    discount = edge_discounts(mover[:-1], mover[1:], ends, gamma)
    value = 0.0
    for t in range(last, -1, -1):
        value = reward[t] + discount[t] * value
    expected = sum(gamma**t * reward[t] * (1 if mover[t] == mover[0] else -1) for t in range(last + 1))
    assert value == pytest.approx(expected, abs=1e-9)
    np.testing.assert_allclose(rescaled(discount.astype(np.float32), 1.0), np.sign(discount))


def test_rewards_are_turned_to_the_first_player() -> None:
    """What the second player gains the first one loses."""
    seen = for_first_player(np.array([1.0, 1.0], np.float32), np.array([0, 1], np.int8))
    assert seen.tolist() == [1.0, -1.0]


def test_turns_vary_between_two_players_only() -> None:
    """A game of one that declares otherwise is told."""
    game = Twice(2)
    game.spec = type(game.spec)(**{**{f: getattr(game.spec, f) for f in game.spec.__struct_fields__}, "num_players": 1})
    with pytest.raises(UserError, match="two players only"):
        check_game(game)
