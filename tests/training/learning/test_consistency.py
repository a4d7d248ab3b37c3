"""Projected consistency: its distance and gradient against the formula, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import torch

from numzero.training.learning.consistency import Projection
from tests.training.learning.test_learner import gradient_of, make_learner, random_batch


def latents(seed: int, rows: int = 6) -> torch.Tensor:
    """Random ones, of two numbers and three places."""
    return torch.randn(rows, 2, 3, generator=torch.Generator().manual_seed(seed))


def trained(num_steps: int) -> Projection:
    """One whose average is not itself, once it has learned."""
    projection = Projection((2, 3), 1e-4)
    for n in range(num_steps):
        projection.loss(latents(n), latents(n + 50), np.full(6, 1.0, np.float32))
        projection.step(1e-2, n, 0.9)
    return projection


def test_the_distance_is_one_minus_the_cosine_to_the_average_projection() -> None:
    """Of a prediction from the projected latent; rows count as much as is said."""
    projection, found, wanted = trained(3), latents(100), latents(101)
    count = np.array([0.5, 0.0, 1.0, 2.0, 0.0, 0.25], np.float32)
    loss, _ = projection.loss(found, wanted, count)
    with torch.no_grad():
        ours = projection._predict(projection._project(found.flatten(1))).double().numpy()
        theirs = projection._average(wanted.flatten(1)).double().numpy()
    cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert np.isclose(loss, (count * (1.0 - cosine)).sum(), rtol=1e-5)


def test_its_gradient_is_what_finite_differences_say() -> None:
    """At the unrolled latents, and nothing reaches rows that do not count."""
    projection, found, wanted = trained(3), latents(100), latents(101)
    count = np.array([0.5, 0.0, 1.0, 2.0, 0.0, 0.25], np.float32)
    _, gradient = projection.loss(found, wanted, count)
    assert (gradient[count == 0.0] == 0.0).all()
    direction = gradient / gradient.norm()
    ends = [projection.loss(found + step * direction, wanted, count)[0] for step in (0.01, -0.01)]
    assert np.isclose((ends[0] - ends[1]) / 0.02, float(gradient.norm()), rtol=0.05)


def test_it_learns_to_predict() -> None:
    """What can be told from the latent, here the latent itself."""
    projection, count = Projection((2, 3), 0.0), np.full(6, 1 / 6, np.float32)
    found = latents(7)
    losses = []
    for n in range(150):
        losses.append(projection.loss(found, found, count)[0])
        projection.step(3e-3, n, 0.99)
    assert losses[-1] < 0.2 * losses[0]


def test_a_learner_trains_it_beside_the_network_which_stays_the_same_size() -> None:
    """The network's gradient has its part, its parameters are as many, and at weight 0 there is none."""
    without, projected, off = (
        make_learner(**changes)
        for changes in (
            {"consistency_weight": 0.0},
            {"consistency": "projected", "consistency_weight": 32.0},
            {"consistency": "projected", "consistency_weight": 0.0},
        )
    )
    batch = random_batch(masked=False)
    assert projected.num_parameters == without.num_parameters
    assert not np.allclose(gradient_of(projected, batch), gradient_of(without, batch))
    assert np.array_equal(gradient_of(off, batch), gradient_of(without, batch))
    assert set(off.state()) == set(without.state()) < set(projected.state())
    before = projected.state()["projection_parameters"]
    assert projected.update(batch).losses["consistency"] > 0.0
    assert not np.array_equal(projected.state()["projection_parameters"], before)
