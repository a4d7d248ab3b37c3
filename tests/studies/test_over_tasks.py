"""Studies over tasks: a row for each task, taken up where they were killed, and files that say what is known."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from numzero.commands import main
from numzero.errors import UserError
from numzero.studies import study as study_module
from numzero.studies.results import Results, TaskResults, TasksResults, read_results, summarize
from numzero.studies.table import with_table
from numzero.studies.tasks import Task, named_tasks
from numzero.studies.tasks_outcome import share_of_the_way, tasks_table
from tests import warm
from tests.made_results import seed_result

ROOT = Path(__file__).resolve().parents[2]
TINY = ("search.num_simulations=2", "network.body.width=16", "network.body.latent_size=8", "evaluation.games=4")
WORDS = [word for each in (*TINY, "schedule.start_steps=40", "evaluation.interval=0") for word in ("--set", each)]
FILE = """
[[tasks]]
name = "first"
game = "battery:one-step"
probes = "one step"
optimum = 1.0
random = 0.375
steps = 60

[[tasks]]
name = "second"
game = "tests.games.environments:Corridor"
settings = ["schedule.num_updates=12"]
"""


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, list(map(str, words)))


def test_a_study_over_tasks_goes_on_where_it_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By SIGKILL after its first seed: that one is not trained again, and all rows are there in the end."""
    file, out = tmp_path / "tasks.toml", tmp_path / "s"
    file.write_text(FILE.replace("num_updates=12", "num_updates=100000"), encoding="utf-8")  # is under way for long
    words = ["study", "general", "--tasks", file, "--seeds", "1", "--out", out, *WORDS]
    first = out / "tasks" / "first" / "runs" / "preset" / "seed-0.json"
    process = warm.Command(*words, stderr=subprocess.DEVNULL)
    try:
        while not first.exists():
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.kill()
    assert process.wait() in (-signal.SIGTERM, -9, 1)
    trained = first.read_bytes()
    monkeypatch.setattr(study_module, "rehearse", lambda config: None)
    refused = invoke(*words, "--set", "learner.batch_size=8")
    assert (refused.exit_code, "was begun in" in refused.stderr) == (2, True)
    (out / "tasks" / "second").rename(tmp_path / "second")  # what was to be long
    file.write_text(FILE, encoding="utf-8")
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    assert result.stdout == (out / "study.md").read_text("utf-8")
    assert first.read_bytes() == trained
    rows = [line.strip("| ").split(" | ") for line in result.stdout.splitlines() if line.startswith("| ")][2:]
    assert [row[:4] for row in rows] == [
        ["first", "one step", "1", "0.375"],
        ["second", "", "-", rows[1][3]],
    ]
    assert (out / "tasks.png").exists()
    said = json.loads(invoke(*words, "--json").stdout)
    assert [len(each["results"]["seeds"]) for each in said["tasks"]] == [1, 1]
    whole = read_results(out / "results.json")
    assert isinstance(whole, TasksResults)
    assert whole.tasks[1].random == whole.tasks[1].results.seeds[0].random
    assert whole.tasks[0].results.seeds[0].steps in range(50, 70)


def made(optimum: float | None, random: float | None, *scores: float) -> TaskResults:
    """A task and seeds of these scores."""
    seeds = [msgspec.structs.replace(seed_result(n, score), random=3.0) for n, score in enumerate(scores)]
    results = Results(
        preset="general", game="g", command="python cli.py study", machine="m", settings={"preset": []},
        threshold=None, seeds=seeds, summaries=summarize(seeds, None),
    )  # fmt: skip
    return TaskResults(task=Task(name="t", game="g", optimum=optimum, random=random), results=results)


@pytest.mark.parametrize(
    ("optimum", "random", "scores", "share"),
    [
        (10.0, 0.0, (5.0, 9.0, 7.0), 0.7),
        (-7.0, -85.0, (-85.0,), 0.0),
        (10.0, None, (10.0,), 1.0),  # 3 was measured
        (10.0, None, (3.0,), 0.0),
        (10.0, 10.0, (10.0,), None),
        (None, 0.0, (10.0,), None),
    ],
)
def test_the_share_of_the_way_is_that_of_the_median(optimum, random, scores, share) -> None:
    """From random, 0, to the optimum, 1; none where one of them is not known."""
    each = made(optimum, random, *scores)
    assert share_of_the_way(each, each.results.summaries[0]) == pytest.approx(share)


def test_tasks_at_95_percent_are_counted() -> None:
    """Of those whose ends are known."""
    whole = TasksResults(tasks=[made(10.0, 0.0, 9.5), made(10.0, 0.0, 9.4), made(None, 0.0, 10.0)])
    assert "general: 1 of 2 tasks at 95% of the way" in tasks_table([whole])
    assert "Not trained" not in tasks_table([whole])
    half = TasksResults(tasks=[*whole.tasks, made(10.0, 0.0)])
    assert "general: 1 of 2 tasks at 95% of the way" in tasks_table([half])
    assert "Not trained yet: t." in tasks_table([half])


def test_a_table_is_of_one_kind_of_study(tmp_path: Path) -> None:
    """`results` reads both kinds, and mixes none."""
    (tmp_path / "tasks.json").write_bytes(msgspec.json.encode(TasksResults(tasks=[made(10.0, 0.0, 9.5)])))
    (tmp_path / "one.json").write_bytes(msgspec.json.encode(made(10.0, 0.0, 9.5).results))
    (row,) = json.loads(invoke("results", tmp_path / "tasks.json", "--json").stdout)["rows"]
    assert (row["task"], row["share"], row["median"]) == ("t", 0.95, {"mean return": 9.5})
    mixed = invoke("results", tmp_path / "tasks.json", tmp_path / "one.json")
    assert (mixed.exit_code, "got both" in mixed.stderr) == (2, True)


def test_the_page_shows_the_committed_study() -> None:
    """Its table is what `results` makes of the file now; tasks are those that ship."""
    page = (ROOT / "docs" / "battery.md").read_text("utf-8")
    whole = read_results(ROOT / "models" / "studies" / "tasks" / "battery.json")
    assert isinstance(whole, TasksResults)
    assert with_table(ROOT / "docs" / "battery.md", tasks_table([whole])) == page
    assert [each.task for each in whole.tasks] == named_tasks(file=Path("battery"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[tasks]]\nname = 'a'", "game"),
        ("[[tasks]]\nname = '../a'\ngame = 'g'", "name must be of letters"),
        ("[[tasks]]\nname = 'a'\ngame = 'g'\nsteps = 0", "steps of 'a' must be 1 or more"),
        ("[[tasks]]\nname = 'a'\ngame = 'g'\noptimum = nan", "optimum of 'a' must be finite"),
        ("[[tasks]]\nname = 'a'\ngame = 'g'\n[[tasks]]\nname = 'A'\ngame = 'g'", "is there twice"),
        ("[[tasks]]\nname = 'a'\ngame = 'g'\nsize = 3", "size"),
        ("tasks = 3", r"\[\[tasks\]\]"),
        ("[[", "is not TOML"),
    ],
)
def test_a_file_that_is_none_of_tasks_is_refused(text: str, message: str, tmp_path: Path) -> None:
    """With what is wrong in it."""
    (tmp_path / "x.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        named_tasks(file=tmp_path / "x.toml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["general"], "for any game and names none"),
        (["general", "--game", "battery:ecko"], "Did you mean 'echo'"),
        (["general", "--game", "battery:echo", "--game", "battery:echo"], "is there twice"),
        (["general", "--tasks", "missing.toml"], "cannot be read"),
        (["cartpool", "--game", "battery:echo"], "Did you mean 'cartpole'"),
    ],
)
def test_what_cannot_be_studied_is_refused_before_anything_is_written(words, message, tmp_path: Path) -> None:
    """In a sentence."""
    result = invoke("study", *words, "--out", tmp_path / "s")
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr
    assert not (tmp_path / "s").exists()


def test_a_game_of_the_battery_comes_with_what_is_known_of_it() -> None:
    """Others with their name alone."""
    known, other = named_tasks(["battery:memory", "CartPole-v1"])
    assert (known.name, known.optimum, known.settings) == ("memory", 1.0, ("observation.frames=4",))
    assert other == Task(name="CartPole-v1", game="CartPole-v1")


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    """That of a study of one game is none of tasks."""
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "thesis.tex").write_text("x", encoding="utf-8")
    result = invoke("study", "general", "--game", "battery:echo", "--out", tmp_path / "s")
    assert (result.exit_code, "not the folder of a study of tasks" in result.stderr) == (2, True)
