"""The policy's loss where actions are vectors, beside torch's own distributions and gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from numzero.search import Proposal
from numzero.search.proposals import normals, unsquashed
from numzero.training.learning.vector_losses import policy_shares, vector_policy_loss

proposals = st.one_of(
    st.integers(1, 3).map(Proposal),
    st.lists(st.integers(1, 4), min_size=1, max_size=3).map(lambda sizes: Proposal(len(sizes), tuple(sizes))),
)


def expected_loss(
    proposal: Proposal, parameters: torch.Tensor, vectors: torch.Tensor, goal: torch.Tensor, weight: float
) -> torch.Tensor:
    """`[N]` by torch, the entropy of squashed numbers as a sum over a fine grid."""
    if proposal.factors:
        pieces = [torch.distributions.Categorical(logits=x) for x in parameters.split(proposal.factors, dim=1)]
        log_p = sum(each.log_prob(vectors[..., f].T).T for f, each in enumerate(pieces))
        entropy = sum(each.entropy() for each in pieces)
    else:
        x, y = parameters.chunk(2, dim=1)
        normal = torch.distributions.Normal(5 * torch.tanh(x / 5), torch.nn.functional.softplus(y + 1) + 0.1)
        log_p = normal.log_prob(torch.atanh(vectors.swapaxes(0, 1))).sum(-1).T  # [N, K]
        grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)
        z = normal.mean[..., None] + normal.stddev[..., None] * grid  # [N, D, G]
        density = torch.exp(-0.5 * grid**2) / math.sqrt(2 * math.pi) * (grid[1] - grid[0])
        bent = 2 * (math.log(2) - z - torch.nn.functional.softplus(-2 * z))
        entropy = (normal.entropy() + (bent * density).sum(-1)).sum(-1)
    return -(goal * log_p).sum(-1) - weight * entropy


@given(proposals, st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.5]))
def test_loss_and_gradient_are_those_of_torch(proposal: Proposal, seed: int, weight: float) -> None:
    """Of any parameters, candidates, goals and counts."""
    rng = np.random.default_rng(seed)
    parameters = np.minimum(rng.normal(size=(4, proposal.num_parameters)), 3.0).astype(np.float32)  # spreads to 4.1
    vectors = np.clip(proposal.uniform(rng, (4, 5)), None, None if proposal.factors else 0.99)
    vectors = vectors if proposal.factors else np.maximum(vectors, -0.99)
    goal = rng.dirichlet(np.ones(5), 4).astype(np.float32)
    count = rng.uniform(0, 2, 4).astype(np.float32)
    found = vector_policy_loss(proposal, parameters, vectors, goal, count, weight)
    inputs = torch.from_numpy(parameters).double().requires_grad_()
    loss = (
        expected_loss(proposal, inputs, torch.from_numpy(vectors).double(), torch.from_numpy(goal).double(), weight)
        @ torch.from_numpy(count).double()
    )
    loss.backward()
    assert inputs.grad is not None
    assert found.cross_entropy + found.entropy == pytest.approx(float(loss.detach()), rel=5e-3, abs=5e-3)
    np.testing.assert_allclose(found.gradient, inputs.grad.numpy(), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(("widest", "error"), [(2.5, 2.5e-3), (4.0, 2.5e-2)])
def test_entropies_of_wide_normals_are_those_of_a_fine_grid(widest: float, error: float) -> None:
    """And their gradients, wherever the middle is: the policy is wide before it has learned."""
    mean, spread = (each.ravel() for each in np.meshgrid(np.linspace(-3, 3, 13), np.linspace(0.2, widest, 20)))
    x, y = 5 * np.arctanh(mean / 5), np.log(np.expm1(spread - 0.1)) - 1
    parameters = np.stack([x, y], axis=1).astype(np.float32)
    candidates, goal = np.tanh(mean).astype(np.float32)[:, None, None], np.ones((len(mean), 1), np.float32)
    inputs = torch.from_numpy(parameters).double().requires_grad_()
    loss = expected_loss(Proposal(1), inputs, *(torch.from_numpy(each).double() for each in (candidates, goal)), 1.0)
    loss.sum().backward()
    assert inputs.grad is not None
    for row in range(len(mean)):
        of_row = parameters[row : row + 1], candidates[row : row + 1], goal[row : row + 1], np.ones(1, np.float32)
        found = vector_policy_loss(Proposal(1), *of_row, 1.0)
        assert found.cross_entropy + found.entropy == pytest.approx(float(loss[row].detach()), abs=error)
    found = vector_policy_loss(Proposal(1), parameters, candidates, goal, np.ones(len(mean), np.float32), 1.0)
    np.testing.assert_allclose(found.gradient, inputs.grad.numpy(), rtol=0, atol=error)


@given(st.integers(0, 2**32 - 1))
def test_following_the_gradient_makes_the_goal_likely(seed: int) -> None:
    """Where one candidate has all of the goal, the mean comes to it and the spread becomes small."""
    rng, proposal = np.random.default_rng(seed), Proposal(2)
    parameters = rng.normal(size=(1, 4)).astype(np.float32)
    vectors = rng.uniform(-0.9, 0.9, (1, 3, 2)).astype(np.float32)
    goal, count = np.float32([[0, 1, 0]]), np.ones(1, np.float32)
    before = policy_shares(proposal, parameters, vectors)[0, 1]
    for _ in range(300):
        gradient = vector_policy_loss(proposal, parameters, vectors, goal, count, 0.0).gradient
        parameters -= 0.05 * gradient / max(1.0, float(np.abs(gradient).max()))
    mean, spread = normals(parameters)
    assert policy_shares(proposal, parameters, vectors)[0, 1] > before or before > 0.99
    assert np.abs(mean - unsquashed(vectors[:, 1])).max() < 0.3
    assert spread.max() < 0.6
