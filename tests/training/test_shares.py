"""Who gets how many cores, and how many processes a machine holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numzero.errors import UserError
from numzero.training import memory, plan
from numzero.training.config import MOST_WORKERS, load_preset
from numzero.training.memory import check_workers
from numzero.training.plan import RunPlan, check_plan, learner_threads, spec_of
from numzero.training.play_many import SelfPlaySession
from numzero.training.shares import GAIN, Costs, Shares, divide, measure_costs, most_threads


def rate(costs: Costs, shares: Shares) -> float:
    """Updates per second."""
    rates = [shares.workers / costs.play, shares.threads**GAIN / costs.learn]
    return min([*rates, shares.reanalyze_workers / costs.search] if costs.search else rates)


@given(
    play=st.floats(0.01, 100),
    search=st.one_of(st.just(0.0), st.floats(0.01, 100)),
    learn=st.floats(0.01, 100),
    cores=st.integers(1, 12),
    most=st.integers(1, 12),
)
def test_no_other_shares_make_more_updates(play, search, learn, cores, most):
    """Of all that fit; each has one at least, and cores that gain nothing are left."""
    costs = Costs(play, search, learn)
    found = divide(costs, cores, most)
    assert found.workers >= 1
    assert (found.reanalyze_workers >= 1) == (search > 0)
    assert 1 <= found.threads <= most
    assert sum(found) <= max(cores, 2 + (search > 0))
    for workers in range(1, cores):
        for searchers in range(1, cores - workers) if search else (0,):
            other = Shares(workers, searchers, max(1, min(most, cores - workers - searchers)))
            if sum(other) <= cores:
                assert rate(costs, found) >= rate(costs, other)


def test_costs_are_measured_with_the_games_own_play():
    """Each of the three takes time, and searching again only where the settings want it."""
    preset = load_preset("tictactoe", ["selfplay.batch_size=16", "learner.batch_size=16", "reanalyze.fraction=0.5"])
    costs = measure_costs(preset, 0)
    assert costs is not None
    assert min(costs) > 0.0
    assert "ms of searching again" in costs.in_words()


def plan_of(workers: int, **changes: int) -> RunPlan:
    spec = spec_of(load_preset("tictactoe"))
    return RunPlan(seed=0, workers=workers, reanalyze_workers=0, offline=False, spec=spec, **changes)


def test_the_learner_takes_what_workers_leave(monkeypatch):
    """One in one process, on any machine; beside workers the free cores, as far as there are rows; or what is set."""
    monkeypatch.setattr(plan, "num_cores", lambda: 16)
    config = load_preset("tictactoe")
    small = load_preset("tictactoe", ["learner.batch_size=32"])
    assert [learner_threads(config, plan_of(workers)) for workers in (0, 1, 4, 15, 40)] == [1, 15, 12, 1, 1]
    assert learner_threads(small, plan_of(4)) == 4
    assert learner_threads(load_preset("tictactoe", ["learner.threads=3"]), plan_of(0)) == 3
    chance = load_preset("tictactoe", ["network.chance=learned"])
    assert (learner_threads(chance, plan_of(4)), most_threads(chance)) == (1, 1)  # of plain layers it gains nothing
    asked = load_preset("tictactoe", ["network.chance=learned", "learner.threads=3"])
    assert learner_threads(asked, plan_of(4)) == 3
    pictures = load_preset("tictactoe", ["network.chance=learned", "network.body=conv"])
    assert (learner_threads(pictures, plan_of(4)), most_threads(pictures)) == (12, most_threads(config))


def test_more_workers_than_the_machine_holds_are_refused_with_what_it_holds(monkeypatch):
    """By its memory or its cores, wherever they are asked for, and before anything is started."""
    monkeypatch.setattr(memory, "num_cores", lambda: 2)
    monkeypatch.setattr(memory, "machine_bytes", lambda: 2**40)
    check_workers(32)
    with pytest.raises(UserError, match=r"at most 32 worker processes .* 16 on each of 2 cores\); got 33"):
        check_plan(load_preset("tictactoe"), plan_of(33))
    with pytest.raises(UserError, match="got 100"):
        SelfPlaySession(object.__new__(type("Never", (), {})), Path("never"), workers=100)  # type: ignore[arg-type]
    monkeypatch.setattr(memory, "machine_bytes", lambda: 2**30)
    with pytest.raises(UserError, match=r"at most 2 worker processes \(2 in its memory"):
        check_workers(3)


def test_settings_and_options_have_the_same_bounds():
    """Of workers: what the setting refuses, so does the option."""
    from numzero.commands.reanalyze import reanalyze
    from numzero.commands.selfplay import selfplay
    from numzero.commands.train import train

    with pytest.raises(UserError, match=f"at most {MOST_WORKERS:,}"):
        load_preset("tictactoe", [f"processes.workers={MOST_WORKERS + 1}"])
    for command in (train, selfplay, reanalyze):
        for option in command.params:
            if "workers" in str(option.name):
                assert option.type.convert(MOST_WORKERS, option, None) == MOST_WORKERS
                with pytest.raises(Exception, match=str(MOST_WORKERS)):
                    option.type.convert(MOST_WORKERS + 1, option, None)
