"""Arguments and wrappers of a name: they reach whatever makes the game, and what does not fit is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numzero.errors import UserError
from numzero.games import game_spec, make_game
from numzero.games.adapters.gym import GymGame
from tests.games.turns import Twice

HERE = "tests.games.environments"
ME = "tests.games.test_arguments"


class Long(Twice):
    """A game of its own kind that takes an argument."""

    def __init__(self, batch_size: int, extra: int = 0) -> None:
        super().__init__(batch_size)
        self.extra = extra


def more(game: Long, by: int) -> Long:
    """A wrapper of such a game."""
    game.extra += by
    return game


def environment(name: str) -> Any:
    game = make_game(name, 2)
    assert isinstance(game, GymGame)
    return game._envs[1]


def test_arguments_go_to_a_class() -> None:
    """To each copy, whatever they hold; the name is written one way."""
    name = f'{HERE}:Sized( start=0.5,goal=3, labels={{"a": [1]}})'
    env = environment(name)
    assert (env.goal, env.start, env.labels) == (3, 0.5, {"a": [1]})
    assert game_spec(name).name == f'{HERE}:Sized(goal=3, labels={{"a": [1]}}, start=0.5)'
    assert make_game(name, 1).spec.name == game_spec(name).name


def test_arguments_go_to_a_registered_id() -> None:
    """And those that gymnasium itself takes."""
    env = environment("CartPole-v1(max_episode_steps=7, sutton_barto_reward=true)")
    assert env.unwrapped._sutton_barto_reward
    assert env.spec.max_episode_steps == 7


def test_wrappers_stand_around_each_copy() -> None:
    """The first is the innermost; one of gymnasium's does as well as one's own."""
    name = f"{HERE}:Sized(goal=1) > {HERE}:Doubled(factor=3) > gymnasium.wrappers:TimeLimit(max_episode_steps=2)"
    game = make_game(name, 2)
    game.reset(np.ones(2, np.bool_), np.random.default_rng(0))
    env = game._envs[0]  # type: ignore[attr-defined]
    assert (type(env).__name__, env.env.factor) == ("TimeLimit", 3)
    left = np.zeros(2, np.int32)
    assert not game.step(left).truncated.any()
    assert game.step(left).truncated.all()
    assert game_spec(name).name == name


def test_a_game_of_ones_own_takes_both_too() -> None:
    """A batch is made of its size and the arguments; a wrapper is given the batch."""
    game = make_game(f"{ME}:Long(extra=2) > {ME}:more(by=3)", 2)
    assert isinstance(game, Long)
    assert game.extra == 5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"{HERE}:Sized(gaol=3)", "makeable with gaol=3; got TypeError: .* no argument 'gaol'. Did you mean 'goal'"),
        (f"{HERE}:Sized(start=3)", "makeable with start=3; got TypeError: .*Give it goal"),
        ("FrozenLake-v1(mapname=3)", "It takes no argument 'mapname'. Did you mean 'map_name'"),
        ("FrozenLake-v1(max_episode_steps=3, mapname=3)", "It takes no argument 'mapname'"),
        ("FrozenLake-v1(map_name=3)", "makeable with map_name=3; got KeyError: 3. Install what it needs"),
        ("tictactoe(size=4)", "game 'tictactoe' must be makeable with size=4; .* no argument 'size'"),
        (f"{ME}:Long(etxra=1)", "no argument 'etxra'. Did you mean 'extra'"),
        (f"tictactoe > {HERE}:bare_function", "must fulfil numzero.games.Game .* got object"),
        (f"CartPole-v1 > {HERE}:bare_function", f"inside {HERE}:bare_function must be a gymnasium.Env; got object"),
        (f"CartPole-v1 > {HERE}:Doubld", "there is none of that name. Did you mean 'Doubled'"),
        (f"CartPole-v1 > {HERE}:Doubled(fact=2)", "no argument 'fact'. Did you mean 'factor'"),
        ("CartPole-v1 > nowhere_at_all:Doubled", "module 'nowhere_at_all' .* must be importable"),
        ("CartPol-v1(x=1)", "got 'CartPol-v1'. Did you mean 'CartPole-v1'"),
    ],
)
def test_what_does_not_fit_is_named(name: str, message: str) -> None:
    """The argument, and what is taken instead."""
    with pytest.raises(UserError, match=message):
        make_game(name, 1)
