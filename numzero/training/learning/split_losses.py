"""The heads' losses and their gradients on several threads, a part of the rows on each.

Knows logits, goals and parts; knows nothing of networks, and never imports torch. All heads at once, since to begin
takes threads as long as one small head takes; otherwise as `losses` has them.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange
from numpy.typing import NDArray

from numzero.compiled import on_threads, parallel_kernel, search_kernel
from numzero.networks.split_kernels import part_bounds
from numzero.search.vectors import ONE, ZERO, exp, largest_of, total_of

__all__ = ["split_cross_entropies"]

_Float32Array = NDArray[np.float32]
_Int64Array = NDArray[np.int64]

BEGIN, SIZE, GOAL, BINS, NUM_BINS = range(5)
"""Columns of the heads' table: first column and number of columns of its outputs, first column of its goals; where its
bins begin among all, and how many there are: 0 where goals are probabilities."""


def split_cross_entropies(
    table: _Int64Array,
    bins: _Float32Array,
    goals: _Float32Array,
    counts: _Float32Array,
    outputs: _Float32Array,
    entropy_weight: float,
    num_parts: int,
) -> tuple[NDArray[np.float64], _Float32Array, _Float32Array]:
    """The sum of each head's cross-entropies and, last, the entropy term of the first; probabilities; the gradient.

    Args:
        table: `[heads, 5]`, see the columns' names.
        bins: flat.
        goals: `[N, goal columns]` probabilities, or one scalar for a head with bins.
        counts: `[N, heads]` times how much each counts.
        outputs: `[N, outputs]` logits.
        entropy_weight: of the first head's entropy over the actions that its goals allow.
        num_parts: T.
    """
    sums = np.zeros((num_parts, len(table) + 1))
    probability, gradient = np.empty_like(outputs), np.empty_like(outputs)
    arrays = table, bins, goals, counts, outputs, probability, gradient
    with on_threads(num_parts):
        _all_parts(part_bounds(len(outputs), num_parts), *arrays, np.float32(entropy_weight), sums)
    return sums.sum(axis=0), probability, gradient


@parallel_kernel
def _all_parts(
    bounds: _Int64Array,
    table: _Int64Array,
    bins: _Float32Array,
    goals: _Float32Array,
    counts: _Float32Array,
    outputs: _Float32Array,
    probability: _Float32Array,
    gradient: _Float32Array,
    entropy_weight: np.float32,
    sums: NDArray[np.float64],
) -> None:
    for t in prange(bounds.size - 1):
        _rows(
            bounds[t],
            bounds[t + 1],
            table,
            bins,
            goals,
            counts,
            outputs,
            probability,
            gradient,
            entropy_weight,
            sums[t],
        )


@search_kernel
def _rows(
    first: int,
    last: int,
    table: _Int64Array,
    bins: _Float32Array,
    goals: _Float32Array,
    counts: _Float32Array,
    outputs: _Float32Array,
    probability: _Float32Array,
    gradient: _Float32Array,
    entropy_weight: np.float32,
    sums: NDArray[np.float64],
) -> None:
    for n in range(first, last):
        for h in range(table.shape[0]):
            head = table[h]
            begin, end = head[BEGIN], head[BEGIN] + head[SIZE]
            x, p, d = outputs[n, begin:end], probability[n, begin:end], gradient[n, begin:end]
            shift = _softmax(x, p)
            if head[NUM_BINS] == 0:
                goal = goals[n, head[GOAL] : head[GOAL] + head[SIZE]]
                sums[h] += counts[n, h] * (shift - _towards(goal, x, counts[n, h], p, d))
            else:
                own = bins[head[BINS] : head[BINS] + head[NUM_BINS]]
                sums[h] += counts[n, h] * (shift - _towards_scalar(goals[n, head[GOAL]], own, x, counts[n, h], p, d))
        if entropy_weight > ZERO:
            head, weight = table[0], entropy_weight * counts[n, 0]
            begin, end = head[BEGIN], head[BEGIN] + head[SIZE]
            goal = goals[n, head[GOAL] : head[GOAL] + head[SIZE]]
            sums[table.shape[0]] -= weight * _add_entropy(
                goal, weight, probability[n, begin:end], gradient[n, begin:end]
            )


@search_kernel
def _softmax(x: _Float32Array, p: _Float32Array) -> float:
    """Fill `p`; the logarithm of the sum of exponentials of `x`."""
    largest = largest_of(x)
    for j in range(x.shape[0]):
        p[j] = exp(x[j] - largest)
    total = total_of(p)
    scale = ONE / total
    for j in range(x.shape[0]):
        p[j] *= scale
    return float(largest + math.log(total))


@search_kernel
def _towards(goal: _Float32Array, x: _Float32Array, count: np.float32, p: _Float32Array, d: _Float32Array) -> float:
    """The gradient count (p - goal), and what the goal expects of the logits."""
    expected = 0.0
    for j in range(x.shape[0]):
        expected += goal[j] * x[j]
        d[j] = count * (p[j] - goal[j])
    return expected


@search_kernel
def _towards_scalar(
    scalar: np.float32, bins: _Float32Array, x: _Float32Array, count: np.float32, p: _Float32Array, d: _Float32Array
) -> float:
    """The same for the two neighbouring bins whose expectation is the scalar (`networks.support.two_hot`)."""
    value = np.minimum(np.maximum(scalar, bins[0]), bins[-1])
    upper, above = 1, bins.shape[0] - 1
    while upper < above:  # the first bin that is not below the value
        middle = (upper + above) // 2
        if bins[middle] < value:
            upper = middle + 1
        else:
            above = middle
    share = (value - bins[upper - 1]) / (bins[upper] - bins[upper - 1])
    for j in range(x.shape[0]):
        d[j] = count * p[j]
    d[upper - 1] -= count * (ONE - share)
    d[upper] -= count * share
    return float((ONE - share) * x[upper - 1] + share * x[upper])


@search_kernel
def _add_entropy(goal: _Float32Array, weight: np.float32, p: _Float32Array, d: _Float32Array) -> float:
    """The entropy over the actions that a goal allows; adds the gradient weight p (log p + entropy)."""
    total, least = ZERO, np.float32(1.1754943508222875e-38)
    for j in range(p.shape[0]):
        total += p[j] if goal[j] > ZERO else ZERO
    scale, entropy = ONE / max(total, least), ZERO
    for j in range(p.shape[0]):
        if goal[j] > ZERO:
            share = p[j] * scale
            entropy -= share * math.log(max(share, least))
    for j in range(p.shape[0]):
        if goal[j] > ZERO:
            share = p[j] * scale
            d[j] += weight * share * (math.log(max(share, least)) + entropy)
    return float(entropy)
