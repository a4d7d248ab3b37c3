"""A board by its name and size, through the command line and the embedding face: trained, judged, played, exported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from numzero import Agent
from numzero.commands import main
from numzero.games import game_spec, make_game
from numzero.metrics import Evaluated, read_metrics
from numzero.training.config import load_preset

NAME = "connectfour(columns=5, rows=5)"
TINY = (
    "network.body.channels=4",
    "network.body.blocks=1",
    "network.body.width=8",
    "search.num_simulations=2",
    "learner.batch_size=8",
    "selfplay.batch_size=4",
    "evaluation.games=2",
    "schedule.num_updates=3",
    "schedule.start_steps=40",
    "schedule.samples_per_step=1.0",
)


def run(*words: object, typed: str | None = None) -> str:
    """A command that must end well."""
    done = CliRunner().invoke(main, list(map(str, words)), input=typed, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three updates, its board large enough for a convolution."""
    folder = tmp_path_factory.mktemp("boards") / "run"
    settings = [word for setting in TINY for word in ("--set", setting)]
    rated = ("--set", "evaluation.interval=1", "--set", "evaluation.rated_games=2")
    run("train", NAME, "--run", folder, "--workers", 0, *settings, *rated)
    return folder


@pytest.mark.parametrize("preset", ["gomoku", "othello", "hex", "go9", "connectfour-large"])
def test_presets_of_boards_train(preset: str, tmp_path: Path) -> None:
    """A few updates of each, as its file has it but for its size; the agent plays its game."""
    settings = [word for setting in TINY for word in ("--set", setting)]
    run("train", preset, "--run", tmp_path / "run", "--workers", 0, *settings, "--set", "evaluation.interval=0")
    agent = Agent.load(tmp_path / "run")
    assert agent.info.spec == game_spec(load_preset(preset).game)
    assert agent.info.training["updates"] == 3


def test_a_run_rates_its_agents(trained: Path) -> None:
    """Each met those before it, and the report draws their Elo."""
    events = [each for each in read_metrics(trained / "metrics.jsonl") if isinstance(each, Evaluated)]
    assert [(each.updates, [met.updates for met in each.met]) for each in events] == [
        (1, []),  # not the first, before any update, which nobody judged
        (2, [1]),
        (3, [1, 2]),
    ]
    assert {met.wins + met.draws + met.losses for each in events for met in each.met} == {2}
    run("report", trained)
    assert "Elo of the run's agents" in (trained / "report.html").read_text("utf-8")


def test_a_run_rates_its_agents_after_a_resume(trained: Path, tmp_path: Path) -> None:
    """By the last three that were judged, though checkpoints were more frequent and removed some of these agents."""
    again = tmp_path / "run"
    shutil.copytree(trained, again)
    shutil.rmtree(again / "agents" / "000000001")
    run("resume", again, "--updates", 4)
    newest = [each for each in read_metrics(again / "metrics.jsonl") if isinstance(each, Evaluated)][-1]
    assert (newest.updates, [met.updates for met in newest.met]) == (4, [1, 2, 3])
    assert [path.name for path in sorted((again / "judged").iterdir())] == [f"{number:09d}" for number in (1, 2, 3, 4)]


def test_a_board_is_judged_by_random_play(trained: Path) -> None:
    """All games are played to their end."""
    scores = json.loads(run("evaluate", trained, "--games", 6, "--json"))
    assert scores["game"] == NAME
    assert scores["wins"] + scores["draws"] + scores["losses"] == 6


def test_a_board_is_played_in_the_terminal(trained: Path) -> None:
    """A person moves by the names of columns, and sees them."""
    shown = run("play", trained, "--seed", 0, typed="3\nquit\n")
    assert " 1 2 3 4 5\n . . . . .\n" in shown
    assert " . . X . .\n" in shown or " . . O . .\n" in shown


def test_an_exported_board_plays_in_an_app(trained: Path, tmp_path: Path) -> None:
    """What was exported moves legally, one position after the other, until a game is over."""
    run("export", trained, "--out", tmp_path / "agent", "--games", 0)
    agent, game = Agent.load(tmp_path / "agent"), make_game(NAME, 1)
    game.reset(np.ones(1, np.bool_), np.random.default_rng(0))
    for _ in range(25):
        decision = agent.act(game.observation()[0], game.legal()[0])
        if game.step(np.array([decision.action], np.int32)).terminated[0]:
            break
    assert not game.legal().any()
