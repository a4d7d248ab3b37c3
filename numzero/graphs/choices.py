"""Vectors of choices in the search's graph: what `search.proposals` and `search.sampling` do with factors, as nodes.

Knows factors, their logits, noise and masks; knows nothing of trees or latents. Factors stand below one another in a
table `[..., D, N]`, N the most choices of any, filled up with choices of no share.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from numzero.errors import UserError
from numzero.graphs.formulas import DOUBLE, FLOAT, INT64, Value, where
from numzero.search import Proposal

__all__ = ["Chosen", "alike", "allowed", "choose", "first_alike", "log_density", "permitted", "require_small"]

LARGEST_TABLE = 2**20
"""Most places of a table, D N: one takes 8 bytes in the file and, of each position, some 100 when 16 candidates are
drawn, and there are up to five tables."""
DRAW_SCALE = 10.0
"""How near noise falls to the border of two choices counts so many times as much as how narrowly a score wins: shares
are exact to 1e-6, scores to 1e-5."""
EXACT_CHOICES = 1000
"""Of one factor, up to which shares are that exact: they are added up in float32, and the error grows with their number
(3e-6 of 8,000, 2e-5 of 60,000). Of wider factors nearness counts less, in proportion."""


class Chosen(NamedTuple):
    """What noise makes of parameters."""

    vectors: Value
    """`[B, k, D]`."""
    clearance: Value
    """`[B]` double: how near the narrowest of all choices came to another, as a search's margin counts it."""


def require_small(proposal: Proposal) -> None:
    """Raise UserError where factors of choices take a table of more than `LARGEST_TABLE` places."""
    places = proposal.size * max(proposal.factors, default=0)
    if places > LARGEST_TABLE:
        raise UserError(
            f"agent.onnx sets factors below one another, all as wide as the widest: at most {LARGEST_TABLE:,} choices, "
            f"and not {places:,} as of {proposal.size:,} factors of up to {max(proposal.factors):,}. Split the widest "
            "into several factors, or play this agent with numzero.Agent."
        )


def permitted(parameters: Value, legal: Value) -> Value:
    """`[B, P]` parameters, -inf of choices that are not `legal` `[B, P]`."""
    return where(legal, parameters, -math.inf)


def allowed(proposal: Proposal, legal: Value) -> Value:
    """`[B, 1]` whether each factor has a choice among those that are `legal` `[B, C]`."""
    return _table(proposal, legal.cast(INT64), 0).reduced("Max", 2, keep=False).reduced("Min", 1) > 0


def choose(proposal: Proposal, parameters: Value, noise: Value, scale: NDArray[np.float32]) -> Chosen:
    """As `sampling.propose`: the likeliest of each factor first, then what its inverse distribution makes of noise.

    parameters: `[B, P]`. noise: `[B or 1, k, D]` in [0, 1), of which the first row is not looked at. scale: `[k]`.
    """
    graph = parameters.graph
    logits = _table(proposal, parameters, -math.inf)  # [B, D, N]
    best = graph.ops(2, "TopK", logits, graph.constant([2]), axis=2)[0]
    lead = (best.at(0, axis=2) - best.at(1, axis=2)).reduced("Min", 1, keep=False).cast(DOUBLE)
    likeliest = graph.op("Unsqueeze", graph.op("ArgMax", logits, axis=2, keepdims=0), graph.constant([1])).cast(FLOAT)
    if len(scale) == 1:
        return Chosen(likeliest, lead)
    above = graph.op("Unsqueeze", logits - best.at([0], axis=2), graph.constant([1]))
    drawn = _drawn(above, noise.at(range(1, len(scale)), axis=1), scale[1:], _most(proposal))
    vectors = graph.op("Concat", likeliest, drawn.vectors, axis=1)
    return Chosen(vectors, graph.op("Min", lead, drawn.clearance * _draw_scale(proposal)))


def _drawn(logits: Value, noise: Value, scale: NDArray[np.float32], most: int) -> Chosen:
    """Of each factor the choice in whose share of all the noise from 0 to 1 falls; logits `[B, 1, D, N]`, 0 the best.

    Choices of no share are never made, whatever rounding leaves or the noise is.
    """
    graph, numbers = logits.graph, logits.graph.constant(np.arange(most))
    scales = scale if np.ptp(scale) else scale[:1]
    shares = graph.op("Exp", logits / graph.constant(scales[:, None, None]))  # [B, k or 1, D, N]
    ends = graph.op("CumSum", shares, graph.constant(3))
    total = ends.at([most - 1], axis=3)
    place = graph.op("Unsqueeze", graph.op("Clip", noise, 0.0, 1.0), graph.constant([3])) * total  # [B, k, D, 1]
    last = where(shares > 0.0, numbers, 0).reduced("Max", 3)
    behind = (ends <= place).cast(INT64).reduced("Sum", 3)
    vectors = graph.op("Min", behind, last).reduced("Sum", 3, keep=False).cast(FLOAT)
    is_border = graph.op("And", ends > 0.0, last > numbers)
    gaps = where(is_border, graph.op("Abs", ends - place) / total, math.inf)
    return Chosen(vectors, gaps.reduced("Min", 1, 2, 3, keep=False).cast(DOUBLE))


def log_density(proposal: Proposal, parameters: Value, vectors: Value, scale: float) -> Value:
    """`[B, K]` double, as `proposals.log_density`."""
    graph = parameters.graph
    logits = _table(proposal, parameters.cast(DOUBLE) / scale, -math.inf)  # [B, D, N]
    shares = graph.op("Unsqueeze", graph.op("LogSoftmax", logits, axis=2), graph.constant([1]))
    numbers = graph.constant(np.arange(_most(proposal), dtype=np.float32))
    is_chosen = graph.op("Unsqueeze", vectors, graph.constant([3])).equals(numbers)  # [B, K, D, N]
    return where(is_chosen, shares, 0.0).reduced("Sum", 2, 3, keep=False)


def alike(vectors: Value) -> Value:
    """`[B, K, K]` int64 1 of candidates `[B, K, D]` that are the same, else 0."""
    graph = vectors.graph
    one, other = (graph.op("Unsqueeze", vectors, graph.constant([axis])) for axis in (2, 1))
    return one.equals(other).cast(INT64).reduced("Min", 3, keep=False)


def first_alike(vectors: Value) -> Value:
    """`[B, K]` int64 the first candidate that is the same as each."""
    return vectors.graph.op("ArgMax", alike(vectors), axis=2, keepdims=0)


def _most(proposal: Proposal) -> int:
    """N, two at least."""
    return max(2, *proposal.factors)


def _draw_scale(proposal: Proposal) -> float:
    return DRAW_SCALE * min(1.0, EXACT_CHOICES / _most(proposal))


def _table(proposal: Proposal, of_choices: Value, fill: float) -> Value:
    """`[B, D, N]` of `[B, C]`."""
    graph, most = of_choices.graph, _most(proposal)
    numbers = np.arange(most)
    begins, sizes = np.array(proposal.begins())[:, None], np.array(proposal.factors)[:, None]
    places = np.where(numbers < sizes, begins + numbers, sum(proposal.factors))
    filling = graph.constant(np.array(fill, helper.tensor_dtype_to_np_dtype(of_choices.kind)))
    padded = graph.op("Pad", of_choices, graph.constant([0, 0, 0, 1]), filling)
    return padded.at(places.ravel().tolist(), axis=1).reshaped([-1, proposal.size, most])
