"""Losses on arrays: their gradients are what finite differences say, and no size of logits breaks them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numzero.training.learning.losses import cross_entropy, exponentials, squared_distance

ENDS = (3, 7, 9)


def drawn(seed: int, size: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits `[6, 9]`, goals `[4, 4]` of the head in columns 3 to 7 and rows 2 to 6, and their counts `[4]`."""
    rng = np.random.default_rng(seed)
    logits = (size * rng.normal(size=(6, 9))).astype(np.float32)
    return logits, rng.dirichlet(np.ones(4), 4).astype(np.float32), rng.uniform(0, 2, 4).astype(np.float32)


def obvious(logits: np.ndarray, goal: np.ndarray, count: np.ndarray) -> float:
    x = logits.astype(np.float64)[2:6, 3:7]
    x = x - x.max(axis=1, keepdims=True)
    log_p = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    return float(-(count * (goal * log_p).sum(axis=1)).sum())


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), size=st.sampled_from([0.0, 1.0, 30.0, 1e4]))
def test_cross_entropy_is_the_obvious_one(seed, size):
    """Over its own rows and columns, with probabilities left where the exponentials were; all else stays."""
    logits, goal, count = drawn(seed, size)
    shifted, power = exponentials(logits, ENDS)
    before, gradient = power.copy(), np.zeros_like(power)
    loss = cross_entropy(goal, count, (2, 3), shifted, power, gradient)
    assert loss == pytest.approx(obvious(logits, goal, count), rel=1e-4, abs=1e-5)
    np.testing.assert_allclose(power[2:6, 3:7].sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(gradient[2:6, 3:7], count[:, None] * (power[2:6, 3:7] - goal), rtol=1e-5, atol=1e-7)
    outside = np.ones_like(power, bool)
    outside[2:6, 3:7] = False
    np.testing.assert_array_equal(power[outside], before[outside])
    assert not gradient[outside].any()


def test_the_gradient_is_what_finite_differences_say():
    """At each logit of the head."""
    logits, goal, count = drawn(1)
    shifted, power = exponentials(logits, ENDS)
    gradient = np.zeros_like(power)
    cross_entropy(goal, count, (2, 3), shifted, power, gradient)
    for row, column in np.ndindex(4, 4):
        step = np.zeros((6, 9))
        step[2 + row, 3 + column] = 1e-5
        slope = (obvious(logits + step, goal, count) - obvious(logits - step, goal, count)) / 2e-5
        assert gradient[2 + row, 3 + column] == pytest.approx(slope, abs=1e-4)


@pytest.mark.parametrize("worst", [np.nan, np.inf, -np.inf])
def test_a_logit_that_is_no_number_shows(worst):
    """The loss, or the gradient, is not finite either."""
    logits, goal, count = drawn(2)
    logits[3, 4] = worst
    with np.errstate(invalid="ignore"):
        shifted, power = exponentials(logits, ENDS)
    gradient = np.zeros_like(power)
    loss = cross_entropy(goal, count, (2, 3), shifted, power, gradient)
    assert not np.isfinite(loss + gradient.sum())


def test_squared_distance_and_its_gradient_are_the_obvious_ones():
    """Rows count as they are told to."""
    rng = np.random.default_rng(0)
    x, goal = rng.normal(size=(2, 5, 7)).astype(np.float32)
    count = np.float32([0, 0.5, 1, 2, 3])
    gradient = np.empty_like(x)
    assert squared_distance(x, goal, count, gradient) == pytest.approx((count * ((x - goal) ** 2).sum(1)).sum())
    np.testing.assert_allclose(gradient, 2 * count[:, None] * (x - goal), rtol=1e-5)
