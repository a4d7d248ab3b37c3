"""Games of PettingZoo keep the contract, and are what PettingZoo itself plays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numzero.errors import EnvironmentFault, UserError
from numzero.games import check_game, game_spec, make_game
from numzero.games.turns import for_first_player

zoo = pytest.importorskip("numzero.games.adapters.pettingzoo", reason="PettingZoo is not installed")
pettingzoo = pytest.importorskip("pettingzoo")
NEEDED = {"chess_v6": "chess", "leduc_holdem_v4": "rlcard", "texas_holdem_v4": "rlcard"}
GAMES = ("chess_v6", "connect_four_v3", "go_v5(board_size=7)", "leduc_holdem_v4", "texas_holdem_v4", "tictactoe_v3")


def made(name: str, batch_size: int) -> Any:
    """The game, or a skipped test where a library of its own is missing."""
    if name in NEEDED:
        pytest.importorskip(NEEDED[name], reason=f"{NEEDED[name]} is not installed")
    return make_game(f"pettingzoo:{name}", batch_size)


@pytest.mark.parametrize("name", GAMES)
def test_games_of_pettingzoo_keep_the_contract(name: str) -> None:
    """`check_game` finds nothing."""
    game = made(name, 2)
    check_game(game, num_steps=30)
    assert [(part.name, part.low, part.high) for part in game.spec.observation_parts] == [("observation", 0.0, 1.0)]


@pytest.mark.parametrize("name", ["connect_four_v3", "leduc_holdem_v4"])
def test_play_is_what_pettingzoo_plays(name: str) -> None:
    """Observations, masks, players and rewards are those of an environment that is stepped by itself."""
    game, twin = made(name, 1), pettingzoo.make("aec", name if "/" in name else f"classic/{name}")
    choice = np.random.default_rng(5)
    for seed in range(6):
        game.reset(np.ones(1, np.bool_), np.random.default_rng(seed))
        twin.reset(seed=int(np.random.default_rng(seed).integers(2**31)))
        first, running, total = twin.agent_selection, True, 0.0
        while running:
            mover, seen = twin.agent_selection, twin.observe(twin.agent_selection)
            assert int(game.to_play()[0]) == int(mover != first)
            planes = seen["observation"]
            planes = planes.transpose(2, 0, 1) if planes.ndim == 3 else planes
            np.testing.assert_array_equal(game.observation()[0], planes)
            np.testing.assert_array_equal(game.legal()[0], seen["action_mask"] == 1)
            to_play = game.to_play().copy()
            action = choice.choice(np.flatnonzero(seen["action_mask"]))
            result = game.step(np.array([action], np.int32))
            twin.step(int(action))
            total += float(for_first_player(result.reward, to_play)[0])
            running = not any(twin.terminations.values())
            assert bool(result.terminated[0]) is not running
        assert total == pytest.approx(twin.rewards[first])
        assert twin.rewards[first] == -sum(reward for agent, reward in twin.rewards.items() if agent != first)


def test_specs_say_planes_players_and_turns() -> None:
    """Boards come as planes, rows and columns of small whole numbers; names may carry the family and arguments."""
    spec = game_spec("pettingzoo:classic/connect_four_v3")
    assert (spec.observation_shape, spec.observation_dtype) == ((2, 6, 7), "uint8")
    assert (spec.num_players, spec.turns, spec.num_actions) == (2, "alternate", 7)
    assert game_spec("pettingzoo:go_v5(board_size=5)").num_actions == 26


def test_what_cannot_be_played_is_refused_with_the_reason() -> None:
    """Unknown names, games of simultaneous moves, and arguments that a game does not take."""
    for name, message in {
        "conect_four_v3": "Did you mean 'connect_four_v3'",
        "atari/connect_four_v3": "Did you mean 'connect_four_v3'",
        "rps_v2": "move at the same time",
        "connect_four_v3(size=3)": "size",
    }.items():
        with pytest.raises(UserError, match=message):
            make_game(f"pettingzoo:{name}", 1)


def test_rewards_that_do_not_sum_to_zero_are_a_fault() -> None:
    """Where both win something, what one wins is not what the other loses; the message names both rewards."""
    game = made("tictactoe_v3", 1)
    game.reset(np.ones(1, np.bool_), np.random.default_rng(0))
    env = game.rows[0].env
    step = env.step

    def generous(action: int) -> None:
        step(action)
        env.unwrapped.rewards = {"player_1": 1, "player_2": 1}

    env.step = generous
    with pytest.raises(EnvironmentFault, match=r"rewards .* must sum to zero over both players .*'player_2': 1"):
        game.step(np.zeros(1, np.int32))
