"""Random SIGKILLs and SIGSTOPs of any process of a whole training run, resumed each time: it reaches its target."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from numzero.agent import Agent
from numzero.files import generations
from numzero.metrics import Finished, read_metrics
from numzero.replay import GameStore
from tests.chaos import ROOT, Chaos, tell
from tests.runtime.test_chaos import PATIENCE_SECONDS, num_stored
from tests.tiny import RUN

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")

OVERRIDES = (
    *RUN,
    "selfplay.batch_size=4",
    "schedule.checkpoint_interval=20",
    "evaluation.interval=100",
    "reanalyze.fraction=0.5",
    "reanalyze.positions=16",
    "runtime.patience_seconds=3.0",
    "runtime.max_restarts=100",
)


class Program:
    """`train`, and then `resume` for as long as it takes."""

    def __init__(self, folder: Path, num_updates: int) -> None:
        self.folder = folder
        self._num_updates = num_updates
        self._seen: object = None
        self._changes = 0

    def command(self) -> list[str]:
        """What to run now; a run that was killed before its first checkpoint is begun again."""
        if generations(self.folder / "checkpoints"):
            return [sys.executable, "cli.py", "resume", str(self.folder), "--json"]
        settings = [f"--set={setting}" for setting in (*OVERRIDES, f"schedule.num_updates={self._num_updates}")]
        workers = ["--workers", "1", "--reanalyze-workers", "1"]
        return [
            sys.executable,
            "cli.py",
            "train",
            "tictactoe",
            "--run",
            str(self.folder),
            *workers,
            *settings,
            "--json",
        ]

    def progress(self) -> int:
        """How often games or checkpoints were seen to change."""
        seen = num_stored(self.folder), generations(self.folder / "checkpoints")
        self._changes += seen != self._seen
        self._seen = seen
        return self._changes


def check_run(folder: Path, num_updates: int) -> None:
    """The target was reached, the store is sound, and all that was told of is there."""
    finished = [event for event in read_metrics(folder / "metrics.jsonl") if isinstance(event, Finished)][-1]
    assert (finished.reason, finished.updates) == ("finished", num_updates)
    assert Agent.load(folder).info.model_version == num_updates
    with GameStore(folder / "replay.sqlite") as store:
        assert store.problems() == []
        assert store.num_games() >= finished.games
        assert store.num_steps() <= finished.steps + 4 * 9
    assert not [path for path in folder.rglob(".*") if path.name.endswith((".tmp", ".old"))]


@pytest.mark.slow
@pytest.mark.parametrize(("num_faults", "num_updates"), [(10, 600), (300, 2500)], ids=["short", "long"])
def test_a_run_reaches_its_target_whoever_is_killed(tmp_path: Path, num_faults: int, num_updates: int) -> None:
    """Learner, actor, reanalyzer and evaluator; the trainer itself is started again by `resume`."""
    subprocess.run(Program(tmp_path / "first", 5).command(), check=True, cwd=ROOT)  # compiles, which may take a minute
    runs: list[Chaos] = []
    while (left := num_faults - sum(sum(run.faults.values()) for run in runs)) > 0:
        program = Program(tmp_path / f"run{len(runs)}", num_updates)
        log = tmp_path / f"log{len(runs)}.txt"
        runs.append(Chaos(program.command, program.progress, log, len(runs), PATIENCE_SECONDS))
        assert runs[-1].run(left)
        check_run(program.folder, num_updates)
    tell("training", runs)
