"""What a user trains by: which of a preset, a file and a game a word is."""

from __future__ import annotations

from pathlib import Path

import pytest

from numzero.errors import UserError
from numzero.games import game_spec
from numzero.training.config import load_preset
from numzero.training.general import general_config
from numzero.training.named import run_name, settings_of
from tests.tiny import CORRIDOR


def test_a_preset_stays_itself() -> None:
    """With what is set."""
    assert settings_of("cartpole", ["search.num_simulations=3"]) == (
        load_preset("cartpole", ["search.num_simulations=3"]),
        "",
    )


def test_a_file_is_read(tmp_path: Path) -> None:
    """Whatever it is called."""
    (tmp_path / "cartpole.toml").write_text('game = "tictactoe"')
    assert settings_of(str(tmp_path / "cartpole.toml")).config.game == "tictactoe"


@pytest.mark.parametrize("word", ["CartPole-v1", CORRIDOR, "CartPole-v1(sutton_barto_reward=true)"])
def test_a_game_takes_the_general_preset(word: str) -> None:
    """Fitted to it, and said."""
    fitted = settings_of(word, ["search.num_simulations=3"])
    assert fitted == general_config(word, ["search.num_simulations=3"])
    assert fitted.config.game == word
    assert fitted.words


def test_a_game_that_is_known_is_not_made() -> None:
    """Learning from stored games alone imports nothing of it."""
    spec = game_spec(CORRIDOR)
    assert settings_of("nowhere:Env", spec=spec).config.game == "nowhere:Env"


def test_settings_that_speak_of_the_game_come_before_it_is_looked_at() -> None:
    """Its arguments decide what it shows; another game takes its place."""
    config = settings_of("tests.games.environments:Sized", ["game_arguments.goal=3", "schedule.gamma=0.5"]).config
    assert config.game == "tests.games.environments:Sized(goal=3)"
    assert config.schedule.gamma == 0.5
    assert settings_of("CartPole-v1", [f"game={CORRIDOR}"]).config.game == CORRIDOR


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("cartpol", "there is no preset and no game 'cartpol'. Did you mean 'cartpole'"),
        ("Cartpole-v1", "Did you mean 'CartPole-v1'"),
        ("no-game-at-all-99", "Known: acrobot, .* one of your own is module:Class or path/to/file.py:Class"),
        ("my_env.py", "a file must be named with what it has, my_env.py:Class"),
        ("nowhere:Env", "module 'nowhere' of 'nowhere:Env' must be importable"),
        ("Cartpole-v1(x=3)", "got 'Cartpole-v1'. Did you mean 'CartPole-v1'"),
        ("nowhere.toml", "nowhere.toml cannot be read"),
        ("CartPole-v1(x)", "arguments must be key=value"),
    ],
)
def test_what_is_none_of_them_is_answered_with_the_nearest(word: str, message: str) -> None:
    """Among presets and games."""
    with pytest.raises(UserError, match=message):
        settings_of(word)


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("cartpole", "cartpole"),
        ("some/mine.toml", "mine"),
        ("CartPole-v1", "CartPole-v1"),
        ("phys2d/CartPole-v1", "CartPole-v1"),
        ("a/b.py:Env(size=3) > c:W", "Env"),
        ("openspiel:go", "go"),
        ("a:..", "run"),
    ],
)
def test_a_run_is_called_after_what_is_trained(word: str, name: str) -> None:
    """A plain name of a folder."""
    assert run_name(word) == name
