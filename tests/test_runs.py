"""Runs as objects: what a notebook or a program does with numzero in a line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numzero as nz
from numzero.errors import UserError
from numzero.metrics import Evaluated, Event
from tests.chaos import ROOT
from tests.games.environments import Corridor
from tests.tiny import BITS, RUN

TINY: dict[str, Any] = dict(setting.split("=") for setting in RUN) | {"selfplay.batch_size": 4}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nz.Run:
    """A finished one, of an environment that is handed over as its class."""
    folder = tmp_path_factory.mktemp("runs") / "corridor"
    return nz.train(Corridor, folder, workers=0, **TINY)


def test_a_class_is_trained_and_its_run_tells_what_came_out(run: nz.Run, tmp_path: Path) -> None:
    """The agent, its scores, every number of the metrics by name, the report, and an agent for other apps."""
    assert run.agent.info.spec.name == "tests.games.environments:Corridor"
    assert run.scores["mean_return"] <= 1.0
    progress, evaluations = run.metrics(), run.metrics("evaluations")
    assert progress["updates"][-1] == 12
    assert progress["losses/policy"].shape == progress["steps"].shape
    assert evaluations["scores/mean_return"][-1] == run.scores["mean_return"]
    assert run.report().findings
    assert run.evaluate(games=2)["games"] == 2
    assert set(run.export(tmp_path / "agent", games=0)["bytes"]) >= {"agent.onnx"}
    assert nz.evaluate(run, games=2) == nz.evaluate(run.folder, games=2, trust=True) | {
        "seconds": pytest.approx(0, abs=60)
    }
    total = nz.play(run, lambda game, mover, decision: decision.action, seed=0)
    assert total is not None
    assert np.isfinite(total).all()


def test_a_notebook_shows_a_run(run: nz.Run) -> None:
    """Scores and findings, with nothing of theirs taken for markup."""
    shown = run._repr_html_()
    assert shown.count("<tr>") == len(run.report().findings)
    assert "mean return" in shown
    assert repr(run) == f"Run({str(run.folder)!r})"


def test_a_notebook_shows_a_decision_and_a_tree(run: nz.Run) -> None:
    """Moves in the order of their visits, the best in bold; the tree is an SVG."""
    decision = nz.Decision(
        2, np.array([1, 0, 5], np.int32), np.array([0.5, np.nan, -0.25], np.float32), 0.1,
        np.array([0.2, 0.0, 0.8], np.float32), [2, 0],
    )  # fmt: skip
    shown = decision._repr_html_()
    assert re.findall(r"<tr>(<td>.*?)</tr>", shown) == [
        "<td><b>2</b></td><td>5</td><td>80.0%</td><td>-0.250</td>",
        "<td>0</td><td>1</td><td>20.0%</td><td>+0.500</td>",
    ]
    assert "plays <b>2</b>, value +0.100; expects 2 0" in shown
    sight = run.inspect(simulations=4)
    assert sight._repr_html_().startswith('<div style="overflow-x: auto"><svg')
    assert nz.inspect(run, simulations=4).found == sight.found


def test_metrics_are_a_frame_where_pandas_is(run: nz.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one sentence says what to install where it is not."""
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pandas", None)
        with pytest.raises(UserError, match="a frame needs pandas"):
            run.frame()
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = run.frame("evaluations")
    assert frame["scores/mean_return"].iloc[-1] == run.scores["mean_return"]
    assert list(frame.columns) == list(run.metrics("evaluations"))


def test_every_public_name_has_an_example_that_is_run() -> None:
    """In the blocks of docs/, which a test of the project runs from top to bottom."""
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md")]
    blocks = "\n".join(block for page in pages for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    shown = set(re.findall(r"\bnz\.(\w+)", blocks))
    assert (
        set(nz.__all__) - shown - {"TensorBoardListener", "WandbListener"} == set()
    )  # their libraries need not be there


def test_metrics_of_another_kind_are_refused(run: nz.Run) -> None:
    """With those that there are."""
    with pytest.raises(UserError, match="'progress' or 'evaluations'; got 'losses'"):
        run.metrics("losses")  # type: ignore[arg-type]


def test_a_run_takes_as_many_steps_as_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And goes into a folder of its own below runs/ where none is named; too few are refused with what it needs."""
    monkeypatch.chdir(tmp_path)
    settings = TINY | {"schedule.samples_per_step": 1.0, "schedule.start_steps": 60}
    run = nz.train(Corridor, steps=100, workers=0, check=False, **settings)
    assert (run.folder, run.metrics()["updates"][-1]) == (Path("runs/Corridor-0"), 5)
    assert 100 <= run.metrics()["steps"][-1] < 110
    with pytest.raises(UserError, match=r"a run must have 68 steps or more, .*; got 60. Raise it"):
        nz.train(Corridor, steps=60, workers=0, check=False, **settings)
    with pytest.raises(UserError, match=r"learning offline plays no steps; set schedule\.num_updates"):
        nz.api.train(Corridor.__module__ + ":Corridor", tmp_path / "x", source=run.folder, steps=60)  # type: ignore[attr-defined]


def test_a_run_learns_from_stored_games_alone(run: nz.Run, tmp_path: Path) -> None:
    """Of a run or of its store, with no environment and so no scores; the agent is one as any other."""
    settings = TINY | {"schedule.num_updates": 4}
    for source in (run, run.folder / "replay.sqlite"):
        offline = nz.train(Corridor, tmp_path / type(source).__name__, source=source, **settings)
        assert offline.scores == {}
        assert offline.metrics()["steps"][-1] == 0
        assert offline.agent.info.model_version == 4
        assert offline.evaluate(games=2)["games"] == 2


def test_a_listener_ends_a_run_which_can_be_taken_up(tmp_path: Path) -> None:
    """All listeners hear of all events; that one of them ended the run is no error."""
    heard: list[Event] = []
    settings = TINY | {"evaluation.interval": 4}
    stop = [heard.append, lambda event: isinstance(event, Evaluated)]
    run = nz.train(Corridor, tmp_path / "run", workers=0, check=False, on_event=stop, **settings)
    assert run.agent.info.model_version < 12
    assert any(isinstance(event, Evaluated) for event in heard)
    assert nz.resume(run).agent.info.model_version == 12


@pytest.mark.parametrize("what", [lambda: Corridor(), Corridor(), 3])
def test_what_nobody_can_import_is_refused(what: Any, tmp_path: Path) -> None:
    """A function without a name, an environment that was made already."""
    with pytest.raises(UserError, match=r"must have a name that can be imported; got .*at the top of a file"):
        nz.train(what, tmp_path / "run")


PROGRAM = f"{BITS}\nimport numzero as nz\nfrom tests.test_runs import TINY\n"
TRAINS = "run = nz.train(Bits, 'run', workers={workers}, **TINY)\nprint(run.agent.info.spec.name)\n"


def python(*words: str, folder: Path, text: str = "") -> subprocess.CompletedProcess[str]:
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | paths,
        input=text,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_program_trains_its_own_class_with_workers_and_others_go_on(tmp_path: Path) -> None:
    """No guard is needed, by whoever imports it: the check, workers, and a command that evaluates the run."""
    (tmp_path / "program.py").write_text(PROGRAM + TRAINS.format(workers=1), encoding="utf-8")
    done = python("program.py", folder=tmp_path)
    assert (done.stdout, done.stderr) == ("program.py:Bits\n", "")
    words = ["-m", "numzero", "evaluate", "run", "--env", "program.py:Bits", "--games", "2", "--json"]
    done = python(*words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"games": 2' in done.stdout


def test_a_class_of_a_notebook_is_trained_in_its_process(tmp_path: Path) -> None:
    """Which has no file: with workers one sentence says what to write."""
    done = python("-", folder=tmp_path, text=PROGRAM + TRAINS.format(workers=0))
    assert (done.stdout, done.stderr) == ("__main__:Bits\n", "")
    done = python("-", folder=tmp_path, text=PROGRAM + TRAINS.format(workers=2).replace("'run'", "'other'"))
    assert "'Bits' is written in a notebook; got 2 workers. Write it into a file, my_env.py, and train" in done.stderr
