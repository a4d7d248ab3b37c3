"""Pig: the compiled rules and exact play against slow twins, and what a way of playing comes to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numzero.errors import UserError
from numzero.games import STAY, Pig, check_game, game_spec, is_solved, make_game
from numzero.games.boards.pig import HOLD, ROLL
from tests.reference import pig as reference

RNG = np.random.default_rng(0)


def started(batch_size: int, target: int = 20) -> Pig:
    game = Pig(batch_size, target)
    game.reset(np.ones(batch_size, np.bool_), RNG)
    return game


def state_of(game: Pig, row: int) -> reference.State:
    """As the twin has it."""
    points, mover = game.board[row].tolist(), int(game.to_play()[row])
    return points[mover], points[1 - mover], points[2]


@pytest.mark.parametrize("name", ["pig", "pig(target=2)", "pig(target=100)"])
def test_it_keeps_the_contract_of_games(name: str) -> None:
    """`check_game` finds nothing, whatever the target."""
    check_game(make_game(name, 5))


@given(choices=st.lists(st.lists(st.booleans(), min_size=30, max_size=30), min_size=1, max_size=4))
def test_batches_play_as_the_twin_plays_alone(choices: list[list[bool]]) -> None:
    """Points, turns, wins, what is shown and legal, step by step; a hold has outcome 0."""
    game = started(len(choices), target=12)
    for turn in range(30):
        states, movers = [state_of(game, b) for b in range(len(choices))], game.to_play().tolist()
        legal = [reference.legal(state) for state in states]
        assert game.legal().tolist() == [[True, "hold" in names] for names in legal]
        moves = [names[-1] if row[turn] else "roll" for names, row in zip(legal, choices, strict=True)]
        shown = [[[int(p < points) for p in range(12)] for points in state] for state in states]
        assert game.observation().tolist() == shown
        result = game.step(np.array([["roll", "hold"].index(move) for move in moves], np.int32))
        assert result.outcome is not None
        for b, move in enumerate(moves):
            face = int(result.outcome[b])
            assert (face == 0) == (move == "hold")
            after, passed, won = reference.play(states[b], move, face, 12)
            assert (state_of(game, b), bool(game.to_play()[b] != movers[b])) == (after, passed)
            assert (result.reward[b], result.terminated[b]) == (float(won), won)
        game.reset(result.terminated, RNG)


def test_the_die_is_fair() -> None:
    """Of 12,000 rolls each face has a sixth."""
    outcome = started(12000).step(np.zeros(12000, np.int32)).outcome
    assert outcome is not None
    np.testing.assert_allclose(np.bincount(outcome, minlength=7) / 12000, [0] + [1 / 6] * 6, atol=0.02)


def test_exact_play_is_that_of_plain_value_iteration() -> None:
    """Every position that play can reach is listed once, with what each move is worth."""
    positions, values = Pig(1, 9).solved_positions(), reference.solve(9)
    points = positions.observation.sum(axis=2).tolist()
    assert sorted(map(tuple, points)) == sorted(reference.reachable(9))
    for state, legal, found in zip(points, positions.legal, positions.action_values, strict=True):
        names = reference.legal(tuple(state))
        assert legal.tolist() == [True, "hold" in names]
        expected = [reference.action_value(values, tuple(state), name, 9) for name in names]
        np.testing.assert_allclose(found[: len(names)], expected, atol=1e-8)


def test_who_holds_never_is_right_in_short_races_only() -> None:
    """To 20 points every turn is best rolled to the end; to 50 there is something to learn."""
    for target, always_right in ((20, True), (50, False)):
        positions = Pig(1, target).solved_positions()
        may_hold = positions.action_values[positions.legal[:, HOLD]]
        assert (may_hold[:, ROLL] >= may_hold[:, HOLD]).all() == always_right
    assert game_spec("pig").observation_shape == (3, 50)


@pytest.mark.slow
def test_the_first_player_of_the_race_to_100_wins_as_often_as_published() -> None:
    """53.06 %, Neller and Presser 2004."""
    value = Pig(1, 100).solved_positions().action_values[0, ROLL]
    assert (1 + value) / 2 == pytest.approx(0.5306, abs=5e-5)


def test_optimal_actions_are_the_best_ones_everywhere() -> None:
    """In running copies; finished ones have none, with the turn's points beyond the target too."""
    game, positions = started(1, 9), Pig(1, 9).solved_positions()
    for observation, legal, values in zip(positions.observation, positions.legal, positions.action_values, strict=True):
        game.board[0] = observation.sum(axis=1)
        best = np.where(legal, values, -np.inf).max()
        assert game.optimal_actions()[0].tolist() == [bool(legal[a] and values[a] > best - 1e-9) for a in range(2)]
    game.board[0] = [5, 0, 9]
    game._running[:] = False
    assert not game.optimal_actions().any()


def test_a_way_of_playing_is_worth_what_its_games_come_to() -> None:
    """Best play 0 against itself; holding at 5 what 20,000 games in both seats say, to within three deviations."""
    positions = Pig(1, 9).solved_positions()
    legal_values = np.where(positions.legal, positions.action_values, -np.inf)
    assert Pig(1, 9).play_value(legal_values.argmax(axis=1).astype(np.int32)) == pytest.approx(0.0, abs=1e-9)
    turn = positions.observation[:, 2].sum(axis=1)
    worth = Pig(1, 9).play_value(np.where(turn >= 5, HOLD, ROLL).astype(np.int32))
    game, seat = started(20_000, 9), np.arange(20_000) % 2
    total, running = np.zeros(20_000), np.ones(20_000, np.bool_)
    while running.any():
        best = game.optimal_actions().argmax(axis=1)
        mine = game.to_play() == seat
        action = np.where(mine, np.where(game.board[:, 2] >= 5, HOLD, ROLL), best)
        result = game.step(np.where(running, action, STAY).astype(np.int32))
        total += np.where(mine, result.reward, -result.reward)
        running &= ~result.terminated
    assert worth < -0.05
    assert total.mean() == pytest.approx(worth, abs=0.021)


def test_the_target_is_an_argument_of_the_name() -> None:
    """Bounded, whole, and told by the spec; the race is solved."""
    assert game_spec("pig(target=30)").observation_shape == (3, 30)
    assert is_solved("pig(target=30)")
    for wrong in ("1", "101", "2.5", "true"):
        with pytest.raises(UserError, match="target of pig must be a whole number from 2 to 100"):
            make_game(f"pig(target={wrong})", 1)


def test_a_position_is_told_in_words() -> None:
    """Whose turn it is, and what the turn has."""
    game = started(1)
    game.board[0], game._to_play[0] = [3, 14, 5], 1
    assert game.render(0) == "player 1: 3, player 2: 14 + 5, to 20"
