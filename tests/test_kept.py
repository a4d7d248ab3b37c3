"""An agent and a run that version 0.1.0 wrote in its first days, as they were left: they load, play and go on.

`kept/agent` is the first CartPole agent that shipped (commit 3036deb). `kept/run` was made with the code of f860b46,
the first that could go on with a run, and stopped by ^C.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import numzero as nz
from numzero.commands import main

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


def test_a_run_of_the_first_days_goes_on(run: nz.Run) -> None:
    """To its end and further; its games are learned from, its metrics are of a piece."""
    begun = run.metrics()["updates"][-1]
    assert run.resume().agent.info.model_version == 12
    assert run.resume(updates=16).agent.info.model_version == 16
    updates = run.metrics()["updates"]
    assert updates[-1] == 16 > begun
    assert run.scores["wins"] + run.scores["draws"] + run.scores["losses"] == 4
