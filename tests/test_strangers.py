"""Agents and runs of strangers: no command imports a module because a folder says so."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec
import pytest
from click.testing import CliRunner, Result

from numzero.agent import Agent, agent_files
from numzero.bench.latency import bench_agent
from numzero.commands import main
from numzero.commands.trust import env_words
from numzero.errors import UserError
from numzero.exporting.embed import golden_cases
from numzero.files import read_folder, write_folder, write_sealed
from numzero.folders import STUDY, FolderLock
from numzero.judging.evaluate import evaluate
from numzero.runtime.base import AGENTS
from numzero.runtime.inline import InlineRuntime
from numzero.studies.study import final_scores
from numzero.training.config import load_config, save_config
from numzero.training.roles.evaluation import EvaluationTask, evaluation
from numzero.training.run import TrainingRun
from tests import warm
from tests.test_commands import COMMANDS
from tests.tiny import CORRIDOR, make_agent, run_config, write_agent

ROOT = Path(__file__).resolve().parent.parent
GAME = "planted_game:Game"
PLANTED = """
from pathlib import Path

from tests.games.environments import Corridor as Game

Path(__file__).with_name("imported").write_text("yes", encoding="utf-8")
"""

MAKES_GAME, MAKES_NONE, NO_FOLDER = "makes its game", "makes no game", "no agent's or run's folder"
PARAMETERS = {
    "play agent": MAKES_GAME,
    "evaluate agent": MAKES_GAME,
    "evaluate opponent": MAKES_NONE,  # its game must be the agent's
    "evaluate positions": NO_FOLDER,  # a file of positions
    "gtp agent": MAKES_GAME,
    "inspect agent": MAKES_GAME,
    "inspect moves": NO_FOLDER,
    "inspect out": NO_FOLDER,
    "export source": MAKES_GAME,
    "export out": NO_FOLDER,
    "bench agent folder": MAKES_GAME,
    "bench learner threads": NO_FOLDER,  # numbers
    "bench scale cores": NO_FOLDER,
    "ladder contestants": MAKES_NONE,  # their game must be the user's
    "ladder out": NO_FOLDER,
    "selfplay agent_folder": MAKES_GAME,
    "selfplay out": NO_FOLDER,
    "resume run": MAKES_GAME,
    "resume kind": NO_FOLDER,  # the user's own word
    "resume address": NO_FOLDER,
    "resume overrides": NO_FOLDER,
    "resume tensorboard": NO_FOLDER,
    "resume wandb": NO_FOLDER,
    "reanalyze run": MAKES_NONE,
    "reanalyze agent_folder": MAKES_NONE,
    "describe agent": MAKES_NONE,
    "check-env environment": NO_FOLDER,  # the user's own word
    "record agent": MAKES_GAME,
    "record out": NO_FOLDER,
    "report runs": MAKES_NONE,
    "report out": NO_FOLDER,
    "results files": NO_FOLDER,
    "results into": NO_FOLDER,
    "presets name": NO_FOLDER,
    "store export path": MAKES_NONE,
    "store export minari": NO_FOLDER,
    "store info path": MAKES_NONE,
    "store merge out": MAKES_NONE,
    "store merge paths": MAKES_NONE,
    "store verify path": MAKES_NONE,
    "study preset": NO_FOLDER,  # the user's own word, as is its --set
    "study games": NO_FOLDER,  # the user's own words
    "study tasks": NO_FOLDER,  # a file of settings that she names herself
    "study out": MAKES_NONE,  # its settings must be the user's
    "study variants": NO_FOLDER,
    "study overrides": NO_FOLDER,
    "study kind": NO_FOLDER,
    "study address": NO_FOLDER,
    "tune preset": NO_FOLDER,  # the user's own word
    "tune out": NO_FOLDER,  # its settings are not read from there
    "tune ranges": NO_FOLDER,
    "tune overrides": NO_FOLDER,
    "train preset": NO_FOLDER,
    "train folder": NO_FOLDER,
    "train source": MAKES_NONE,  # of a store, which may say what it holds
    "train init": MAKES_NONE,
    "train overrides": NO_FOLDER,
    "train tensorboard": NO_FOLDER,
    "train wandb": NO_FOLDER,
    "train kind": NO_FOLDER,
    "train address": NO_FOLDER,
}
"""Every parameter of any command that takes text or a path, but for `--env`: what becomes of its folder's game."""

MAKING = {
    "play": "play AGENT --watch",
    "evaluate": "evaluate AGENT --games 2",
    "evaluate a run": "evaluate RUN --games 2",
    "gtp": "gtp AGENT",
    "inspect": "inspect AGENT",
    "record": "record AGENT --out film.gif --max-steps 2",
    "export": "export AGENT --out out --games 2",
    "export without scores": "export RUN --out out --games 0 --check --positions 2",
    "bench agent": "bench agent AGENT --simulations 0 --seconds 0.05 --no-cold",
    "selfplay": "selfplay --agent AGENT --games 2 --workers 1 --batch 2 --out games",
    "resume": "resume RUN",
}
NOT_MAKING = {
    "describe": "describe AGENT",
    "report": "report RUN",
    "store info": "store info RUN",
    "store merge": "store merge RUN --out games.sqlite",
    "store verify": "store verify RUN",
    "reanalyze": "reanalyze RUN --workers 0 --simulations 2",
    "train offline": "train planted.toml --from RUN --offline --run offline",
    "train offline without a preset": f"train {GAME} --from RUN --offline --run fitted --set schedule.num_updates=2",
}


class Planted(NamedTuple):
    """A stranger's folders, and the user's working directory, where the module that they name lies."""

    cwd: Path
    agent: Path
    run: Path

    @property
    def imported(self) -> bool:
        return (self.cwd / "imported").exists() or "planted_game" in sys.modules

    def forget(self) -> None:
        (self.cwd / "imported").unlink(missing_ok=True)
        sys.modules.pop("planted_game", None)

    def invoke(self, words: str, *more: str) -> Result:
        places = {"AGENT": str(self.agent), "RUN": str(self.run)}
        return CliRunner().invoke(main, [*(places.get(word, word) for word in words.split()), *more])


def write_stranger(folder: Path, name: str) -> Path:
    """An agent's folder that is whole and verifies, of a game of that name."""
    agent = make_agent(CORRIDOR)
    info = msgspec.structs.replace(agent.info, spec=msgspec.structs.replace(agent.info.spec, name=name))
    write_folder(folder, agent_files(info, agent.files))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    """Made once; the run is one that was trained, by who had the module."""
    cwd, other = tmp_path_factory.mktemp("cwd"), tmp_path_factory.mktemp("folders")
    (cwd / "planted_game.py").write_text(PLANTED, encoding="utf-8")
    config = run_config("cartpole", f"game='{GAME}'", "schedule.gamma=0.9", "evaluation.interval=0")
    (cwd / "planted.toml").write_bytes(save_config(config))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(cwd)
        TrainingRun(config, other / "run", seed=0, on_event=lambda _: None).train()
        planted = Planted(cwd, write_stranger(other / "agent", GAME), other / "run")
        planted.forget()
        yield planted
        planted.forget()


@pytest.fixture
def planted(folders: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planted:
    """The same, in a fresh working directory each."""
    for name in ("planted_game.py", "planted.toml"):
        (tmp_path / name).write_bytes((folders.cwd / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    fresh = folders._replace(cwd=tmp_path)
    fresh.forget()
    return fresh


@pytest.mark.parametrize("command", MAKING)
def test_a_module_that_only_a_folder_names_stays_unimported(command: str, planted: Planted) -> None:
    """Exit code 2 and one sentence with the way out."""
    result = planted.invoke(MAKING[command])
    assert result.exit_code == 2, result.output
    assert re.search(
        rf"names '{GAME}': making that would import module 'planted_game'.* --env.* --trust", result.output
    )
    assert not planted.imported


@pytest.mark.parametrize("word", [("--trust",), ("--env", GAME)], ids=lambda word: word[0])
@pytest.mark.parametrize("command", MAKING)
def test_the_users_word_lets_it_be_made(command: str, word: tuple[str, ...], planted: Planted) -> None:
    """By its name, or by trust in whatever is named."""
    result = planted.invoke(MAKING[command], *word)
    assert result.exit_code == 0, result.output
    assert planted.imported


@pytest.mark.parametrize("command", MAKING)
def test_another_game_than_the_folders_is_refused(command: str, planted: Planted) -> None:
    """Neither is made, not even with --trust: the user would play what she did not ask for."""
    result = planted.invoke(MAKING[command], "--env", "planted_game:Other", "--trust")
    assert result.exit_code == 2, result.output
    assert f"the game that was asked for, 'planted_game:Other'; it plays '{GAME}'" in result.output
    assert not planted.imported


def test_registered_games_are_compared_too(tmp_path: Path) -> None:
    """The game of --env and of --agent, of the same shape or another; and the page's."""
    agent = write_stranger(tmp_path / "corridor", "CartPole-v1")
    for words in (
        f"selfplay --env MountainCar-v0 --agent {agent} --out {tmp_path / 'games'}",
        f"selfplay --env tictactoe --agent {agent} --out {tmp_path / 'games'}",
        f"play {write_agent(tmp_path / 'board')} --web --no-open --env CartPole-v1",
    ):
        result = CliRunner().invoke(main, words.split())
        assert result.exit_code == 2, result.output
        assert "must play the game that was asked for" in result.output
    assert not (tmp_path / "games").exists()


@pytest.mark.parametrize("command", NOT_MAKING)
def test_what_makes_no_game_asks_for_none_and_imports_none(command: str, planted: Planted) -> None:
    """A stranger's folder can be described, reported on and learned from."""
    result = planted.invoke(NOT_MAKING[command])
    assert result.exit_code == 0, result.output
    assert not planted.imported


def test_an_opponent_is_of_the_agents_game(planted: Planted, tmp_path: Path) -> None:
    """So it brings no module of its own."""
    result = planted.invoke(f"evaluate {write_agent(tmp_path / 'board')} --opponent AGENT")
    assert result.exit_code == 2
    assert not planted.imported


def test_games_of_another_folder_do_not_name_the_game(planted: Planted) -> None:
    """The preset is the user's word, and theirs must agree with it."""
    result = planted.invoke("train cartpole --from RUN --offline --run offline")
    assert result.exit_code == 2
    assert not planted.imported


def test_a_studys_folder_does_not_name_the_game(planted: Planted) -> None:
    """Settings that lie in it are compared with the user's before anything is made."""
    folder = planted.cwd / "study" / "runs" / "preset"
    FolderLock(planted.cwd / "study", STUDY).close()
    folder.mkdir(parents=True)
    (folder / "config.toml").write_bytes((planted.cwd / "planted.toml").read_bytes())
    result = planted.invoke("study cartpole --seeds 1 --out study")
    assert result.exit_code == 2
    assert "with other settings" in result.output
    assert not planted.imported


def test_registered_games_need_no_word(tmp_path: Path) -> None:
    """numzero's own, and what gymnasium itself registers."""
    for game in ("tictactoe", "CartPole-v1"):
        folder = write_agent(tmp_path / game, game)
        for words in ([], ["--env", game], ["--trust"]):
            result = CliRunner().invoke(main, ["inspect", str(folder), *words])
            assert result.exit_code == 0, result.output


@pytest.mark.parametrize("name", ["os:abort", "http.server:test", "antigravity:x"])
def test_a_new_process_ends_with_one_sentence(name: str, tmp_path: Path) -> None:
    """It is neither aborted, nor does it listen, nor open a browser."""
    folder = write_stranger(tmp_path / "agent", name)
    for command in ("inspect", "play"):
        done = warm.run(command, folder, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert done.stderr.count("\n") == 1
        assert f"names {name!r}" in done.stderr


def test_the_library_is_as_careful_by_default(planted: Planted, tmp_path: Path) -> None:
    """Whoever loads an agent or takes up a run says `trust`, or the game is not made."""
    agent = Agent.load(planted.agent)
    calls: list[Any] = [
        lambda **trust: evaluate(agent, opponent=None, games=2, simulations=0, seed=0, **trust),
        lambda **trust: golden_cases(agent.info, agent.files, 0, **trust),
        lambda **trust: bench_agent(planted.agent, (0,), 0.05, **trust),
        lambda **trust: TrainingRun.resume(planted.run, lambda _: None, **trust),
    ]
    for call in calls:
        with pytest.raises(UserError, match="a folder may name only games that are registered"):
            call()
        with pytest.raises(UserError, match="the game that was asked for, 'mine:Env'"):
            call(trust="mine:Env")
        assert not planted.imported
    with pytest.raises(UserError, match="the game that was asked for, 'CartPole-v1'"):
        final_scores(agent, 0, "CartPole-v1")
    assert not planted.imported
    for call in calls[:3]:
        call(trust=GAME)
    assert planted.imported


def test_evaluation_beside_training_plays_the_runs_game_alone(planted: Planted) -> None:
    """An agent that is published to be judged, of another game, ends it before that game is made."""

    def judge(game: str) -> int:
        runtime = InlineRuntime()
        runtime.start(evaluation, [EvaluationTask(game, 2, 0, 0)], unit="updates")
        runtime.publish(1, read_folder(planted.agent), AGENTS)
        runtime.allow("evaluation", 1)
        runtime.poll(0.0)
        return len(runtime.take_counts()["evaluations"])

    with pytest.raises(UserError, match="the game that was asked for, 'CartPole-v1'"):
        judge("CartPole-v1")
    assert not planted.imported
    assert judge(GAME) == 1


def test_every_command_that_takes_a_folder_is_tried_here() -> None:
    """A new one must say what becomes of the game that its folder names, and if it makes it, take the user's word."""
    found = {
        f"{' '.join(path)} {parameter.name}": path
        for path, command in COMMANDS.items()
        for parameter in command.params
        if isinstance(parameter.type, (click.Path, click.File)) or parameter.type is click.STRING
        if parameter.name not in ("env", "env_args", "game")
    }
    assert set(found) == set(PARAMETERS)
    makers = {" ".join(path) for name, path in found.items() if PARAMETERS[name] == MAKES_GAME}
    assert makers == {re.sub(" (AGENT|RUN|--agent|--env).*", "", words) for words in MAKING.values()}
    for name in makers:
        options = {word for parameter in COMMANDS[tuple(name.split())].params for word in parameter.opts}
        assert {"--env", "--trust"} <= options, name


def test_what_a_run_suggests_can_be_typed() -> None:
    """The commands that are named at its end make its game."""
    assert env_words("CartPole-v1") == ""
    assert env_words("my env:Class") == " --env 'my env:Class'"


def test_a_described_stranger_is_json(planted: Planted) -> None:
    """The name is shown, and no more."""
    assert json.loads(planted.invoke("describe AGENT --json").stdout)["spec"]["name"] == GAME


@pytest.mark.parametrize("setting", ["network.body", "learner.loss", "runtime.kind"])
def test_code_that_a_runs_settings_name_needs_trust(setting: str, tmp_path: Path, monkeypatch) -> None:
    """A body, a loss, a runtime of a stranger's is imported by `resume` only with --trust."""
    monkeypatch.chdir(tmp_path)
    TrainingRun(run_config("tictactoe"), tmp_path / "run", seed=0, on_event=lambda _: None).train()
    (tmp_path / "planted_code.py").write_text(PLANTED.replace("Corridor as Game", "Corridor as Code"))
    planted = load_config(tmp_path / "run" / "config.toml", [f"{setting}={tmp_path / 'planted_code.py'}:Code"])
    write_sealed(tmp_path / "run" / "config.toml", save_config(planted))
    for words in (["resume", "run"], ["resume", "run", "--env", "tictactoe"]):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 2, result.output
        assert "a folder may name no code of its own" in result.output
        assert not (tmp_path / "imported").exists()
