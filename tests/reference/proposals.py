"""Obvious twin of `numzero.search.proposals`: a number at a time, in Python's own float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

from numzero.search import Candidates, Proposal


def softmax(logits: Sequence[float]) -> list[float]:
    power = [math.exp(x - max(logits)) for x in logits]
    return [x / sum(power) for x in power]


def distributions(proposal: Proposal, parameters: Sequence[float], scale: float) -> list[tuple[float, ...]]:
    """Mean and spread of each number, or the shares of each factor's choices."""
    if not proposal.factors:
        means, spreads = parameters[: proposal.size], parameters[proposal.size :]
        return [
            (5.0 * math.tanh(x / 5.0), scale * (math.log1p(math.exp(y + 1.0)) + 0.1))
            for x, y in zip(means, spreads, strict=True)
        ]
    found, begin = [], 0
    for count in proposal.factors:
        found.append(tuple(softmax([x / scale for x in parameters[begin : begin + count]])))
        begin += count
    return found


def masked(parameters: Sequence[float], legal: Sequence[bool]) -> list[float]:
    """Logits of choices, those that may not be made far below all others."""
    return [x if may else -1e30 for x, may in zip(parameters, legal, strict=True)]


def candidate(
    proposal: Proposal, parameters: Sequence[float], noise: Sequence[float], scale: float, is_first: bool
) -> list[float]:
    """One vector."""
    vector = []
    for each, drawn in zip(distributions(proposal, parameters, scale), noise, strict=True):
        if not proposal.factors:
            mean, spread = each
            vector.append(min(max(math.tanh(mean + (0.0 if is_first else spread * drawn)), -0.999), 0.999))
        elif is_first:
            vector.append(float(max(range(len(each)), key=lambda i: (each[i], -i))))
        else:
            choice, total = 0, each[0]
            while total <= drawn and choice < len(each) - 1:
                choice += 1
                total += each[choice]
            vector.append(float(choice))
    return vector


def log_density(proposal: Proposal, parameters: Sequence[float], vector: Sequence[float], scale: float) -> float:
    """Before tanh, of numbers."""
    total = 0.0
    for each, value in zip(distributions(proposal, parameters, scale), vector, strict=True):
        if proposal.factors:
            total += math.log(each[int(value)])
        else:
            mean, spread = each
            z = math.atanh(min(max(value, -0.999), 0.999))
            total += -0.5 * ((z - mean) / spread) ** 2 - math.log(spread * math.sqrt(2.0 * math.pi))
    return total


def corrected_priors(
    proposal: Proposal, parameters: Sequence[float], vectors: Sequence[Sequence[float]], candidates: Candidates
) -> list[float]:
    """(1 / K) / beta * pi of each candidate, over the sum of these (Hubert et al. 2021, section 4)."""
    weights = []
    for vector in vectors:
        own = math.exp(log_density(proposal, parameters, vector, 1.0))
        wide = math.exp(log_density(proposal, parameters, vector, candidates.wide_scale))
        beta = (candidates.num_policy * own + candidates.num_wide * wide) / candidates.num_candidates
        weights.append(own / beta / candidates.num_candidates)
    return [weight / sum(weights) for weight in weights]
