"""An environment of one's own, in a file of the folder one stands in, with arguments and a wrapper: every command."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from numzero.agent import Agent
from numzero.training.config import load_config
from tests import warm
from tests.tiny import RUN

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = '''
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete


class Line(gymnasium.Env):
    """Walk to the end."""

    action_space = Discrete(2)
    observation_space = Box(-1, 100, (2,), np.float32)

    def __init__(self, size, slow=False):
        self.size, self.slow = size, slow

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.t = 0
        return self.look(), {}

    def look(self):
        return np.array([self.x, self.t], np.float32)

    def step(self, action):
        self.t += 1
        self.x = max(0, self.x + (1 if action else -1))
        return self.look(), float(self.x >= self.size), self.x >= self.size, False, {}


class Often(gymnasium.RewardWrapper):
    """Rewards times a factor."""

    def __init__(self, env, factor):
        super().__init__(env)
        self.factor = factor

    def reward(self, reward):
        return reward * self.factor
'''
PRESET = """
game = "line:Line"
game_arguments = {size = 2}
[[wrappers]]
name = "gymnasium.wrappers:TimeLimit"
max_episode_steps = 6
[[wrappers]]
name = "line.py:Often"
factor = 2.0
"""
GAME = "line:Line(size=2) > gymnasium.wrappers:TimeLimit(max_episode_steps=6) > line.py:Often(factor=2.0)"
Command = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the user stands: the environment, and a preset as PowerShell writes it."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "line.py").write_text(ENVIRONMENT, encoding="utf-8")
    (folder / "mine.toml").write_text(PRESET, encoding="utf-16")
    return folder


@pytest.fixture(scope="module")
def command(folder: Path) -> Command:
    """A command typed there; nothing but the program's own folder is on the path."""

    def run(*words: str, code: int = 0) -> str:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = warm.run(*words, cwd=folder, env=environment)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    return run


@pytest.fixture(scope="module")
def run(command: Command) -> str:
    """A run of the preset, in processes."""
    tiny = [word for each in (*RUN, "selfplay.batch_size=2") for word in ("--set", each)]
    said = command("train", "mine.toml", "--env-arg", "slow=true", "--workers", "1", *tiny, "--json")
    assert json.loads(said)["game"] == GAME.replace("size=2", "size=2, slow=true")
    return str(json.loads(said)["run"])


def test_a_preset_with_tables_trains_in_processes(run: str, folder: Path) -> None:
    """Settings, run and agent say which game it is, arguments and wrappers included."""
    game = GAME.replace("size=2", "size=2, slow=true")
    assert run == os.path.join("runs", "mine-0")
    assert load_config(folder / run / "config.toml").game == game
    assert Agent.load(folder / run).info.spec.name == game


@pytest.mark.parametrize("word", [(), ("--env", GAME.replace("(size=2)", ""))], ids=["trained here", "named"])
def test_its_agent_is_judged_by_who_trained_it(word: tuple[str, ...], run: str, command: Command) -> None:
    """Without a word, or by the game's name without plain arguments; episodes have the wrapper's rewards."""
    scores = json.loads(command("evaluate", run, "--games", "2", "--simulations", "1", *word, "--json"))
    assert scores["mean_return"] in (0.0, 1.0, 2.0)


def test_its_agent_is_judged_elsewhere_only_on_the_users_word(run: str, folder: Path, tmp_path: Path) -> None:
    """Code of the same names in another folder is other code."""
    for name in ("line.py", "mine.toml"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    done = warm.run("evaluate", str(folder / run), "--games", "2", cwd=tmp_path)
    assert done.returncode == 2
    assert "making that would import module 'line' and run its code" in done.stderr


def test_its_agent_plays_with_other_arguments(run: str, command: Command) -> None:
    """Those that fit; what it plays then is said."""
    words = ["evaluate", run, "--games", "1", "--trust", "--json", "--env-arg", "size=1", "--env-arg", "slow=false"]
    assert json.loads(command(*words))["game"] == GAME.replace("size=2", "size=1, slow=false")


def test_a_game_needs_no_preset(command: Command, folder: Path) -> None:
    """It takes the general one, and gives the run its name; the agent is exported and described with its arguments."""
    tiny = [word for each in (*RUN, "evaluation.max_steps=10") for word in ("--set", each)]
    command("train", "line.py:Line", "--env-arg", "size=2", *tiny, "--json")
    assert "mean_return" in json.loads(command("resume", "runs/Line-0", "--env", "line.py:Line", "--json"))
    command("export", "runs/Line-0", "--out", "agent", "--games", "0", "--env", "line.py:Line")
    assert Agent.load(folder / "agent").info.spec.name == "line.py:Line(size=2)"
