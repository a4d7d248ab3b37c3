"""Commands answer as they should, whatever an environment does to them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from numzero.agent import Agent
from numzero.errors import CopyRefused, UserError
from numzero.exporting import folder
from numzero.judging.evaluate import episodes
from numzero.judging.opponents import RandomPlayer
from numzero.metrics import Evaluated, Event, Noted
from numzero.studies.study import Study
from numzero.training import play_many
from numzero.training.memory import SHORTEST_PIECE
from numzero.training.play_many import SelfPlaySession
from numzero.training.run import TrainingRun
from tests import warm
from tests.games.harsh import FOLDER
from tests.tiny import RUN, run_config, write_agent

ROOT = Path(__file__).resolve().parents[2]
HARSH = "tests.games.harsh"


def settings(game: str, *more: str) -> list[str]:
    """Options of a tiny run of an environment of one player."""
    words = (*RUN, f"game={HARSH}:{game}", "selfplay.batch_size=2", "schedule.gamma=0.9", *more)
    return [word for setting in words for word in ("--set", setting)]


def test_json_is_json_whatever_is_printed(tmp_path: Path) -> None:
    """What environments, programs that they start and workers print goes to stderr; one object is left on stdout."""
    trained = warm.run("train", "cartpole", *settings("Prints"), "--run", tmp_path / "run", "--workers", 1, "--json")
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout)["game"] == f"{HARSH}:Prints"
    for line in ("a new episode", "from below", "from a child"):
        assert line in trained.stderr
    judged = warm.run("evaluate", tmp_path / "run", "--games", 2, "--env", f"{HARSH}:Prints", "--json")
    assert judged.returncode == 0, judged.stderr
    assert json.loads(judged.stdout)["games"] == 2
    trusted = ("--env", f"{HARSH}:Prints", "--json")
    commands: list[tuple[object, ...]] = [
        ("resume", tmp_path / "run", "--set", "evaluation.games=2", *trusted),
        ("inspect", tmp_path / "run", *trusted),
        ("selfplay", "--agent", tmp_path / "run", "--out", tmp_path / "games", "--games", 2, "--workers", 1, *trusted),
    ]
    for words in commands:
        done = warm.run(*words)
        assert "a new episode" in done.stderr, words
        assert isinstance(json.loads(done.stdout), dict), words


def test_copies_are_judged_as_many_as_may_be_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that allows two instances is judged by two episodes at a time, and one that allows one by one."""
    monkeypatch.setenv(FOLDER, str(tmp_path))
    results = [episodes(f"{HARSH}:{name}", RandomPlayer(), games=5, seed=0) for name in ("OneInstance", "TwoInstances")]
    assert all(set(result) == set(results[0]) and "unfinished" not in result for result in results)


def test_one_instance_is_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where self-play has the only instance, evaluations on the way are left out, and said to be."""
    monkeypatch.setenv(FOLDER, str(tmp_path))
    heard: list[Event] = []
    config = run_config("cartpole", f"game={HARSH}:OneInstance", "selfplay.batch_size=1", "evaluation.interval=6")
    run = TrainingRun(config, tmp_path / "run", seed=0, on_event=heard.append)
    assert "mean_return" in run.train()
    said = [event.message for event in heard if isinstance(event, Noted) and event.kind == "unjudged"]
    assert len(said) == 1
    assert "the agent of 6 updates was not judged" in said[0]
    assert "the port is taken" in said[0]
    assert [event.updates for event in heard if isinstance(event, Evaluated)] == [12]


def test_a_run_whose_environment_could_not_be_made_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command with what the sentence says works, for nothing was done."""
    monkeypatch.setenv(FOLDER, str(tmp_path))
    for batch_size in (2, 1):
        config = run_config("cartpole", f"game={HARSH}:OneInstance", f"selfplay.batch_size={batch_size}")
        run = TrainingRun(config, tmp_path / "run", seed=0, on_event=lambda _: None)
        if batch_size == 2:
            with pytest.raises(CopyRefused, match="batch_size to 1"):
                run.train()
        else:
            run.train()
    with pytest.raises(UserError, match="exists already"):
        TrainingRun(config, tmp_path / "run", seed=0, on_event=lambda _: None)


def test_a_run_that_is_not_to_be_written_to_can_be_read(tmp_path: Path) -> None:
    """On a read-only disk: its report, its evaluation and learning from its games; what writes is refused."""
    disk, new = tmp_path / "disk", tmp_path / "new"
    run = disk / "run"
    TrainingRun(run_config("tictactoe"), run, seed=0, on_event=lambda _: None).train()
    tiny = [word for setting in RUN for word in ("--set", setting)]
    works = {
        "report": ["report", run],
        "evaluate": ["evaluate", run, "--games", 2],
        "describe": ["describe", run],
        "inspect": ["inspect", run],
        "export": ["export", run, "--out", tmp_path / "exported", "--games", 2],
        "offline": ["train", "tictactoe", "--from", run, "--offline", "--run", new, *tiny],
    }
    refused = {
        "resume": ["resume", run],
        "page": ["report", run, "--out", run / "page.html"],
        "train": ["train", "tictactoe", "--run", disk / "other", *tiny],
        "reanalyze": ["reanalyze", run],
    }
    said = on_read_only(disk, {name: [str(word) for word in words] for name, words in (works | refused).items()})
    assert {name: said[name] for name in works if said[name][0]} == {}
    assert "may not be written to" in said["report"][1]
    assert (new / "agents").is_dir()
    for name in refused:
        code, lines = said[name]
        assert (code, lines.count("\n")) == (2, 1), said[name]
        assert "read-only" in lines.lower(), said[name]


PROGRAM = """
import json, sys
from click.testing import CliRunner
from numzero.commands import main
said = {}
for name, words in json.loads(sys.argv[1]).items():
    result = CliRunner().invoke(main, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    said[name] = result.exit_code, result.stderr
print(json.dumps(said))
"""


def on_read_only(disk: Path, commands: dict[str, list[str]]) -> dict[str, tuple[int, str]]:
    """Exit codes and errors of commands in a process for which the folder is mounted read-only."""
    mount = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"'
    script = f'{mount} || exit 77; shift; exec "$@"'
    if shutil.which("unshare") is None:
        pytest.skip("there is no `unshare` here to mount a folder read-only with")
    words = ["unshare", "-rm", "sh", "-c", script, "sh", str(disk), sys.executable, "-c", PROGRAM]
    done = subprocess.run([*words, json.dumps(commands)], cwd=ROOT, capture_output=True, text=True, timeout=600)
    if done.returncode == 77 or done.stderr.startswith("unshare:"):
        pytest.skip(f"a folder cannot be mounted read-only here: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    found: dict[str, tuple[int, str]] = json.loads(done.stdout)
    return found


def test_selfplay_stores_games_that_outgrow_the_memory_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long they are: what is under way is bounded, whatever the number of processes and copies."""
    agent = Agent.load(write_agent(tmp_path / "agent"))
    few, many = (SelfPlaySession(agent, tmp_path / "games", workers=count).task for count in (1, 8))
    assert few.most_steps == pytest.approx(8 * many.most_steps, rel=1e-4)
    monkeypatch.setattr(play_many, "RUNNING_MB", 0)
    assert SelfPlaySession(agent, tmp_path / "games").task.most_steps == SHORTEST_PIECE


def test_folders_mean_what_they_meant_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of studies, of self-play and of exported agents too, if a game changes the current folder meanwhile."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    agent = write_agent(tmp_path / "agent")
    session = SelfPlaySession(Agent.load(agent), Path("games"), games=1, workers=1)
    study = Study("tictactoe", RUN, [], 1, Path("study"))

    def wander(*_: object, **__: object) -> bytes:
        monkeypatch.chdir(elsewhere)
        return b'{"cases": []}'

    monkeypatch.setattr(folder, "golden_cases", wander)
    assert folder.export(Path("agent"), Path("exported"), games=0)["out"] == "exported"
    session.run()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent", "elsewhere", "exported", "games"]
    assert list(elsewhere.iterdir()) == []
    assert study.folder == tmp_path / "study"
