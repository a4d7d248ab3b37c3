"""Agents at play, seen: films by `record`, and `play --watch` as the environment draws itself."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from numzero import api
from numzero.commands import main
from numzero.commands import play as play_module
from numzero.errors import UserError
from numzero.games import make_game
from numzero.games.drawn import PICTURES, TEXT, WINDOW, Pictured, drawn_game
from tests.games.environments import Corridor
from tests.tiny import write_agent

HERE = "tests.commands.test_record"


class Painted(Corridor):
    """Draws where it is, as a picture or as text."""

    metadata: dict[str, Any] = {"render_modes": [PICTURES, TEXT], "render_fps": 5}  # noqa: RUF012  (gymnasium's form)

    def __init__(self, render_mode: str | None = None, torn: bool = False) -> None:
        super().__init__()
        self.render_mode, self.torn = render_mode, torn

    def render(self) -> Any:
        if self.torn:
            raise RuntimeError("no paint")
        if self.render_mode == TEXT:
            return f"at {self.position}\n"
        return np.full((20, 30, 3), 40 * self.position, np.uint8)


class Fixed(Painted):
    """Says that it can be drawn, and is made without a choice."""

    def __init__(self) -> None:
        super().__init__()


class Fonts(Painted):
    """Returns no picture."""

    def render(self) -> Any:
        return "a picture"


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


def shown(path: Path) -> int:
    with Image.open(path) as image:
        return int(image.n_frames)


def test_a_film_shows_an_environment_as_it_draws_itself(tmp_path: Path) -> None:
    """A frame before each step and one of the end, at its own speed; returns are those of the episodes."""
    agent = write_agent(tmp_path / "agent", f"{HERE}:Painted")
    words = ("record", agent, "--env", f"{HERE}:Painted", "--simulations", 2, "--max-steps", 4)
    said = json.loads(invoke(*words, "--out", tmp_path / "a.gif", "--episodes", 2, "--json").stdout)
    assert said["drawn"] == "pictures"
    assert said["fps"] == 5.0
    assert len(said["returns"]) == 2
    assert 2 * 2 <= said["frames"] <= 2 * 5
    with Image.open(tmp_path / "a.gif") as image:
        assert image.size == (30, 20)
        assert image.info["duration"] == 200
    again = invoke(*words, "--out", tmp_path / "b.gif", "--episodes", 2)
    assert "drawn by the environment" in again.stdout
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes(), "the seed decides"


def test_a_board_is_filmed_as_its_text(tmp_path: Path) -> None:
    """At a move a second, until the game is over."""
    agent = write_agent(tmp_path / "agent")
    result = invoke("record", agent, "--out", tmp_path / "a.gif", "--simulations", 2)
    assert result.exit_code == 0
    assert "frames of tictactoe, drawn as text" in result.stdout
    assert 6 <= shown(tmp_path / "a.gif") <= 10
    short = invoke("record", agent, "--out", tmp_path / "b.gif", "--simulations", 2, "--max-steps", 3)
    assert shown(tmp_path / "b.gif") == 4
    assert "1 of 1 episodes were cut off" in short.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--out", "a.avi"], "a film must end in .gif or .mp4"),
        (["--out", "nowhere/a.gif"], "cannot be used"),
        (
            ["--out", "a.gif", "--max-steps", "3000"],
            "2,999 steps of each episode; got 3,000. Lower it. See --max-steps.",
        ),
    ],
)
def test_what_cannot_be_filmed_is_said_and_leaves_nothing(
    words: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence, exit code 2 or that of a fault, no file."""
    monkeypatch.chdir(tmp_path)
    agent = write_agent(tmp_path / "agent", f"{HERE}:Painted")
    result = CliRunner().invoke(main, ["record", str(agent), "--env", f"{HERE}:Painted", *words])
    assert result.exit_code != 0
    assert sentence in result.stderr + str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["agent"]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("episodes", 0),
        ("episodes", -1),
        ("fps", -1.0),
        ("fps", 0.0),
        ("fps", float("nan")),
        ("max_steps", 0),
        ("simulations", -1),
        ("seed", -1),
    ],
)
def test_numbers_of_which_there_is_no_film_are_refused(name: str, given: float, tmp_path: Path) -> None:
    """By name, before the agent is read."""
    with pytest.raises(UserError, match=f"{name}.* must be .*; got {given:g}"):
        api.record(tmp_path / "none", tmp_path / "a.gif", **{name: given})  # type: ignore[arg-type]


def test_watching_shows_what_the_environment_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As text where it has that; numbers where it draws nothing."""
    monkeypatch.setattr(play_module, "has_display", lambda: False)
    agent = write_agent(tmp_path / "agent", f"{HERE}:Painted")
    said = invoke("play", agent, "--env", f"{HERE}:Painted", "--watch", "--simulations", 2, "--seed", 1).stdout
    assert re.match(r"at \d\nAction ", said)
    assert "rewards" not in said
    plain = write_agent(tmp_path / "plain", "tests.games.environments:Corridor")
    numbers = invoke("play", plain, "--env", "tests.games.environments:Corridor", "--watch", "--simulations", 2).stdout
    assert "rewards" in numbers


def test_a_game_is_made_in_the_first_mode_that_it_knows() -> None:
    """Where it cannot be made so it is made as ever; a board has no modes."""
    for modes, mode in (([WINDOW, TEXT], TEXT), ([PICTURES, TEXT], PICTURES), ([WINDOW], ""), ([], "")):
        game, found = drawn_game(f"{HERE}:Painted", modes)
        assert found == mode
        assert game.spec.num_actions == 2
        game.close()
    assert drawn_game(f"{HERE}:Fixed", [PICTURES])[1] == ""
    assert drawn_game("tictactoe", [PICTURES])[1] == ""
    assert not isinstance(make_game("tictactoe", 1), Pictured)


@pytest.mark.parametrize(
    ("name", "words", "why"),
    [
        ("Fonts", [], "must return a picture, uint8 [height, width, 3]; got str"),
        ("Painted", ["--env-arg", "torn=true"], "must return, not raise; got RuntimeError: no paint"),
    ],
)
def test_what_is_no_picture_is_filmed_as_text_and_named(name: str, words: list[str], why: str, tmp_path: Path) -> None:
    """The environment, the method and what it returned or raised, once."""
    agent = write_agent(tmp_path / "agent", f"{HERE}:{name}")
    result = invoke("record", agent, "--env", f"{HERE}:{name}", *words, "--out", tmp_path / "a.gif", "--max-steps", 2)
    assert result.exit_code == 0
    assert "drawn as text" in result.stdout
    assert result.stderr.count(why) == 1
    assert shown(tmp_path / "a.gif") == 3


def test_where_pygame_is_missing_a_game_is_watched_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """gymnasium imports it when it first draws, whether there is a display or not."""
    monkeypatch.setitem(sys.modules, "pygame", None)
    monkeypatch.setattr(play_module, "has_display", lambda: True)
    agent = write_agent(tmp_path / "agent", "CartPole-v1")
    said = invoke("play", agent, "--watch", "--simulations", 1, "--seed", 1)
    assert said.exit_code == 0
    assert said.stderr.count('pygame is not installed, run `pip install "gymnasium[classic-control]"`.') == 1
    assert "Correct the environment" not in said.stderr
    assert "The episode is over" in said.stdout
    game, mode = drawn_game("CartPole-v1", [PICTURES], lambda sentence: None)
    game.close()
    assert mode == ""


@pytest.mark.parametrize(
    ("platform", "environment", "has"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "w"}, True),
        ("win32", {}, True),
    ],
)
def test_a_window_is_opened_where_there_is_a_display(
    platform: str, environment: dict[str, str], has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system says."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", platform)
    assert play_module.has_display() is has
