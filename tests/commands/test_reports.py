"""The commands that say how training went: `report` and `study`."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from numzero.commands import main
from numzero.metrics import Evaluated, MetricsFile, Started, read_metrics
from numzero.studies import study as study_module
from numzero.studies.comparison import compare
from numzero.studies.report import read_report
from numzero.studies.results import read_results
from numzero.studies.watch import WatchServer
from numzero.training import loop as loop_module
from numzero.training.run import TrainingRun
from tests import warm
from tests.hosts.test_page import ask, serving
from tests.tiny import RUN, run_config

VOID = {"meta"}


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


class Page(HTMLParser):
    """Refuses tags that do not match, and whatever a page would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not {"src", "href"} & {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "a & b"
    patch = pytest.MonkeyPatch()
    patch.setattr(loop_module, "DIAGNOSIS_UPDATES", 3)
    TrainingRun(
        run_config("cartpole", "evaluation.interval=6", "evaluation.random_steps=600"),
        folder,
        seed=0,
        workers=0,
        on_event=lambda _: None,
    ).train()
    patch.undo()
    return folder


def test_a_report_is_one_page_with_findings_charts_and_settings(run_folder: Path):
    """Whole HTML that loads nothing; the findings are those that are printed."""
    result = invoke("report", run_folder)
    assert result.exit_code == 0
    page = Page((run_folder / "report.html").read_text("utf-8"))
    assert page.tags.count("svg") >= 10
    evaluations = [event for event in read_metrics(run_folder / "metrics.jsonl") if isinstance(event, Evaluated)]
    assert page.tags.count("circle") == len(evaluations) == 2
    assert page.tags.count("tr") == 2 + len(evaluations), "a head, and the random policy"
    for words in (
        "a & b",
        "Score, 4 games each",
        "threshold 475.0",
        "threshold 475.0 not reached.",
        "after 12 updates",
        "a random policy",
        "met the time limit",
        "Error of the value, relative",
        "Share of positions where policy and search agree",
        "num_simulations",
    ):
        assert words in page.text
    said = json.loads(invoke("report", run_folder, "--json").stdout)
    findings = said["findings"]
    assert said["outcome"] in ("failed", "unsure", "learned")
    assert f"{said['verdict']}." in page.text
    assert f"{said['verdict']}." in result.stdout
    assert len(findings) >= 4
    for finding in findings:
        assert finding["sentence"] in page.text
        assert finding["sentence"] in result.stdout


def test_a_report_of_a_run_that_only_began_can_be_read(run_folder: Path, tmp_path: Path):
    """One event, and no chart."""
    began = tmp_path / "began"
    began.mkdir()
    (began / "config.toml").write_bytes((run_folder / "config.toml").read_bytes())
    first = (run_folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)[0]
    (began / "metrics.jsonl").write_bytes(first + b'{"type": "prog')
    result = invoke("report", began, "--out", tmp_path / "page.html")
    assert result.exit_code == 0
    assert "has not ended" in result.stdout
    assert "svg" not in Page((tmp_path / "page.html").read_text("utf-8")).tags


@pytest.fixture(scope="module")
def two_runs(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The run, and one that differs in a setting, in its seed and in what its agent came to."""
    other = tmp_path_factory.mktemp("other") / "better"
    shutil.copytree(run_folder, other)
    text = (other / "config.toml").read_text("utf-8")
    (other / "config.toml").write_text(text.replace("discount_weight = 1.0", "discount_weight = 0.25"), "utf-8")
    events = read_metrics(run_folder / "metrics.jsonl")
    (other / "metrics.jsonl").unlink()
    file = MetricsFile(other / "metrics.jsonl")
    for event in events:
        if isinstance(event, Started):
            event = msgspec.structs.replace(event, seed=7)
        if isinstance(event, Evaluated):
            event = msgspec.structs.replace(event, scores={**event.scores, "mean_return": 480.0, "std_return": 1.0})
        file.write(event)
    file.close()
    return run_folder, other


def test_runs_are_compared_on_one_page(two_runs: tuple[Path, Path], tmp_path: Path):
    """Who is best, three numbers, a line and a band for each, levels once, what differs in settings, all findings."""
    result = invoke("report", *two_runs, "--out", tmp_path / "page.html")
    assert result.exit_code == 0
    text = (tmp_path / "page.html").read_text("utf-8")
    page = Page(text)
    best = f"{two_runs[1].parent.name}/better"
    assert f"{best} is best: 480.0 against" in page.text
    assert f"{best} is best: 480.0 against" in result.stdout
    assert "1 of 2" in page.text
    assert page.tags.count("polygon") == 4, "of two runs, by steps and by seconds"
    assert page.tags.count("circle") == 8
    assert text.count('data-name="threshold 475.0"') == 2
    for words in ("discount_weight", "0.25", "seed", "Findings of", "threshold reached after"):
        assert words in page.text
    assert "visit_offset" not in page.text, "the same in both"
    said = json.loads(invoke("report", *two_runs, "--json").stdout)
    assert said["comparison"] in result.stdout
    assert [each["run"] for each in said["runs"]] == [str(run) for run in two_runs]


def test_scores_that_may_be_luck_are_not_ranked(run_folder: Path, tmp_path: Path):
    """The same figures twice."""
    shutil.copytree(run_folder, tmp_path / "twin")
    assert "cannot be told apart" in compare([run_folder, tmp_path / "twin"]).sentence


def test_runs_of_two_drives_have_their_whole_paths(two_runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch):
    """They have no folder in common, which Windows says so."""

    def no_path(paths: list[str]) -> str:
        raise ValueError("Paths don't have the same drive")

    compared = compare(two_runs)
    monkeypatch.setattr("numzero.studies.comparison.os.path.commonpath", no_path)
    assert compared.names == [run.absolute().as_posix() for run in two_runs]


def test_games_that_differ_are_not_compared(run_folder: Path, tmp_path: Path):
    """Their scores have no unit in common; the page shows them all the same."""
    other = tmp_path / "other"
    shutil.copytree(run_folder, other)
    lines = [
        msgspec.structs.replace(event, game="Acrobot-v1") if isinstance(event, Started) else event
        for event in read_metrics(other / "metrics.jsonl")
    ]
    (other / "metrics.jsonl").unlink()
    file = MetricsFile(other / "metrics.jsonl")
    for event in lines:
        file.write(event)
    file.close()
    found = compare([run_folder, other])
    assert "different games, CartPole-v1 and Acrobot-v1" in found.sentence
    assert found.sentence in Page(found.page).text


def test_a_run_is_named_once_and_a_page_of_somebody_else_stays(
    run_folder: Path, two_runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """One sentence each, exit code 2; a comparison of before is written over."""
    monkeypatch.chdir(tmp_path)
    twice = invoke("report", run_folder, run_folder / ".." / run_folder.name)
    assert (twice.exit_code, "each run must be named once" in twice.stderr) == (2, True)
    assert invoke("report", *two_runs).exit_code == invoke("report", *two_runs).exit_code == 0
    (tmp_path / "comparison.html").write_text("mine <h2>Findings</h2>")
    again = invoke("report", *two_runs)
    assert (again.exit_code, "is no page that numzero made" in again.stderr) == (2, True)
    assert (tmp_path / "comparison.html").read_text() == "mine <h2>Findings</h2>"
    both = invoke("report", run_folder, "--watch", "--json")
    assert (both.exit_code, "leave --out and --json out" in both.stderr) == (2, True)


def test_a_page_lets_a_browser_run_its_own_script_alone(run_folder: Path):
    """Its policy names the digests of what it holds; nothing is fetched."""
    text = read_report(run_folder).page
    (allowed,) = re.findall(r'content="default-src \'none\'; ([^"]*)"', text)
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() in allowed


def test_a_page_that_is_watched_follows_the_run(run_folder: Path, tmp_path: Path):
    """There is another version, and page, as soon as the run says something; a run that is gone is said."""
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    whole = (run / "metrics.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(b"".join(lines[:2]))
    with serving(WatchServer([run])) as url:
        status, kind, first = ask(url, "/")
        assert (status, kind) == (200, "text/html; charset=utf-8")
        version = ask(url, "/version")[2]
        assert f'data-version="{version.decode()}"' in first.decode()
        (run / "metrics.jsonl").write_bytes(whole)
        assert ask(url, "/version")[2] != version
        second = ask(url, "/")[2].decode()
        assert "not evaluated yet" in first.decode()
        assert read_report(run).verdict.sentence in second
        assert Page(second).tags.count("script") == 2
        (run / "metrics.jsonl").rename(tmp_path / "away")
        assert ask(url, "/version")[0] == ask(url, "/")[0] == 503
        (tmp_path / "away").rename(run / "metrics.jsonl")
        assert ask(url, "/")[0] == 200
        assert ask(url, "/config.toml")[0] == 404
        assert ask(url, "/", b"{}")[0] == 404


def test_an_interrupt_ends_a_watched_page_cleanly(two_runs: tuple[Path, Path]):
    """^C: a last line, exit code 0, no traceback; of several runs, too."""
    process = warm.Command(
        "report", *two_runs, "--watch", "--no-open", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        url = process.stdout.readline().split()[2]
        assert b"threshold reached after" in ask(url, "/")[2]
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "The page is closed.\n"
        assert process.wait(60) == 0
        assert process.stderr.read() == ""


def test_a_report_of_no_run_is_refused(tmp_path: Path):
    """One sentence, exit code 2."""
    result = invoke("report", tmp_path)
    assert (result.exit_code, "is no run" in result.stderr) == (2, True)


def test_a_study_is_a_table_a_picture_and_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A row for each variant and seed; asked again it trains nothing and says the same."""
    monkeypatch.setattr(study_module, "rehearse", lambda config: None)
    settings = [word for each in (*RUN, "selfplay.batch_size=4", "evaluation.interval=6") for word in ("--set", each)]
    words = ["study", "cartpole", "--seeds", "2", "--out", tmp_path / "s", "--variant", "few:search.num_simulations=1"]
    result = invoke(*words, *settings)
    assert result.exit_code == 0
    assert result.stdout == (tmp_path / "s" / "study.md").read_text("utf-8")
    rows = [line.split(" | ")[:2] for line in result.stdout.splitlines() if line.startswith(("| preset", "| few"))]
    assert [row[0] for row in rows] == ["| preset", "| few", *["| preset"] * 2, *["| few"] * 2]
    assert result.stderr.count("mean return") == 4
    assert Image.open(io.BytesIO((tmp_path / "s" / "curves.png").read_bytes())).size == (1280, 720)
    again = invoke(*words, *settings, "--json")
    said = json.loads(again.stdout)
    assert [(each["variant"], each["num_seeds"]) for each in said["summaries"]] == [("preset", 2), ("few", 2)]
    assert [each["seed"] for each in said["seeds"]] == [0, 1, 0, 1]
    assert said["command"].startswith("python cli.py study cartpole --seeds 2")
    assert again.stderr == ""


def test_a_study_of_before_curves_had_seconds_is_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Asked for again it trains nothing: the seconds come from the run's metrics, and results.json is a new one."""
    monkeypatch.setattr(study_module, "rehearse", lambda config: None)
    settings = [word for each in (*RUN, "selfplay.batch_size=4", "evaluation.interval=6") for word in ("--set", each)]
    words = ["study", "cartpole", "--seeds", "1", "--out", tmp_path / "deep" / "s", *settings]
    invoke(*words)
    written = (tmp_path / "deep" / "s" / "results.json").read_text("utf-8")
    seed = tmp_path / "deep" / "s" / "runs" / "preset" / "seed-0.json"
    old = json.loads(seed.read_text("utf-8"))
    for point in old["curve"]:
        del point["seconds"]
    seed.write_text(json.dumps(old), encoding="utf-8")
    monkeypatch.setattr(study_module, "train_seed", lambda *given: pytest.fail("trained again"))
    assert invoke(*words).exit_code == 0
    assert (tmp_path / "deep" / "s" / "results.json").read_text("utf-8") == written
    whole = read_results(tmp_path / "deep" / "s" / "results.json")
    assert all(point.seconds is not None for point in whole.seeds[0].curve)
    assert whole.command.startswith("python cli.py study cartpole --seeds 1 --out studies/s --set")


def test_a_study_needs_a_preset_that_exists(tmp_path: Path):
    """Nothing is written before settings are right."""
    result = invoke("study", "cartpool", "--out", tmp_path / "s")
    assert (result.exit_code, "cartpole" in result.stderr) == (2, True)
    assert not (tmp_path / "s").exists()


def test_a_study_trains_where_pillow_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The picture is left out, which is said once; page and results are whole."""
    monkeypatch.setattr(study_module, "rehearse", lambda config: None)
    monkeypatch.setitem(sys.modules, "PIL", None)
    settings = [word for each in (*RUN, "selfplay.batch_size=4", "evaluation.interval=6") for word in ("--set", each)]
    result = invoke("study", "cartpole", "--seeds", "2", "--out", tmp_path / "s", *settings)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("curves.png is left out: Pillow, which draws it, is not installed") == 1
    assert len(read_results(tmp_path / "s" / "results.json").seeds) == 2
    assert "curves.png" not in (tmp_path / "s" / "study.md").read_text("utf-8")
    assert not (tmp_path / "s" / "curves.png").exists()
