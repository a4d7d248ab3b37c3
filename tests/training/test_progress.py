"""What a run says of its progress is what happened since it last spoke."""

from __future__ import annotations

import time
from typing import Any

import pytest

from numzero.metrics import Progress
from numzero.runtime.base import WorkerStatus
from numzero.training import progress
from numzero.training.progress import Counts, Meter
from numzero.usage import resident_bytes
from tests.replay.games import make_trajectory


def take(meter: Meter, now: Counts, **changes: Any) -> Progress:
    said: dict[str, Any] = {
        "learning_rate": 0.1,
        "window_steps": 50,
        "mean_version": 30.0,
        "workers": [],
        "has_returns": True,
        **changes,
    }
    return meter.take(now, **said)


def test_rates_are_of_the_time_since_the_last_word() -> None:
    """Totals are totals; what is left is judged by the whole session, which began at update 20."""
    meter = Meter(100, 8, Counts(10.0, 20, 100, 5, 160))
    first = take(meter, Counts(12.0, 30, 140, 7, 240))
    assert (first.updates_per_second, first.steps_per_second) == (5.0, 20.0)
    assert (first.samples_per_step, first.reanalyzed_per_sample) == (30 * 8 / 140, 1.0)
    assert first.eta_seconds == pytest.approx(70 / 5.0)
    second = take(meter, Counts(14.0, 50, 140, 7, 240))
    assert (second.updates_per_second, second.steps_per_second) == (10.0, 0.0)
    assert second.eta_seconds == pytest.approx(50 / 7.5)


def test_losses_are_means_since_the_last_word() -> None:
    """And forgotten afterwards."""
    meter = Meter(100, 8, Counts(0.0, 0, 0, 0, 0))
    for loss in (1.0, 3.0):
        meter.learned({"total": loss})
    assert take(meter, Counts(1.0, 2, 0, 0, 0)).losses == {"total": 2.0, "learning_rate": 0.1}
    assert take(meter, Counts(2.0, 2, 0, 0, 0)).losses == {"learning_rate": 0.1}


def test_ages_are_counted_in_updates() -> None:
    """Of the targets in the window, and of the weights that played the games that came last."""
    meter = Meter(100, 8, Counts(0.0, 0, 0, 0, 0))
    assert take(meter, Counts(1.0, 2, 0, 0, 0), window_steps=0).target_age is None
    game = make_trajectory()
    game.model_version[:] = 25
    meter.played([game])
    said = take(meter, Counts(2.0, 40, 0, 0, 0))
    assert (said.target_age, said.weights_age) == (10.0, 15.0)


def test_roles_of_one_process_share_its_time() -> None:
    """As much as each took, of the time since the last word."""
    meter = Meter(100, 8, Counts(0.0, 0, 0, 0, 0))
    with meter.at("selfplay"):
        time.sleep(0.05)
    busy = take(meter, Counts(0.2, 1, 4, 0, 0)).busy
    assert set(busy) == {"selfplay"}
    assert 0.25 <= busy["selfplay"] <= 1.0
    assert take(meter, Counts(0.3, 1, 4, 0, 0)).busy == {}


def test_processes_are_at_work_when_they_do_not_wait() -> None:
    """The mean of a role's workers; the learner's own waiting counts too. Memory adds up."""
    meter = Meter(100, 8, Counts(0.0, 0, 0, 0, 0))
    with meter.at("wait"):
        time.sleep(0.05)
    workers = [
        WorkerStatus("a", "selfplay", 0, 10, 0.5, 2**20),
        WorkerStatus("b", "selfplay", 0, 10, 0.75, 3 * 2**20),
        WorkerStatus("c", "reanalyze", 0, 10, 0.0, 2**21),
    ]
    said = take(meter, Counts(0.1, 1, 4, 0, 0), workers=workers)
    assert (said.busy["selfplay"], said.busy["reanalyze"]) == (0.375, 1.0)
    assert 0.0 <= said.busy["learner"] <= 0.5
    assert (said.memory_mb["selfplay"], said.memory_mb["reanalyze"]) == (4.0, 2.0)
    assert said.memory_mb["learner"] == pytest.approx(resident_bytes() / 2**20, rel=0.2)


def test_it_speaks_once_a_second() -> None:
    """By the run's clock."""
    meter = Meter(100, 8, Counts(0.0, 0, 0, 0, 0))
    assert not meter.is_due(Counts(progress.PROGRESS_SECONDS * 0.9, 1, 0, 0, 0))
    assert meter.is_due(Counts(progress.PROGRESS_SECONDS, 1, 0, 0, 0))
