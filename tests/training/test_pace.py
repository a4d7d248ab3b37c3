"""Pace: who may do how much, and what is due when."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numzero.runtime.base import RuntimePace
from numzero.training.config import RunConfig, load_preset
from numzero.training.pace import Pace
from numzero.training.plan import RunPlan, spec_of

CONFIG = load_preset(
    "tictactoe",
    [
        "schedule.num_updates=100",
        "schedule.samples_per_step=2.0",
        "schedule.start_steps=50",
        "schedule.publish_interval=5",
        "schedule.checkpoint_interval=20",
        "learner.batch_size=8",
        "evaluation.interval=30",
        "reanalyze.fraction=0.5",
        "reanalyze.positions=16",
        "processes.slack_updates=12",
    ],
)
PLAN = RunPlan(seed=0, workers=1, reanalyze_workers=0, offline=False, spec=spec_of(CONFIG))
IN_STEP = RuntimePace(in_step=True)
BESIDE = RuntimePace(in_step=False, publish_seconds=3600.0, wait_seconds=0.1)


def make_pace(keeping: RuntimePace = BESIDE, config: RunConfig = CONFIG, **plan: Any) -> Pace:
    return Pace(config, msgspec.structs.replace(PLAN, **plan), keeping)


@given(done=st.integers(0, 99))
def test_roles_in_step_work_for_the_next_update_and_others_ahead(done: int) -> None:
    """Eight samples an update and two a step: four steps an update, from the fiftieth on."""
    allowed = {keeping: make_pace(keeping).steps_allowed(done, 0, has_games=True) for keeping in (IN_STEP, BESIDE)}
    assert allowed[IN_STEP] == 50 + 4 * (done + 1)
    assert allowed[BESIDE] == 50 + 4 * min(done + 12, 100)


def test_without_games_another_step_may_always_be_played() -> None:
    """Whatever start_steps says: an episode must come to its end before there is anything to learn from."""
    assert make_pace(IN_STEP).steps_allowed(0, 1000, has_games=False) == 1001
    assert make_pace(IN_STEP).updates_due(0, 1000, 0, has_games=False) == 0


@given(done=st.integers(0, 100), steps=st.integers(0, 1000))
def test_updates_are_due_as_steps_allow(done: int, steps: int) -> None:
    """Never beyond the schedule; offline nothing but the schedule counts."""
    due = make_pace().updates_due(done, steps, 0, has_games=True)
    assert due == min(100, max(0, steps - 50) // 4) - done
    assert make_pace(offline=True, workers=0).updates_due(done, steps, 0, has_games=True) == 100 - done


@given(positions=st.integers(0, 1000))
def test_reanalyze_workers_hold_the_learner_back(positions: int) -> None:
    """Four positions an update, with slack, and the batches that are under way."""
    due = make_pace(reanalyze_workers=2).updates_due(0, 10**6, positions, has_games=True)
    assert due == min(100, (positions + 2 * 16) // 4 + 12)
    assert make_pace(reanalyze_workers=2).positions_allowed(30) == 4 * (30 + 12)


@given(done=st.integers(0, 100), reanalyzed=st.integers(0, 500))
def test_what_is_owed_here_is_owed_in_whole_batches(done: int, reanalyzed: int) -> None:
    """And never less than nothing."""
    owed = make_pace().batches_owed(done, reanalyzed)
    assert owed == max(0, 4 * done - reanalyzed) // 16


def test_weights_go_out_at_intervals_and_not_faster_than_they_are_heard() -> None:
    """Where publishing costs nothing every interval has its version."""
    for keeping, after in ((IN_STEP, True), (BESIDE, False)):
        pace = make_pace(keeping)
        assert [done for done in range(1, 12) if pace.publishes(done)] == [5, 10]
        pace.published()
        assert pace.publishes(15) is after


def test_evaluations_have_their_interval_once_each() -> None:
    """Not at the beginning, not at the end, not twice, and never offline."""
    pace = make_pace()
    assert [done for done in range(101) if pace.evaluates(done, 0)] == [30, 60, 90]
    assert [done for done in range(101) if pace.evaluates(done, 60)] == [90]
    assert not any(make_pace(offline=True).evaluates(done, 0) for done in range(101))
    assert [done for done in range(1, 101) if pace.saves(done)] == [20, 40, 60, 80, 100]


@pytest.mark.parametrize(
    ("keeping", "offline", "beside"), [(IN_STEP, False, False), (BESIDE, False, True), (BESIDE, True, False)]
)
def test_a_role_evaluates_where_roles_go_on_meanwhile(keeping: RuntimePace, offline: bool, beside: bool) -> None:
    """In step with the learner an evaluation has its place in the order."""
    assert make_pace(keeping, offline=offline).evaluates_beside is beside


def test_only_who_has_nothing_to_do_waits() -> None:
    """And only for roles that do something meanwhile."""
    assert (make_pace().wait_seconds(0), make_pace().wait_seconds(1)) == (0.1, 0.0)
    assert make_pace(IN_STEP).wait_seconds(0) == 0.0
