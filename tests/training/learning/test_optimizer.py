"""AdamW on flat vectors, step by step the published one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from numzero.training.learning.optimizer import AdamW, norm


@pytest.mark.parametrize(("decay", "scale"), [(0.0, 1.0), (0.1, 0.25)])
def test_steps_are_those_of_pytorch(decay, scale):
    """20 updates with rates that change, sizes of gradients from 1e-6 to 1e3."""
    rng = np.random.default_rng(0)
    start = rng.normal(size=1003).astype(np.float32)
    ours = AdamW(start.copy(), start.copy(), decay)
    theirs = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = torch.optim.AdamW([theirs], weight_decay=decay)
    for n in range(20):
        gradient = (rng.normal(size=1003) * 10.0 ** rng.uniform(-6, 3, 1003)).astype(np.float32)
        rate = 1e-2 / (n + 1)
        ours.step(gradient, scale, rate, n, 0.9)
        theirs.grad = torch.from_numpy(scale * gradient)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    np.testing.assert_allclose(ours.parameters, theirs.detach().numpy(), rtol=1e-4, atol=1e-6)
    assert np.abs(ours.parameters - start).max() > 1e-3


def test_the_average_follows_the_new_parameters():
    """average = decay average + (1 - decay) parameters, after the step."""
    optimizer = AdamW(np.zeros(3, np.float32), np.float32([1, 2, 3]), 0.0)
    optimizer.step(np.float32([1, -1, 0]), 1.0, 0.5, 0, 0.75)
    np.testing.assert_allclose(optimizer.parameters, [-0.5, 0.5, 0.0], rtol=1e-5)
    np.testing.assert_allclose(optimizer.average, 0.75 * np.array([1, 2, 3]) + 0.25 * optimizer.parameters, rtol=1e-6)


def test_the_norm_neither_overflows_nor_hides_what_is_not_finite():
    """In float64, whatever the vector's length."""
    x = np.random.default_rng(0).normal(size=1001).astype(np.float32)
    assert norm(x) == pytest.approx(np.linalg.norm(x.astype(np.float64)))
    assert norm(np.full(10, 1e30, np.float32)) == pytest.approx(1e30 * math.sqrt(10), rel=1e-5)
    for bad in (np.nan, np.inf):
        x[500] = bad
        assert not math.isfinite(norm(x))
