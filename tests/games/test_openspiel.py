"""Games of OpenSpiel keep the contract, and are what OpenSpiel itself plays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numzero.errors import UserError
from numzero.games import check_game, game_spec, make_game, rehearsal_game, symmetries_of
from numzero.games.turns import for_first_player

openspiel = pytest.importorskip("numzero.games.adapters.openspiel", reason="OpenSpiel is not installed")
pyspiel = pytest.importorskip("pyspiel")

SOME = ("2048", "backgammon", "breakthrough(columns=5, rows=5)", "catch", "chess", "dots_and_boxes", "mancala", "nim")
"""One player and two, with chance and without, turns that alternate and that vary, and one that player 1 begins."""


@pytest.mark.parametrize("name", SOME)
def test_games_of_openspiel_keep_the_contract(name: str) -> None:
    """`check_game` finds nothing."""
    game = make_game(f"openspiel:{name}", 2)
    check_game(game, num_steps=40)
    assert [part.name for part in game.spec.observation_parts] == ["observation"]


@pytest.mark.slow
@pytest.mark.parametrize("name", openspiel.spiel_names())
def test_all_games_of_openspiel_keep_the_contract(name: str) -> None:
    """`check_game` finds nothing in any game that is offered, over whole episodes."""
    check_game(make_game(f"openspiel:{name}", 3), num_steps=400)


@pytest.mark.parametrize("name", SOME)
def test_play_is_what_openspiel_plays(name: str) -> None:
    """Observations, legal moves, players and returns are those of a state that plays the same history by itself."""
    game = make_game(f"openspiel:{name}", 1)
    twin_game = pyspiel.load_game(name.replace(" ", ""))  # which takes none
    rng, choice = np.random.default_rng(3), np.random.default_rng(4)
    game.reset(np.ones(1, np.bool_), rng)
    total, begins = 0.0, None
    for _ in range(60):
        twin = replayed(twin_game, game)
        mover = twin.current_player()
        begins = mover if begins is None else begins
        assert int(game.to_play()[0]) == int(mover != begins)
        np.testing.assert_array_equal(game.observation()[0].ravel(), np.float32(twin.observation_tensor(mover)))
        np.testing.assert_array_equal(np.flatnonzero(game.legal()[0]), twin.legal_actions())
        to_play = game.to_play().copy()
        result = game.step(choice.choice(np.flatnonzero(game.legal()[0]), 1).astype(np.int32))
        total += float(for_first_player(result.reward, to_play)[0])
        assert total == pytest.approx(replayed(twin_game, game).returns()[begins])
        if result.terminated[0]:
            assert replayed(twin_game, game).is_terminal()
            break


def replayed(twin_game: Any, game: Any) -> Any:
    """A state of OpenSpiel's to which all that happened in copy 0 was done, chance included."""
    twin = twin_game.new_initial_state()
    for action in game.rows[0].state.history():
        twin.apply_action(action)
    return twin


def test_chance_comes_from_the_generator_and_by_its_probabilities() -> None:
    """Equal generators, equal dice; and each index is drawn as often as its probability says."""
    observations = []
    for _ in range(2):
        game = make_game("openspiel:backgammon", 4)
        game.reset(np.ones(4, np.bool_), np.random.default_rng(7))
        observations.append(game.observation().copy())
    np.testing.assert_array_equal(observations[0], observations[1])
    assert len(np.unique(observations[0], axis=0)) > 1
    probabilities = np.array([0.1, 0.0, 0.6, 0.3])
    rng = np.random.default_rng(0)
    drawn = np.bincount([openspiel._draw(probabilities, rng) for _ in range(4000)], minlength=4)
    np.testing.assert_allclose(drawn / 4000, probabilities, atol=0.04)
    assert drawn[1] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", openspiel.spiel_names())
def test_turns_alternate_where_they_are_said_to(name: str) -> None:
    """In 20 random games of OpenSpiel's own the turn passes at every step, if the adapter says so of the game."""
    game = pyspiel.load_game(name)
    rng = np.random.default_rng(0)
    for _ in range(20 if name in openspiel.ALTERNATING else 0):
        state, last = game.new_initial_state(), None
        while not state.is_terminal():
            if state.is_chance_node():
                state.apply_action(int(rng.choice([outcome for outcome, _ in state.chance_outcomes()])))
                continue
            assert state.current_player() != last
            last = state.current_player()
            state.apply_action(int(rng.choice(state.legal_actions())))


@pytest.mark.parametrize("name", openspiel.ROLLS)
def test_chance_comes_once_after_a_decision(name: str) -> None:
    """In random games no two chance events follow each other, and each is what the step reports."""
    game, choice = make_game(f"openspiel:{name}", 1), np.random.default_rng(0)
    game.reset(np.ones(1, np.bool_), np.random.default_rng(1))
    row: Any = game.rows[0]  # type: ignore[attr-defined]
    for _ in range(60):
        before = len(row.state.full_history())
        result = game.step(choice.choice(np.flatnonzero(game.legal()[0]), 1).astype(np.int32))
        events = [each.action for each in row.state.full_history()[before + 1 :]]
        assert result.outcome is not None
        assert result.outcome.tolist() == [1 + events[0] if events else 0]
        assert len(events) <= 1
        assert result.outcome[0] < game.spec.num_outcomes
        if result.terminated[0]:
            game.reset(np.ones(1, np.bool_), np.random.default_rng(2))


def test_dice_are_counted_as_openspiel_counts_them() -> None:
    """Its parameters included; chance of the start alone, and too many outcomes, are none."""
    assert game_spec("openspiel:pig(diceoutcomes=8)").num_outcomes == 9
    assert game_spec("openspiel:catch").num_outcomes == 0
    assert game_spec("openspiel:yacht").num_outcomes == 0


def test_parameters_are_those_of_openspiel() -> None:
    """They change the game, and a whole number does for a float; shown names are one for equal games."""
    spec = game_spec("openspiel:breakthrough(rows=6,columns=5)")
    assert spec.observation_shape == (3, 6, 5)
    assert spec.max_steps is not None
    assert game_spec("openspiel:go(komi=7, board_size=5)").num_actions == 26
    assert game_spec("openspiel:lines_of_action").action_names[:2] == ("a1-a1", "a1xa1")


def test_a_position_is_drawn_with_its_moves() -> None:
    """A person sees the board, and what the numbers of actions mean."""
    game = make_game("openspiel:breakthrough(rows=6, columns=6)", 1)
    assert game.render(0) == ""
    game.reset(np.ones(1, np.bool_), np.random.default_rng(0))
    assert "6bbbbbb\n5bbbbbb\n" in game.render(0)
    assert "moves: 74 a5a4, 76 a5b4" in game.render(0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("brekthrough", "Did you mean 'breakthrough'"),
        ("kuhn_poker", "do not see all there is to see"),
        ("goofspiel", "do not move in turn"),
        ("stones_and_gems", "draws its chance itself"),
        ("pig(players=3)", "it has 3 players"),
        ("go(komy=7)", "got 'komy'. Did you mean 'komi'"),
        ('go(komi="7")', "must be of type float"),
        ("hex(board_size=true)", "must be of type int"),
        ("breakthrough(columns=1, rows=1)", "rows_ > 1"),
        ("hex(board_size=-1)", "must have up to 16 sizes, none negative"),
        ("hex > module:Wrapper", "Leave out 'module:Wrapper'"),
    ],
)
def test_what_cannot_be_played_is_refused_with_the_reason(name: str, message: str) -> None:
    """Each kind of game, parameter and wrapper gets its sentence."""
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        make_game(f"openspiel:{name}", 1)


def test_openspiel_is_no_board_of_numzeros() -> None:
    """It has no symmetries, and what is rehearsed in its place never plays."""
    assert symmetries_of("openspiel:tic_tac_toe") is None
    assert rehearsal_game("openspiel:tic_tac_toe", 2).spec.num_actions == 9
