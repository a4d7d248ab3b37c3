"""A search for settings: what is tried, what ends early, what is written, and that it goes on."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from numzero import api
from numzero.commands import main
from numzero.errors import UserError
from numzero.folders import TUNING, FolderLock
from numzero.judging.measures import evaluation_score
from numzero.metrics import Evaluated, Event, Started, history, read_metrics
from numzero.studies.trials import EARLY, FAILED, FINISHED, End, Judge, TrialJob, TrialTrainer
from numzero.studies.tuning import FREE_TRIALS, Tuning
from numzero.studies.tuning_outcome import TrialResult, best_of, tuning_page
from numzero.training.config import load_config, load_preset, preset_names
from numzero.training.explained import explain
from numzero.training.ranges import RANGES, Range, parse_range, parse_ranges, ranges_for
from tests import warm
from tests.tiny import CORRIDOR, RUN

SETS = [each for each in RUN if not each.startswith("search.num_simulations")]
SETS += ["selfplay.batch_size=4", "schedule.checkpoint_interval=100"]
SET_RATE = ["learner.learning_rate=0.001"]
COIN = ("game='tests.games.coin:SilentCoin'", "network.num_codes=2")
RANGE = ("learner.learning_rate=1e-4:1e-2:log", "search.num_simulations=2:4", "targets.kind=outcome,lambda")


def test_ranges_are_of_settings_that_there_are() -> None:
    """Each end is a value that the setting may have, in every preset."""
    known = {setting.path for setting in explain()}
    assert set(RANGES) <= known
    for name in preset_names():
        config = load_preset(name)
        for path, each in ranges_for(config, 1).items():
            for value in each.choices or (each.low, each.high):
                assert load_preset(name, [f"{path}={int(value) if each.whole else value}"])
    assert "schedule.gamma" not in ranges_for(load_preset("tictactoe"), 2)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a.b=1:5", Range(1, 5, whole=True)),
        ("a.b=1e-4:1e-2:log", Range(1e-4, 1e-2, log=True)),
        ("a.b=0:1.5", Range(0, 1.5)),
        ("a.b=1,0.5,x", Range(choices=(1, 0.5, "x"))),
        ("a.b=true,false", Range(choices=(True, False))),
    ],
)
def test_ranges_are_read_and_written_alike(text: str, wanted: Range) -> None:
    """Whole numbers at both ends mean whole numbers."""
    path, found = parse_range(text)
    assert (path, found) == ("a.b", wanted)
    assert parse_range(f"{path}={found.words()}") == (path, found)


@pytest.mark.parametrize(
    "text",
    [
        *("a.b", "a.b=", "=1:2", "a.b=2:1", "a.b=0:1:log", "a.b=1:2:lin", "a.b=x:y"),
        *("a.b=0.001:inf", "a.b=-inf:1", "a.b=1:inf:log", "a.b=nan:1"),
    ],
)
def test_what_is_no_range_is_refused(text: str) -> None:
    """With the forms that there are."""
    with pytest.raises(UserError, match="a range is path=low:high"):
        parse_range(text)


def test_a_setting_has_one_range() -> None:
    """Two of the same path are refused with both."""
    assert list(parse_ranges(["a.b=1:5", "a.c=1,2"])) == ["a.b", "a.c"]
    with pytest.raises(UserError, match=r"has one range; got a\.b=1:5 and a\.b=2,3\. Leave one out"):
        parse_ranges(["a.b=1:5", "a.b=2,3"])


def test_what_is_set_is_not_varied(tmp_path: Path) -> None:
    """By no default range; and not both set and varied."""
    pytest.importorskip("optuna", reason="optuna is not installed")
    usual = Tuning("cartpole", tmp_path / "a").ranges
    left = Tuning("cartpole", tmp_path / "a", overrides=SET_RATE).ranges
    assert list(left) == [path for path in usual if path != "learner.learning_rate"]
    with pytest.raises(UserError, match=r"either set or varied; learner\.learning_rate is both"):
        Tuning("cartpole", tmp_path / "a", ranges={"learner.learning_rate": Range(0.1, 1.0)}, overrides=SET_RATE)
    with pytest.raises(UserError, match="all that would be varied is set"):
        Tuning("cartpole", tmp_path / "a", overrides=[f"{path}={json.dumps(usual[path].first)}" for path in usual])


def test_a_page_has_the_best_first_and_ranges_beside_settings() -> None:
    """Failed trials say why, and are not the best."""
    trials = [
        TrialResult(0, {"a": 0.5}, 3.0, "finished", 10),
        TrialResult(1, {"a": 0.25}, 7.0, "finished", 10),
        TrialResult(2, {"a": 0.1}, 9.0, "ended early", 4),
        TrialResult(3, {"a": 0.9}, None, "failed", 0, "it diverged"),
    ]
    assert best_of(trials) == trials[1]
    assert best_of(trials[2:]) is None
    page = tuning_page("cartpole", {"a": Range(0.0, 1.0)}, trials, {"a": 1.0}, False)
    assert "The best of 4 trials is number 1, 7" in page
    assert "| `a` | `0:1` | 0.25 | 100% |" in page
    assert [line.split("|")[1].strip() for line in page.splitlines()[-5:-1]] == ["1", "0", "2", "3"]
    assert "failed: it diverged" in page


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TrialResult]]:
    """Three trials, the second of which was stopped in its middle and made once more."""
    pytest.importorskip("optuna", reason="optuna is not installed")
    folder = tmp_path_factory.mktemp("tuning") / "search"
    options: dict[str, Any] = {"ranges": RANGE, "overrides": [f"game='{CORRIDOR}'", *SETS]}
    api.tune("cartpole", folder, trials=1, **options)
    tried: list[dict[str, Any]] = []

    class Stopped(Tuning):
        def _settings(self, values: Any) -> Any:
            tried.append(dict(values))
            if len(tried) == 2:
                os.kill(os.getpid(), signal.SIGINT)
            return super()._settings(values)

    stopped = Stopped("cartpole", folder, ranges=dict(map(parse_range, RANGE)), overrides=options["overrides"])
    with pytest.raises(KeyboardInterrupt):
        stopped.run(2)
    results = api.tune("cartpole", folder, trials=3, **options)
    assert results[1].values == tried[1]
    return folder, results


def test_a_search_goes_on_and_says_what_came_out(search: tuple[Path, list[TrialResult]]) -> None:
    """The stopped trial's values are tried again under its number; the best settings can be trained by."""
    folder, results = search
    assert [each.number for each in results] == [0, 1, 2]
    assert len({json.dumps(each.values) for each in results}) == 3
    for each in results:
        assert 1e-4 <= each.values["learner.learning_rate"] <= 1e-2
        assert each.values["search.num_simulations"] in (2, 3, 4)
        run = load_config(folder / "runs" / f"{each.number:04d}" / "config.toml")
        assert (run.learner.learning_rate, run.targets.kind) == (
            each.values["learner.learning_rate"],
            each.values["targets.kind"],
        )
        assert run.evaluation.interval == 2  # of 12 updates, five times
    best = best_of(results)
    assert best is not None
    assert load_config(folder / "best.toml") == load_config(folder / "runs" / f"{best.number:04d}" / "config.toml")
    assert "# Settings for cartpole" in (folder / "tuning.md").read_text("utf-8")


def test_what_a_crash_left_of_the_journal_is_no_matter(search: tuple[Path, list[TrialResult]]) -> None:
    """Neither half a line, nor Optuna's own lock, which a killed search leaves behind."""
    folder, results = search
    with (folder / "journal.log").open("ab") as file:
        file.write(b'{"op_code": 4, "worker')
    (folder / "journal.log.lock").touch()
    options: dict[str, Any] = {"ranges": RANGE, "overrides": [f"game='{CORRIDOR}'", *SETS]}
    begun = time.monotonic()
    assert api.tune("cartpole", folder, trials=3, **options) == results
    assert time.monotonic() - begun < 20  # Optuna would wait 30 for that lock


@pytest.mark.parametrize(
    ("range_", "overrides"),
    [(parse_range(RANGE[0]), (f"game='{CORRIDOR}'",)), (("network.chance", Range(choices=("auto",))), COIN)],
    ids=["numbers", "chance"],
)
def test_a_stopped_trial_goes_on_from_its_checkpoint(
    range_: tuple[str, Range], overrides: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what it was judged by before, and under its number; also where it decided whether there is chance."""
    pytest.importorskip("optuna", reason="optuna is not installed")

    def search() -> Tuning:
        return Tuning("cartpole", tmp_path / "search", ranges=dict([range_]), overrides=[*overrides, *SETS])

    hears = Judge.__call__

    def hear_and_stop(judge: Judge, event: Event) -> bool:
        if isinstance(event, Evaluated):
            os.kill(os.getpid(), signal.SIGINT)
        return hears(judge, event)

    with monkeypatch.context() as patched:
        patched.setattr(Judge, "__call__", hear_and_stop)
        with pytest.raises(KeyboardInterrupt):
            search().run(1)
    run = tmp_path / "search" / "runs" / "0000"
    stopped = [event for event in read_metrics(run / "metrics.jsonl") if isinstance(event, Evaluated)]
    (result,) = search().run(1)
    assert (result.number, result.state, result.updates) == (0, FINISHED, 12)
    events = read_metrics(run / "metrics.jsonl")
    assert [event.resumed_at for event in events if isinstance(event, Started)] == [None, stopped[-1].updates]
    judged = [event.updates for event in history(events) if isinstance(event, Evaluated)]
    assert judged == [2, 4, 6, 8, 10, 12]
    assert not (tmp_path / "search" / "runs" / "0001").exists()


def test_trials_are_made_side_by_side(tmp_path: Path) -> None:
    """Each in a process of its own; what was made so is gone on with one at a time."""
    pytest.importorskip("optuna", reason="optuna is not installed")
    options: dict[str, Any] = {"ranges": RANGE[:1], "overrides": [f"game='{CORRIDOR}'", *SETS]}
    results = api.tune("cartpole", tmp_path / "search", trials=2, jobs=2, **options)
    assert [(each.number, each.state, each.updates) for each in results] == [(0, FINISHED, 12), (1, FINISHED, 12)]
    for each in results:
        run = tmp_path / "search" / "runs" / f"{each.number:04d}"
        judged = [event for event in read_metrics(run / "metrics.jsonl") if isinstance(event, Evaluated)]
        assert each.score == evaluation_score(judged[-1].scores)
        assert load_config(run / "config.toml").learner.learning_rate == each.values["learner.learning_rate"]
    assert api.tune("cartpole", tmp_path / "search", trials=2, **options) == results


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="kills processes as Linux has them")
def test_a_search_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    """SIGKILL in the middle of two trials, again and again: each trial goes on, and none is made twice."""
    pytest.importorskip("optuna", reason="optuna is not installed")
    out = tmp_path / "search"
    sets = [f"game='{CORRIDOR}'", *SETS, "schedule.num_updates=400", "schedule.checkpoint_interval=20"]
    words = ["tune", "cartpole", "--out", out, "--jobs", 2, "--trials", 3, "--range", RANGE[0], "--json"]
    words += [word for each in sets for word in ("--set", each)]
    for number in range(3):
        with warm.Command(*words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and process.poll() is None:
                if sum(1 for _ in out.glob("runs/*/checkpoints/*/manifest.json")) > 1 + number:
                    break
                time.sleep(0.1)
            process.kill()
    found = json.loads(warm.run(*words, check=True).stdout)["trials"]
    assert [(each["number"], each["state"]) for each in found] == [(0, FINISHED), (1, FINISHED), (2, FINISHED)]
    begun = [read_metrics(path) for path in sorted(out.glob("runs/*/metrics.jsonl"))]
    assert len(begun) == 3
    assert any(isinstance(event, Started) and event.resumed_at for events in begun for event in events)


def test_a_trial_that_something_else_ended_is_said(tmp_path: Path) -> None:
    """With its log; the reason of one whose values are refused is the last line of that."""
    trainer = TrialTrainer.__new__(TrialTrainer)
    trainer.job = TrialJob(7, None, Judge(None), load_preset("cartpole"), tmp_path / "0007", 7)
    trainer._is_told, trainer._log = False, tmp_path / "0007.log"
    trainer._log.write_text("a warning\nlearner.x must be 1; got 2. Lower it.\n", encoding="utf-8")
    for code, wanted in ((0, End(FINISHED)), (2, End(FAILED, "learner.x must be 1; got 2. Lower it."))):
        trainer.process = SimpleNamespace(exitcode=code)
        assert trainer.end() == wanted
    trainer.process = SimpleNamespace(exitcode=-9)
    with pytest.raises(UserError, match=r"trial 7 was ended by something else .* exit code -9 \(see .*0007\.log\)"):
        trainer.end()
    trainer._is_told = True
    assert trainer.end() == End(EARLY)


def test_another_search_is_refused_its_folder(search: tuple[Path, list[TrialResult]]) -> None:
    """Its trials were made with other settings."""
    with pytest.raises(UserError, match="was begun with other settings, ranges or another seed"):
        api.tune("cartpole", search[0], trials=9, ranges=RANGE[:1], overrides=[f"game='{CORRIDOR}'", *SETS])


def test_a_trial_that_falls_behind_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the median of those before it, at its first evaluation; some are let go on whatever they do."""
    pytest.importorskip("optuna", reason="optuna is not installed")
    scores = itertools.count(100, -1)  # each is worse than all before
    monkeypatch.setattr("numzero.studies.trials.evaluation_score", lambda _: float(next(scores)))
    ranges = dict([parse_range("learner.learning_rate=1e-4:1e-2:log")])
    search = Tuning("cartpole", tmp_path / "search", ranges=ranges, overrides=[f"game='{CORRIDOR}'", *SETS])
    results = search.run(FREE_TRIALS + 1)
    assert [each.state for each in results] == ["finished"] * FREE_TRIALS + ["ended early"]
    assert (results[0].updates, results[-1].updates) == (12, 2)
    assert best_of(results) == results[0]


def test_whether_there_is_chance_is_decided_once_and_kept(tmp_path: Path) -> None:
    """In the first session, for all trials, and told then."""
    pytest.importorskip("optuna", reason="optuna is not installed")
    ranges, notes = dict([parse_range("learner.learning_rate=1e-4:1e-2:log")]), list[str]()
    overrides = [*COIN, *SETS, "network.chance=auto", "search.num_simulations=5"]
    for trials in (1, 2):
        Tuning("cartpole", tmp_path / "s", ranges=ranges, overrides=overrides).run(trials, note=notes.append)
    (said,) = notes
    assert "chance nodes with 2 learned codes are used" in said
    for settings in ("runs/0000/config.toml", "runs/0001/config.toml", "best.toml"):
        found = load_config(tmp_path / "s" / settings)
        assert (found.network.chance, found.search.num_simulations) == ("learned", 10)  # of 5, twice as many
    (tmp_path / "s" / "best.toml").unlink()
    journal = tmp_path / "s" / "journal.log"  # as one of before simulations were doubled
    lines = [line for line in journal.read_text("utf-8").splitlines(True) if "simulations doubled" not in line]
    journal.write_text("".join(lines), "utf-8")
    Tuning("cartpole", tmp_path / "s", ranges=ranges, overrides=overrides).run(3, note=notes.append)
    for settings in ("runs/0002/config.toml", "best.toml"):
        found = load_config(tmp_path / "s" / settings)
        assert (found.network.chance, found.search.num_simulations) == ("learned", 5)
    assert notes == [said]


def test_a_trial_whose_values_are_refused_fails_and_the_search_goes_on(tmp_path: Path) -> None:
    """With the reason in the table."""
    pytest.importorskip("optuna", reason="optuna is not installed")
    ranges = dict([parse_range("network.body.head_scale=0,-1")])
    overrides = [f"game='{CORRIDOR}'", *SETS]
    search = Tuning("cartpole", tmp_path / "search", ranges=ranges, overrides=overrides, seed=5000)  # large for NumPy
    results = search.run(4)
    assert {each.state for each in results} == {"finished", "failed"}
    for each in results:
        assert (each.state == "failed") == (each.values["network.body.head_scale"] == -1)
        assert ("head_scale must be 0 or more" in each.reason) == (each.state == "failed")
    assert "head_scale must be 0 or more" in (tmp_path / "search" / "tuning.md").read_text("utf-8")


def test_without_optuna_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is made."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = CliRunner().invoke(main, ["tune", "cartpole", "--out", str(tmp_path / "x")])
    assert done.exit_code == 2
    assert "needs Optuna: pip install 'numzero[tune]'" in done.output
    assert not (tmp_path / "x").exists()


def test_a_journal_of_somebody_else_stays(tmp_path: Path) -> None:
    """A folder without our mark is refused; in one with it, a journal that cannot be read is named."""
    pytest.importorskip("optuna", reason="optuna is not installed")
    search = dict(map(parse_range, RANGE))
    journal = tmp_path / "journal.log"
    journal.write_text("dear diary\nit rained\n", encoding="utf-8")
    with pytest.raises(UserError, match="is not the folder of a search for settings that numzero made"):
        Tuning("cartpole", tmp_path, ranges=search)
    journal.unlink()
    with FolderLock(tmp_path, TUNING):
        pass
    for content in ("dear diary\nit rained\n", "[1]\n[2]\n"):
        journal.write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=r"journal\.log cannot be read as Optuna's journal .*Put back a copy"):
            Tuning("cartpole", tmp_path, ranges=search).run(1)
        assert journal.read_text("utf-8") == content
