"""The verdict: an agent beside a random policy, no surer than the games played allow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numzero.judging.verdict import EVEN, Sample, beside, interval, run_verdict, sample_of, standing
from numzero.metrics import Evaluated, Event, RandomPlayed, Started

RETURNS = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=30)


def scores_of(returns: Any, **more: Any) -> dict[str, Any]:
    array = np.asarray(returns, np.float64)
    return {"mean_return": float(array.mean()), "std_return": float(array.std()), "mean_length": 10.0} | more


def evaluation(returns: Any, updates: int = 1000, **more: Any) -> Evaluated:
    scores = scores_of(returns, **more)
    return Evaluated(seconds=1.0, updates=updates, steps=updates, scores=scores, games=len(returns))


def chance(returns: Any, **more: Any) -> RandomPlayed:
    return RandomPlayed(seconds=0.0, updates=0, steps=0, scores=scores_of(returns, **more) | {"games": len(returns)})


def started(threshold: float | None = None) -> Started:
    known = {"num_updates": 9, "num_parameters": 9, "reward_threshold": threshold}
    return Started(run="r", game="g", seed=0, workers=0, **known)


CHANCE = chance([20.0, 30.0, 10.0, 28.0] * 20)


@pytest.mark.parametrize(
    ("events", "outcome", "sentence"),
    [
        ([started(), CHANCE], "unknown", "not evaluated yet"),
        ([started(), evaluation([5.0])], "unknown", "5, and no random policy to compare with"),
        (
            [started(475.0), CHANCE, evaluation([400.0, 424.0])],
            "learned",
            "412.0 against 22.0; threshold 475.0 not rea",
        ),
        ([started(475.0), CHANCE, evaluation([500.0] * 4)], "solved", "500.0 against 22.0; threshold 475.0 reached"),
        (
            [started(475.0), evaluation([500.0] * 4)],
            "solved",
            "no random policy to compare with; threshold 475.0 reach",
        ),
        (
            [started(475.0), CHANCE, evaluation([22.0, 21.0])],
            "failed",
            "no better than random: 21.5 against 22.0; thre",
        ),
        ([started(), CHANCE, evaluation([9.0, 10.0])], "failed", "worse than random: 9.5 against 22.0"),
        ([started(), CHANCE, evaluation([22.0, 32.0])], "unsure", "perhaps better than random: 27.0 against 22.0"),
    ],
)
def test_the_verdict_in_one_sentence(events: list[Event], outcome: str, sentence: str) -> None:
    """What was earned, what a random policy earns, and what solves the task."""
    found = run_verdict(events)
    assert found.outcome == outcome
    assert sentence in found.sentence


def test_the_last_evaluations_are_one_where_each_says_little() -> None:
    """They are taken together if they are alike; one that fell stands alone."""
    noisy = [[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]] * 12
    poor = chance([1.0] + [0.0] * 9)
    alone = run_verdict([poor, evaluation(noisy[0])])
    together = run_verdict([poor, *map(evaluation, [*noisy, noisy[0]])])
    assert (alone.outcome, together.outcome) == ("failed", "learned")
    assert together.sentence.endswith("in the last 24 games")
    fell = run_verdict([CHANCE, *map(evaluation, [[500.0] * 4] * 11), evaluation([22.0] * 4)])
    assert fell.outcome == "failed"


@given(returns=RETURNS)
def test_a_policy_is_never_better_than_itself(returns: list[float]) -> None:
    """Whatever it earns, and in however few games."""
    sample = sample_of(scores_of(returns), len(returns))
    assert beside(sample, sample).outcome == "failed"
    low, high = interval(sample)
    assert low <= sample.mean <= high


@given(returns=RETURNS, others=RETURNS, scale=st.sampled_from([1e-3, 1.0, 1e3]), shift=st.integers(-100, 100))
def test_rewards_of_another_size_are_judged_alike(
    returns: list[float], others: list[float], scale: float, shift: int
) -> None:
    """Rewards times 1,000 change no verdict, and what each episode earns anyway changes none."""
    first, second = (sample_of(scores_of(each), len(each)) for each in (returns, others))
    moved = [s._replace(mean=scale * (s.mean + shift), spread=scale * s.spread) for s in (first, second)]
    distance = standing(first, second)
    if abs(first.mean - second.mean) > 0.1 and min(abs(abs(distance) - limit) for limit in (1.0, 2.0)) > 1e-3:
        assert beside(*moved).outcome == beside(first, second).outcome


@given(wins=st.integers(0, 40), draws=st.integers(0, 40), losses=st.integers(1, 40))
def test_points_of_a_match_are_a_sample(wins: int, draws: int, losses: int) -> None:
    """Mean and spread are those of its points."""
    points = [1.0] * wins + [0.5] * draws + [0.0] * losses
    found = sample_of({"wins": wins, "draws": draws, "losses": losses}, 0)
    assert found.games == len(points)
    assert found.mean == pytest.approx(np.mean(points))
    assert found.spread == pytest.approx(np.std(points), abs=1e-7)
    assert math.isclose(standing(Sample(0.5, 0.0, 9), EVEN), 0.0)


@pytest.mark.parametrize(
    ("agent", "random", "outcome"),
    [
        ({"unfinished": 2, "max_steps": 1000}, {"unfinished": 9, "max_steps": 1000}, "learned"),
        ({"unfinished": 2, "max_steps": 9999}, {"unfinished": 9, "max_steps": 1000}, "unknown"),
        ({"unfinished": 2, "max_steps": 9999}, {}, "unknown"),
        ({"mean_length": 20.0}, {"unfinished": 9, "max_steps": 1000}, "learned"),
        ({"mean_length": 2000.0}, {"unfinished": 9, "max_steps": 1000}, "unknown"),
    ],
)
def test_what_was_cut_off_otherwise_is_not_compared(
    agent: dict[str, Any], random: dict[str, Any], outcome: str
) -> None:
    """Returns of 1,000 steps say nothing beside those of 10,000."""
    found = run_verdict([chance([1.0, 2.0] * 9, **random), evaluation([90.0, 91.0] * 9, **agent)])
    assert found.outcome == outcome


def test_an_agent_is_compared_with_random_games_that_were_cut_off_alike() -> None:
    """Of two measurements; where neither is like it, with none."""
    early = chance([1.0, 2.0] * 9, unfinished=18, max_steps=1000)
    events: list[Event] = [early, chance([70.0, 80.0] * 9, mean_length=2000.0)]
    for more, sentence in (
        ({"unfinished": 2, "max_steps": 1000}, "better than random: 90.5 against 1.5"),
        ({"mean_length": 2000.0}, "better than random: 90.5 against 75.0"),
        ({"unfinished": 2, "max_steps": 9999}, "90.5, and no random policy to compare with"),
    ):
        assert run_verdict([*events, evaluation([90.0, 91.0] * 9, **more)]).sentence == sentence
