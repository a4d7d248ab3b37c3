"""A game with a log: it plays as the game does, and another one can be led to where it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numzero.games import Placeable, PlaysRandomly, check_game, make_game
from numzero.games.replayable import ReplayableGame
from tests.tiny import CORRIDOR

GAMES = ("tictactoe", CORRIDOR, "CartPole-v1")


def random_action(game: Any, rng: np.random.Generator) -> np.ndarray:
    return np.array([rng.choice(np.flatnonzero(row)) for row in game.legal()], np.int32)


def play(game: Any, num_steps: int, rng: np.random.Generator) -> None:
    """As self-play does: whoever ends starts anew, after random moves or from an old position where the game can."""
    game.reset(np.ones(game.batch_size, np.bool_), rng)
    for _ in range(num_steps):
        old = game.positions().copy() if isinstance(game, Placeable) else None
        step = game.step(random_action(game, rng))
        ended = step.terminated | step.truncated
        if ended.any():
            game.reset(ended, rng)
            if isinstance(game, PlaysRandomly):
                game.play_randomly(np.where(ended, rng.integers(0, 4, game.batch_size), 0), rng)
            if old is not None:
                game.place(ended & (rng.random(game.batch_size) < 0.5), old)


@pytest.mark.parametrize("name", GAMES)
def test_a_replayable_game_keeps_the_contract(name: str) -> None:
    """It is the same game to whoever plays it, and can do beyond the contract what that one can."""
    game = ReplayableGame(make_game(name, 3))
    check_game(game)
    for more in (PlaysRandomly, Placeable):
        assert isinstance(game, more) == isinstance(make_game(name, 1), more) == (name == "tictactoe")


@settings(max_examples=25, deadline=None)
@given(name=st.sampled_from(GAMES), num_steps=st.integers(0, 40), batch_size=st.integers(1, 4), seed=st.integers(0, 99))
def test_another_game_is_led_to_where_it_is(name: str, num_steps: int, batch_size: int, seed: int) -> None:
    """Equal observations, and equal ones from then on; the log that was handed on can be handed on again."""
    one = ReplayableGame(make_game(name, batch_size))
    play(one, num_steps, np.random.default_rng(seed))
    second, third = ReplayableGame(make_game(name, batch_size)), ReplayableGame(make_game(name, batch_size))
    assert second.restore(one.state())
    assert third.restore(second.state())
    rng = np.random.default_rng(seed + 1)
    for _ in range(12):
        if not one.legal().any(axis=1).all():
            break
        action = random_action(one, rng)
        steps = [game.step(action) for game in (one, second, third)]
        for other, step in zip((second, third), steps[1:], strict=True):
            np.testing.assert_array_equal(other.observation(), one.observation())
            np.testing.assert_array_equal(other.to_play(), one.to_play())
            for field, expected in zip(step, steps[0], strict=True):
                np.testing.assert_array_equal(field, expected)


@pytest.mark.parametrize("name", GAMES)
def test_the_log_holds_running_episodes_only(name: str) -> None:
    """However long a game is played it stays as long as the longest running episode, twice over."""
    game = ReplayableGame(make_game(name, 2))
    play(game, 400, np.random.default_rng(0))
    assert len(game._log) < 2 * 100


class Moody:
    """An environment that keeps a mood of its own from episode to episode."""

    def __new__(cls) -> Any:
        from tests.games.environments import Corridor

        class Changing(Corridor):
            def observe(self) -> Any:
                return np.array([self.position, np.random.default_rng().random()])

        return Changing()


def test_an_environment_with_chance_of_its_own_is_found_out() -> None:
    """It cannot be led back to where it was, and that is said rather than played on."""
    game = ReplayableGame(make_game(f"{__name__}:Moody", 2))
    play(game, 3, np.random.default_rng(0))
    assert not ReplayableGame(make_game(f"{__name__}:Moody", 2)).restore(game.state())
