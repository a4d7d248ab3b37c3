"""The commands that say how training went: `report` and `study`."""

from __future__ import annotations

import io
import json
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from numzero.commands import main
from numzero.metrics import Evaluated, read_metrics
from numzero.studies import study as study_module
from numzero.studies.results import read_results
from numzero.training import loop as loop_module
from numzero.training.run import TrainingRun
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
