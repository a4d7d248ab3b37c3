"""An agent and a run that version 0.1.0 wrote in its first days, as they were left: they load, play and go on.

`kept/agent` is the first CartPole agent that shipped (commit 3036deb). `kept/run` was made with the code of f860b46,
the first that could go on with a run, and stopped by ^C. `kept/pictures` is an agent with random weights, of the code
before 7dc558d, to which pictures were `[H, W, C]`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import numzero as nz
from numzero.commands import main
from numzero.games import make_game
from numzero.games.adapters import spaces
from numzero.inference import shared_model
from numzero.replay import GameStore
from numzero.training.play_many import SelfPlaySession
from numzero.training.roles.selfplay import Actor
from tests.games.environments import Pixels
from tests.tiny import RUN

KEPT = Path(__file__).parent / "kept"


@pytest.fixture
def run(tmp_path: Path) -> nz.Run:
    """A copy, in which one may work."""
    return nz.Run(shutil.copytree(KEPT / "run", tmp_path / "run"))


def test_an_agent_of_the_first_day_plays() -> None:
    """What it has not got takes its default, and it is as good as it was."""
    agent = nz.Agent.load(KEPT / "agent")
    assert (agent.info.spec.name, agent.info.spec.observation_parts, agent.num_outcomes) == ("CartPole-v1", (), 0)
    assert nz.evaluate(KEPT / "agent", games=3)["mean_return"] > 400


@pytest.mark.parametrize("words", [["report"], ["describe"], ["evaluate", "--games", "2"], ["store", "verify"]])
def test_commands_take_a_run_of_the_first_days(words: list[str], run: nz.Run) -> None:
    """Whatever they read of it."""
    done = CliRunner().invoke(main, [*words, str(run.folder)], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_an_agent_to_which_pictures_were_channels_last_plays(tmp_path: Path) -> None:
    """It is shown them as it knows them, wherever it plays, and takes them so from an app."""
    agent = nz.Agent.load(KEPT / "pictures")
    assert agent.info.spec.observation_shape == (2, 3, 1)
    assert agent.act(np.zeros((2, 3, 1), np.uint8)).visit_counts.sum() == 4
    judged = nz.evaluate(KEPT / "pictures", games=2, trust=True)
    assert 0 < judged["mean_length"] <= 10
    nz.export(KEPT / "pictures", tmp_path / "out", trust=True)
    shown = np.random.default_rng(0).integers(0, 256, (5, 2, 3, 1), np.uint8)
    turned = np.ascontiguousarray(shown.transpose(0, 3, 1, 2))  # as games show it now
    np.testing.assert_array_equal(agent.history(5).stack(turned), shown)


def test_runs_and_agents_to_which_pictures_were_channels_last_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run begun so is resumed, such agents play games for others to learn from: all in the shape that they know."""
    with monkeypatch.context() as before:
        before.setattr(spaces, "_turned", lambda shape: ((0, 1, 2), shape))
        options = dict(setting.split("=") for setting in RUN) | {"schedule.num_updates": 3, "evaluation.games": 1}
        run = nz.train(Pixels, tmp_path / "run", workers=0, check=False, **options)
    assert run.resume(updates=6).agent.info.model_version == 6
    agent = nz.Agent.load(KEPT / "pictures")
    task = SelfPlaySession(agent, tmp_path / "games", workers=1, games=2, seed=0).task
    actor = Actor(make_game(task.game, 2), task, np.random.default_rng(0))
    actor.use_model(shared_model(agent.files), 0)
    played = [game for _ in range(10) for game in actor.play()]
    with GameStore(run.folder / "replay.sqlite") as store:
        learned = list(store.read_last(100))
    assert actor.done
    assert played
    assert {game.observation.shape[1:] for game in [*played, *learned]} == {(2, 3, 1)}


def test_a_run_of_the_first_days_goes_on(run: nz.Run) -> None:
    """To its end and further; its games are learned from, its metrics are of a piece."""
    begun = run.metrics()["updates"][-1]
    assert run.resume().agent.info.model_version == 12
    assert run.resume(updates=16).agent.info.model_version == 16
    updates = run.metrics()["updates"]
    assert updates[-1] == 16 > begun
    assert run.scores["wins"] + run.scores["draws"] + run.scores["losses"] == 4
