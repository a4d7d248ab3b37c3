"""Consistency with weights of its own: distances and gradients against formulas, and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from numzero.errors import UserError
from numzero.training.learning.consistency import (
    MOST_DISTANCE,
    Comparison,
    Projection,
    Reconstruction,
    make_comparison,
)
from tests.training.learning.test_learner import gradient_of, make_learner, random_batch


def latents(seed: int, rows: int = 6) -> torch.Tensor:
    """Random ones, of two numbers and three places."""
    return torch.randn(rows, 2, 3, generator=torch.Generator().manual_seed(seed))


def trained(num_steps: int) -> Projection:
    """One whose average is not itself, once it has learned."""
    projection = Projection(6, 1e-4, 1)
    for n in range(num_steps):
        projection.loss(latents(n), latents(n + 50), np.full(6, 1.0, np.float32))
        projection.step(1e-2, n, 0.9)
    return projection


COUNT = np.array([0.5, 0.0, 1.0, 2.0, 0.0, 0.25], np.float32)


def test_the_distance_is_one_minus_the_cosine_to_the_average_projection() -> None:
    """Of a prediction from the projected latent."""
    projection, found, wanted = trained(3), latents(100), latents(101)
    distances = projection.distances(found.flatten(1), wanted.flatten(1)).detach().numpy()
    (project, predict), (average, _) = projection._layers, projection._averages
    with torch.no_grad():
        ours = predict(project(found.flatten(1))).double().numpy()
        theirs = average(wanted.flatten(1)).double().numpy()
    cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    np.testing.assert_allclose(distances, 1.0 - cosine, rtol=1e-5)


@pytest.mark.parametrize("comparison", [trained(3), Reconstruction(6, 5, 0.0, 1), Reconstruction(6, 5, 0.0, 3)])
def test_rows_count_as_much_as_is_said(comparison: Comparison) -> None:
    """On one thread and on several; of a projection no more than its bound."""
    found = latents(100)
    wanted = latents(101) if isinstance(comparison, Projection) else latents(101).flatten(1)[:, :5]
    distances = comparison.distances(found.flatten(1), wanted.flatten(1)).detach().numpy()
    total = float((COUNT * distances).sum())
    if isinstance(comparison, Projection):
        assert total > MOST_DISTANCE * COUNT.sum()
        total = MOST_DISTANCE * COUNT.sum()
    assert comparison.loss(found, wanted, COUNT)[0] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("comparison", [trained(3), Reconstruction(6, 6, 0.0, 1), Reconstruction(6, 6, 0.0, 3)])
def test_its_gradient_is_what_finite_differences_say(comparison: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the unrolled latents, and nothing reaches rows that do not count; below the bound there is none."""
    monkeypatch.setattr("numzero.training.learning.consistency.MOST_DISTANCE", 100.0)
    found, wanted = latents(100), latents(101)
    _, gradient = comparison.loss(found, wanted, COUNT)
    assert (gradient[COUNT == 0.0] == 0.0).all()
    direction = gradient / gradient.norm()
    ends = [comparison.loss(found + step * direction, wanted, COUNT)[0] for step in (0.01, -0.01)]
    assert np.isclose((ends[0] - ends[1]) / 0.02, float(gradient.norm()), rtol=0.05)


def test_beyond_its_bound_a_projection_pulls_no_harder() -> None:
    """The gradient is scaled as the loss is."""
    projection, found, wanted = trained(3), latents(100), latents(101)
    loss, gradient = projection.loss(found, wanted, COUNT)
    distances = projection.distances(found.flatten(1), wanted.flatten(1)).detach().numpy()
    latent = found.flatten(1).requires_grad_()
    (torch.from_numpy(COUNT) * projection.distances(latent, wanted.flatten(1))).sum().backward()
    share = loss / float((COUNT * distances).sum())
    assert share < 1.0
    torch.testing.assert_close(gradient.flatten(1), share * latent.grad)


def test_a_reconstruction_is_the_squared_distance_to_what_is_seen() -> None:
    """By a linear layer, summed over the numbers of the observation, and learned to be told."""
    comparison, found = Reconstruction(6, 4, 0.0, 1), latents(7)
    seen = found.flatten(1) @ torch.randn(6, 4, generator=torch.Generator().manual_seed(1)) + 3.0  # can be told exactly
    weight, bias = (parameter.detach().numpy() for parameter in comparison._layers.parameters())
    expected = ((found.flatten(1).numpy() @ weight.T + bias - seen.numpy()) ** 2).sum(axis=1)
    np.testing.assert_allclose(comparison.distances(found.flatten(1), seen).detach(), expected, rtol=1e-4)
    for n in range(1000):
        comparison.loss(found, seen, COUNT)
        comparison.step(1e-2, n, 0.99)
    rows = COUNT > 0.0
    assert float(comparison.distances(found.flatten(1), seen)[rows].detach().max()) < 1e-3 * expected[rows].min()


def test_it_learns_to_predict() -> None:
    """What can be told from the latent, here the latent itself."""
    projection, count = Projection(6, 0.0, 1), np.full(6, 1 / 6, np.float32)
    found = latents(7)
    losses = []
    for n in range(150):
        losses.append(projection.loss(found, found, count)[0])
        projection.step(3e-3, n, 0.99)
    assert losses[-1] < 0.2 * losses[0]


def test_large_observations_are_not_told() -> None:
    """The layer would be larger than all else; it is said how large, and what to do."""
    with pytest.raises(UserError, match=r"28,224 numbers off a latent of 2,304 takes 65,028,096 weights.*projected"):
        make_comparison("reconstruction", (64, 6, 6), (4, 84, 84), 0.0, 1)


@pytest.mark.parametrize(("kind", "weight"), [("projected", 32.0), ("reconstruction", 0.5)])
def test_a_learner_trains_it_beside_the_network_which_stays_the_same_size(kind: str, weight: float) -> None:
    """The network's gradient has its part, its parameters are as many, and at weight 0 there is none."""
    without, compared, off = (
        make_learner(**changes)
        for changes in (
            {"consistency_weight": 0.0},
            {"consistency": kind, "consistency_weight": weight},
            {"consistency": kind, "consistency_weight": 0.0},
        )
    )
    batch = random_batch(masked=False)
    assert compared.num_parameters == without.num_parameters
    assert not np.allclose(gradient_of(compared, batch), gradient_of(without, batch))
    assert np.array_equal(gradient_of(off, batch), gradient_of(without, batch))
    assert set(off.state()) == set(without.state()) < set(compared.state())
    (vector,) = {name for name in compared.state() if name.endswith("_parameters")} - set(without.state())
    before = compared.state()[vector]
    assert compared.update(batch).losses["consistency"] > 0.0
    assert not np.array_equal(compared.state()[vector], before)
