"""The preset for whatever has none: what its rule sees, sets and leaves to the user."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from numzero.errors import UserError
from numzero.games import Box, GameSpec
from numzero.training.config import load_preset, preset_names
from numzero.training.general import choices, general_config
from numzero.training.run import TrainingRun
from tests import tiny

OWN_GAME = "tests.training.tasks:ConnectThree"


def spec(shape: tuple[int, ...], players: int = 1) -> GameSpec:
    """Of a game with such observations."""
    return GameSpec(
        name="a game",
        num_actions=2,
        observation_shape=shape,
        observation_dtype="uint8",
        num_players=players,
        max_steps=None,
        action_names=("0", "1"),
    )


@pytest.mark.parametrize("players", [1, 2])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (300,), (3, 3, 3), (2, 6, 7), (3, 24, 24), (4, 84, 84), (7, 7)])
def test_settings_for_any_spec_are_right(shape: tuple[int, ...], players: int) -> None:
    """They load without a problem, and every choice says what it saw."""
    made = choices(spec(shape, players))
    config = general_config(OWN_GAME, [setting for choice in made for setting in choice.settings]).config
    assert config.check() == []
    assert all(choice.seen for choice in made)


def test_words_say_what_was_seen_and_set() -> None:
    """Of an environment and of a board game of one's own."""
    assert "a vector of 4 numbers" in general_config("CartPole-v1").words
    fitted = general_config(OWN_GAME)
    assert "two players (schedule.gamma=1.0" in fitted.words
    assert (fitted.config.game, fitted.config.schedule.gamma) == (OWN_GAME, 1.0)


@pytest.mark.parametrize(("shape", "players", "samples"), [((3,), 1, 64.0), ((3, 96, 96), 1, 16.0), ((3,), 2, 4.0)])
def test_vectors_are_updated_more_often_where_that_is_cheap(
    shape: tuple[int, ...], players: int, samples: float
) -> None:
    """Not where an update is a convolution's, nor a game of two."""
    acts = Box((-1.0,), (1.0,))
    made = msgspec.structs.replace(
        spec(shape, players), actions=acts, num_actions=16, action_names=tuple(map(str, range(16)))
    )
    config = general_config("Pendulum-v1", spec=made).config
    assert (config.schedule.samples_per_step, config.targets.cut) == (samples, "random")


def test_outcomes_that_a_game_reports_are_learned() -> None:
    """Unless the user will have it otherwise."""
    fitted = general_config("tests.games.coin:Coin")
    assert "2 outcomes of chance (network.chance=known" in fitted.words
    assert fitted.config.network.chance == "known"
    assert general_config("tests.games.coin:Coin", ["network.chance=none"]).config.network.chance == "none"
    assert general_config("tests.games.coin:SilentCoin").config.network.chance == "auto"
    assert general_config(OWN_GAME).config.network.chance == "none"
    assert general_config("a screen", spec=spec((3, 84, 84))).config.network.chance == "none"


def test_the_users_settings_win() -> None:
    """Over the rule's as over the preset's, the body's kind with all that belongs to it included."""
    config = general_config(OWN_GAME, ["network.body=mlp", "network.body.width=32", "schedule.gamma=0.9"]).config
    assert config.network.body == general_config("CartPole-v1", ["network.body.width=32"]).config.network.body
    assert config.schedule.gamma == 0.9
    screen = spec((3, 84, 84))
    plain = general_config("a screen", ["network.body=mlp"], spec=screen).config
    assert plain.network.body == general_config("CartPole-v1").config.network.body
    assert general_config("a screen", spec=screen).config.network.body != plain.network.body


def test_it_is_no_preset_by_itself() -> None:
    """It names no game, so it is not listed, and a sentence says what to name."""
    assert "general" not in preset_names()
    with pytest.raises(UserError, match="Name the game, or a file of tasks"):
        load_preset("general")


def test_a_run_of_a_game_of_ones_own(tmp_path: Path) -> None:
    """Trains from end to end with the settings that were fitted, made tiny."""
    config = general_config(OWN_GAME, ["network.body=mlp", *tiny.RUN, "selfplay.batch_size=4"]).config
    scores = TrainingRun(config, tmp_path / "run", seed=0, on_event=lambda _: None).train()
    assert scores["wins"] + scores["draws"] + scores["losses"] == 4
