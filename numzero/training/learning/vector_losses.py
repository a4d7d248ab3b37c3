"""The policy's loss where actions are vectors, and its gradient, on arrays.

Knows the parameters of distributions, candidates and goals; knows nothing of networks or batches.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.search.proposals import LARGEST_MEAN, SPREAD_OFFSET, Proposal, log_density, normals, unsquashed

__all__ = ["PolicyLoss", "policy_shares", "vector_policy_loss"]

_Float32Array = NDArray[np.float32]

_NODES = np.linspace(-3.75, 3.75, 16)
_SHARES = np.exp(-0.5 * _NODES**2)
NODES, SHARES = _NODES.astype(np.float32), (_SHARES / _SHARES.sum()).astype(np.float32)
"""Where a function of a standard normal number is looked at for its mean, and how much each look counts. Evenly spaced,
since tanh bends within a small part of a wide normal: spreads up to 2.5 have entropies and gradients to 2e-3, up to 4
to 2e-2, where as many nodes of Gauss and Hermite err by 0.03 and 0.1; beyond, errors grow, to 0.1 at 8. EfficientZero
V2 draws 1,024 samples."""


class PolicyLoss(NamedTuple):
    """What is to be lowered, sums over all rows."""

    cross_entropy: float
    entropy: float
    """Minus the entropies, by their weight; 0 without one."""
    gradient: _Float32Array
    """`[N, P]` of both together at the parameters."""


def vector_policy_loss(
    proposal: Proposal,
    parameters: _Float32Array,
    candidates: _Float32Array,
    goal: _Float32Array,
    count: _Float32Array,
    entropy_weight: float,
) -> PolicyLoss:
    """The sum of `count` times the rows' - sum over k of goal[k] log pi(candidate k), less the entropy bonus.

    Hubert et al. 2021, section 5: nothing is corrected here, since the goal is of the candidates alone. Densities are
    those before tanh, which adds the same to all distributions; the entropy is that behind tanh.

    parameters: `[N, P]`. candidates: `[N, K, D]`. goal: `[N, K]`, which sum to 1 or are nothing. count: `[N]`.
    """
    if proposal.factors:
        return _of_factors(proposal, parameters, candidates, goal, count, entropy_weight)
    mean, spread = normals(parameters)  # [N, D]
    z = unsquashed(candidates)  # [N, K, D]
    offset = z - mean[:, None]
    first = np.einsum("nk,nkd->nd", goal, offset)
    second = np.einsum("nk,nkd->nd", goal, offset * offset)
    weight = count[:, None]
    loss = float((weight * (np.log(spread) + 0.5 * second / spread**2 + 0.5 * np.log(2 * np.pi))).sum())
    d_mean = -weight * first / spread**2
    d_spread = weight * (1.0 / spread - second / spread**3)
    entropy_loss = 0.0
    if entropy_weight > 0.0:
        entropy, by_mean, by_spread = _squashed_entropy(mean, spread)
        entropy_loss = -entropy_weight * float((weight * entropy).sum())
        d_mean -= entropy_weight * weight * by_mean
        d_spread -= entropy_weight * weight * by_spread
    x, y = np.split(parameters, 2, axis=-1)
    d_x = d_mean * (1.0 - np.tanh(x / LARGEST_MEAN) ** 2)
    d_y = d_spread / (1.0 + np.exp(-(y + SPREAD_OFFSET)))
    return PolicyLoss(loss, entropy_loss, np.concatenate([d_x, d_y], axis=-1).astype(np.float32))


def _squashed_entropy(mean: _Float32Array, spread: _Float32Array) -> tuple[_Float32Array, _Float32Array, _Float32Array]:
    """Of each number behind tanh, `[N, D]`, and how it goes with mean and spread.

    H = log(spread sqrt(2 pi e)) + E[log(1 - tanh(z)^2)], whose second part is 2 (log 2 - z - softplus(-2 z)).
    """
    z = mean[..., None] + spread[..., None] * NODES  # [N, D, nodes]
    slope = -2.0 * np.tanh(z)
    bent = 2.0 * (np.float32(np.log(2.0)) - z - np.logaddexp(np.float32(0.0), -2.0 * z))
    entropy = np.log(spread) + np.float32(0.5 * np.log(2 * np.pi * np.e)) + bent @ SHARES
    return entropy, slope @ SHARES, 1.0 / spread + (slope * NODES) @ SHARES


def _of_factors(
    proposal: Proposal,
    parameters: _Float32Array,
    candidates: _Float32Array,
    goal: _Float32Array,
    count: _Float32Array,
    entropy_weight: float,
) -> PolicyLoss:
    """Each factor's cross-entropy with what the goal says of its choices."""
    loss, entropy_loss, gradient = 0.0, 0.0, np.empty_like(parameters)
    wanted = np.einsum("nk,nkj->nj", goal, proposal.inputs(candidates))  # [N, choices of all factors]
    for begin, size in zip(proposal.begins(), proposal.factors, strict=True):
        place = slice(begin, begin + size)
        logits = parameters[:, place]
        log_p = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
        p = np.exp(log_p)
        loss -= float((count[:, None] * wanted[:, place] * log_p).sum())
        gradient[:, place] = count[:, None] * (p * wanted[:, place].sum(axis=-1, keepdims=True) - wanted[:, place])
        if entropy_weight > 0.0:
            entropy = -(p * log_p).sum(axis=-1, keepdims=True)
            entropy_loss -= entropy_weight * float((count[:, None] * entropy).sum())
            gradient[:, place] += entropy_weight * count[:, None] * p * (log_p + entropy)
    return PolicyLoss(loss, entropy_loss, gradient)


def policy_shares(proposal: Proposal, parameters: _Float32Array, candidates: _Float32Array) -> _Float32Array:
    """`[N, K]` how likely the network finds each candidate, beside the others."""
    density = log_density(proposal, parameters, candidates)
    power = np.exp(density - density.max(axis=1, keepdims=True))
    return np.asarray(power / power.sum(axis=1, keepdims=True), np.float32)
