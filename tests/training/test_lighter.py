"""Weights for roles in int8: published where that changes little, deterministic, and said to stay float32 elsewhere."""

from __future__ import annotations

from pathlib import Path

import llvmlite.binding
import pytest

from numzero.agent import Agent
from numzero.graphs import int8
from numzero.graphs.int8 import has_convolutions
from numzero.inference import ModelFiles, OnnxModel
from numzero.metrics import Event, Noted
from numzero.training.checkpoint import read_checkpoint
from numzero.training.config import load_preset
from numzero.training.lighter import Lighter
from numzero.training.run import TrainingRun
from tests.graphs.test_int8 import boards, conv_files
from tests.tiny import RUN, model_files, run_config
from tests.training.test_resume import Stopper, assert_same, contents, new_run, resumed

CONV = load_preset(
    "connectfour",
    [
        *(setting for setting in RUN if not setting.startswith("network.")),
        "game='connectfour(rows=4, columns=4, length=3)'",
        "network.body.channels=4",
        "network.body.blocks=1",
        "network.body.width=8",
        "selfplay.batch_size=4",
        "processes.workers=0",
        "inference.precision='int8'",
        "learner.precision='float32'",  # not every processor's: it would be said too
        "schedule.checkpoint_interval=5",
    ],
)


@pytest.fixture(autouse=True)
def instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any processor is taken for one with VNNI, so that nothing hangs on its speed."""
    monkeypatch.setattr(llvmlite.binding, "get_host_cpu_features", lambda: {"avx512vnni": True})


def published(folder: Path) -> ModelFiles:
    """What roles had when the newest checkpoint was written."""
    return read_checkpoint(folder / "checkpoints")[1].published


def test_roles_get_int8_and_agents_are_float32(tmp_path: Path) -> None:
    """From the first version behind a game on; a run that was stopped goes on with the same bits."""
    new_run(CONV, tmp_path / "whole").train()
    assert not has_convolutions(published(tmp_path / "whole"))
    assert has_convolutions(Agent.load(tmp_path / "whole").files)
    stopped = Stopper(7).attach(new_run(CONV, tmp_path / "stopped"))
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    resumed(tmp_path / "stopped").train()
    assert_same(contents(tmp_path / "stopped"), contents(tmp_path / "whole"))


def test_what_changes_too_much_stays_float32_and_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the figures."""
    monkeypatch.setattr(int8, "LARGEST_VALUE_CHANGE", 0.0)
    heard: list[Event] = []
    TrainingRun(CONV, tmp_path / "run", seed=3, on_event=heard.append).train()
    (said,) = [each.message for each in heard if isinstance(each, Noted) and each.kind == "precision"]
    assert said.startswith("inference.precision: int8 changes too much: the policy diverges by")
    assert has_convolutions(published(tmp_path / "run"))


def test_plain_networks_are_published_as_they_are(tmp_path: Path) -> None:
    """Said as the run begins."""
    heard: list[Event] = []
    config = run_config("tictactoe", "inference.precision='int8'", "schedule.num_updates=3")
    TrainingRun(config, tmp_path / "run", seed=3, on_event=heard.append).train()
    assert "inference.precision: int8 gains nothing without convolutions; weights are published in float32." in [
        each.message for each in heard if isinstance(each, Noted)
    ]


@pytest.mark.parametrize(("slower", "refused"), [(0.01, False), (0.0, True)])
def test_without_the_instructions_it_is_tried(monkeypatch: pytest.MonkeyPatch, slower: float, refused: bool) -> None:
    """Where float32 takes so much longer there is int8, else a sentence."""
    monkeypatch.setattr(llvmlite.binding, "get_host_cpu_features", dict)
    files, now = conv_files(), [0.0]
    monkeypatch.setattr("numzero.graphs.int8.time.perf_counter", lambda: now[0])

    def initial(self: OnnxModel, observation: object) -> None:
        now[0] += 0.01 + (slower if has_convolutions(self.files) else 0.0)

    monkeypatch.setattr(OnnxModel, "initial", initial)
    lighter = Lighter(files, (3, 5, 5))
    assert bool(lighter.refused) is refused
    assert "is 1 times as fast as float32 on this processor" in lighter.refused or not refused
    assert (lighter.files(files, boards(8)) is files) is refused


def test_action_vectors_stay_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is asked of the networks."""
    monkeypatch.setattr("numzero.training.lighter.takes_vectors", lambda files: True)
    lighter = Lighter(conv_files(), (3, 5, 5))
    assert "int8 is for games with a list of actions" in lighter.refused


def test_nothing_is_made_without_positions() -> None:
    """Nor of networks that have no use for it."""
    files = conv_files()
    assert Lighter(files, (3, 5, 5)).files(files, None) is files
    assert "without convolutions" in Lighter(model_files(), (3, 3, 3)).refused
