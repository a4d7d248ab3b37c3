"""Backgammon: the compiled rules against a slow twin that lists whole turns, and against OpenSpiel's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numzero.games import check_game, make_game
from numzero.games.boards.backgammon import BAR, DICE, OFF, PASS, SIDE, Backgammon
from tests.reference import backgammon as reference

NAMES = Backgammon(1).spec.action_names


def started(batch_size: int, seed: int = 0) -> Backgammon:
    game = Backgammon(batch_size)
    game.reset(np.ones(batch_size, np.bool_), np.random.default_rng(seed))
    return game


def side_of(cells: Any) -> reference.Side:
    """A side as the twin has it."""
    return (int(cells[OFF]), *map(int, cells[:24]), int(cells[BAR]))


def state_of(game: Backgammon, row: int) -> tuple[reference.Side, reference.Side, tuple[int, ...]]:
    """The mover's side, the other's, and the dice that are left."""
    cells, mover = game.board[row], int(game.to_play()[row])
    sides = [side_of(cells[player * SIDE :]) for player in (mover, 1 - mover)]
    dice = tuple(face + 1 for face in range(6) for _ in range(int(cells[DICE + face])))
    return sides[0], sides[1], dice


def put(mine: dict[int, int], other: dict[int, int], dice: list[int]) -> Backgammon:
    """One game in a position: points (25 the bar, 0 off) and how many there are; player 1 moves."""
    game = started(1)
    game.board[0] = 0
    for player, side in enumerate((mine, other)):
        for point, count in side.items():
            cell = {0: OFF, 25: BAR}.get(point, point - 1)
            game.board[0, player * SIDE + cell] = count
    for face in dice:
        game.board[0, DICE + face - 1] += 1
    return game


def names_of(game: Backgammon) -> set[str]:
    """Of what is legal in the first game."""
    return {NAMES[action] for action in np.flatnonzero(game.legal()[0])}


def moves_of(legal: Any) -> set[reference.Move]:
    """As the twin writes them."""
    return {(int(action) // 25 + 1, int(action) % 25 + 1) for action in np.flatnonzero(legal) if action != PASS}


def test_it_keeps_the_contract_of_games() -> None:
    """`check_game` finds nothing."""
    check_game(make_game("backgammon", 5))


@given(seed=st.integers(0, 2**32 - 1))
def test_games_go_as_the_twin_plays_them(seed: int) -> None:
    """What is legal, what a move does, whose turn it is and what a game brings, move by move, three games at once."""
    game, rng = started(3, seed), np.random.default_rng(seed)
    begun = [state_of(game, b)[2] for b in range(3)]
    assert all(len(set(dice)) == 2 for dice in begun)
    for _ in range(25):
        legal, states, movers = game.legal().copy(), [state_of(game, b) for b in range(3)], game.to_play().tolist()
        for b, state in enumerate(states):
            assert moves_of(legal[b]) == reference.first_moves(*state)
            assert legal[b, PASS] == (not reference.first_moves(*state))
        action = (rng.random(legal.shape) * legal).argmax(axis=1).astype(np.int32)
        result = game.step(action)
        assert result.outcome is not None
        for b, (mine, other, dice) in enumerate(states):
            rest = list(dice)
            if action[b] != PASS:
                die, point = int(action[b]) // 25 + 1, int(action[b]) % 25 + 1
                after = reference.moved(mine, other, die, point)
                assert after is not None
                mine, other = after
                rest.remove(die)
            won = mine[0] == 15
            goes_on = not won and bool(action[b] != PASS) and bool(reference.first_moves(mine, other, tuple(rest)))
            assert (result.reward[b], result.terminated[b]) == (reference.gain(other) if won else 0.0, won)
            assert (result.outcome[b] == 0) == (won or goes_on)
            assert (game.to_play()[b] == movers[b]) == (won or goes_on)
            if goes_on:
                assert state_of(game, b) == (mine, other, tuple(rest))
            elif not won:
                assert state_of(game, b)[:2] == (other, mine)
                high, low = max(state_of(game, b)[2]), min(state_of(game, b)[2])
                assert game.spec.outcome_names[result.outcome[b]] == f"{high}-{low}"
        game.reset(result.terminated, rng)


@given(seed=st.integers(0, 2**32 - 1), moves=st.integers(0, 400))
def test_what_is_shown_is_what_there_is(seed: int, moves: int) -> None:
    """Of a position somewhere in random play: counts, sides and dice by the words of the spec."""
    game = started(1, seed)
    game.play_randomly(np.array([moves]), np.random.default_rng(seed))
    mine, other, dice = state_of(game, 0)
    rows = game.observation()[0]
    for i, least in enumerate((1, 2, 3, 4, 5, 7)):
        assert rows[i].tolist() == [int(mine[point] >= least) for point in range(1, 25)]
        assert rows[6 + i].tolist() == [int(other[25 - point] >= least) for point in range(1, 25)]
    for i, count in enumerate((mine[25], mine[0], other[25], other[0])):
        assert rows[12 + i].tolist() == [int(n < count) for n in range(24)]
    assert rows[16].tolist() == [int(n < dice.count(face)) for face in range(1, 7) for n in range(4)]
    assert sum(mine) == sum(other) == 15


def test_both_dice_are_played_where_they_can_be() -> None:
    """A checker that could go either way first must go the way that leaves the other one a move."""
    game = put({24: 1, 0: 14}, {7: 2, 2: 2, 0: 11}, [6, 1])  # the other holds 18 and 23
    assert names_of(game) == {"pass"}
    game = put({24: 1, 0: 14}, {6: 2, 0: 13}, [5, 2])  # holds 19: 24/22/17 alone
    assert names_of(game) == {"24/22"}


def test_the_higher_die_is_played_where_one_alone_can_be() -> None:
    """Either could, and behind neither the other one."""
    game = put({24: 1, 0: 14}, {8: 2, 0: 13}, [4, 3])  # holds 17, where both together lead
    assert names_of(game) == {"24/20"}


def test_the_bar_comes_first_and_bearing_off_last() -> None:
    """Nothing moves beside a checker on the bar; none is borne off before all are home; high dice take the highest."""
    assert names_of(put({25: 1, 6: 14}, {1: 2, 0: 13}, [4, 3])) == {"bar/21", "bar/22"}
    assert "6/off" not in names_of(put({7: 1, 6: 14}, {1: 15}, [6, 5]))
    assert names_of(put({5: 1, 3: 1, 0: 13}, {1: 15}, [6, 5])) == {"5/off(6)", "5/off"}
    assert names_of(put({5: 2, 3: 1, 0: 12}, {1: 15}, [4, 4, 4, 4])) == {"5/1"}


@pytest.mark.parametrize(
    ("other", "gain"), [({1: 14, 0: 1}, 1.0), ({1: 15}, 2.0), ({1: 14, 19: 1}, 3.0), ({1: 14, 25: 1}, 3.0)]
)
def test_a_win_brings_up_to_three(other: dict[int, int], gain: float) -> None:
    """By what the loser has off, and whether one is on the bar or in the winner's home."""
    game = put({1: 1, 0: 14}, other, [1])
    result = game.step(np.array([NAMES.index("1/off")], np.int32))
    assert (result.reward[0], result.terminated[0], game.to_play()[0]) == (gain, True, 0)
    assert not game.legal().any()


def test_the_dice_are_fair() -> None:
    """Of 20,000 throws each double has a 36th, each other pair two; the first of a game are no double."""
    game, counts = started(4000), np.zeros(22)
    while counts.sum() < 20_000:
        legal = game.legal()
        result = game.step((np.random.default_rng(1).random(legal.shape) * legal).argmax(axis=1).astype(np.int32))
        assert result.outcome is not None
        counts += np.bincount(result.outcome[result.outcome > 0], minlength=22)
    expected = [1 if name.split("-")[0] == name.split("-")[1] else 2 for name in game.spec.outcome_names[1:]]
    np.testing.assert_allclose(counts[1:] / counts.sum(), np.array(expected) / 36, atol=0.008)


def test_a_position_is_told_in_words() -> None:
    """As the player to move sees it."""
    lines = put({24: 2, 6: 13}, {25: 15}, [6, 6]).render(0).splitlines()
    assert [line.split() for line in lines[1:3]] == [[*["."] * 11, "x2"], [*["."] * 6, "x13", *["."] * 5]]
    assert lines[-1] == "player 1 is x; x 0 on the bar, 0 off, o 15 on the bar, 0 off; dice 6 6"


def spiel_side(state: Any, player: int) -> reference.Side:
    """Of OpenSpiel's board."""
    points = [state.board(player, 24 - pips if player == 0 else pips - 1) for pips in range(1, 25)]
    bar = state.board(player, 100)
    return (15 - sum(points) - bar, *points, bar)


def spiel_turns(state: Any, player: int) -> set[tuple[reference.Side, reference.Side]]:
    """Where OpenSpiel's turns end; of a double it plays two halves."""
    if state.is_terminal() or state.is_chance_node() or state.current_player() != player:
        return {(spiel_side(state, player), spiel_side(state, 1 - player))}
    return set().union(*(spiel_turns(state.child(action), player) for action in state.legal_actions()))


@pytest.mark.parametrize("seed", range(12))
def test_turns_end_where_openspiels_do(seed: int) -> None:
    """Along a game of random moves: the same positions behind each whole turn."""
    pyspiel = pytest.importorskip("pyspiel", reason="OpenSpiel is not installed")
    state, rng = (
        pyspiel.load_game("backgammon(scoring_type=full_scoring)").new_initial_state(),
        np.random.default_rng(seed),
    )
    mover = -1
    while not state.is_terminal():
        if not state.is_chance_node() and state.current_player() != mover:
            mover = state.current_player()
            sides = spiel_side(state, mover), spiel_side(state, 1 - mover)
            dice = [int(face) for face in state.observation_tensor(mover)[-2:]]
            dice *= 2 if dice[0] == dice[1] else 1
            found = {way[1:] for way in reference.turns(*sides, tuple(sorted(dice)))}
            assert found == spiel_turns(state, mover)
        if state.is_chance_node():
            mover = -1
        state.apply_action(int(rng.choice(state.legal_actions())))
    returns = state.returns()
    loser = int(np.argmin(returns))
    assert max(returns) == reference.gain(spiel_side(state, loser))
