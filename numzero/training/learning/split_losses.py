"""The heads' losses and their gradients on several threads, a part of the rows on each.

Knows logits, goals and parts; knows no layers, and never imports torch. All heads at once, since to begin takes threads
as long as one small head takes; otherwise as `losses` has them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import prange
from numpy.typing import NDArray

from numzero.compiled import on_threads, parallel_kernel, search_kernel
from numzero.networks.heads import Heads
from numzero.networks.split_kernels import part_bounds
from numzero.search.vectors import ONE, ZERO, exp, largest_of, total_of
from numzero.training.config import LearnerConfig

__all__ = ["Goals", "goals_of", "named_losses", "row_losses", "split_head_losses", "surprise"]
__all__ += ["value_error"]

_Float32Array = NDArray[np.float32]
_Int64Array = NDArray[np.int64]

LEAST = np.finfo(np.float32).tiny
"""In place of a probability of 0 in a logarithm."""
BEGIN, SIZE, GOAL, BINS, NUM_BINS = range(5)
"""Columns of the heads' table: first column and number of columns of its outputs, first column of its goals; where its
bins begin among all, and how many there are: 0 where goals are probabilities."""


class Goals(NamedTuple):
    """What all heads are to say of N positions."""

    table: _Int64Array
    """`[heads, 5]`, see the columns' names."""
    bins: _Float32Array
    """Of all heads that have them, one after another."""
    goals: _Float32Array
    """`[N, goal columns]` probabilities, or one scalar for a head with bins."""
    counts: _Float32Array
    """`[N, heads]` times how much each counts."""
    entropy_weight: np.float32
    """Of the first head's entropy over the actions that its goals allow."""


def goals_of(heads: Heads, config: LearnerConfig, batch: tuple[Any, ...], weights: _Float32Array) -> Goals:
    """Those of a batch, N being (K+1) B: one that has a target and a mask for each of the heads.

    weights: `[K+1, B]`.
    """
    num_positions, num_rows = weights.shape
    sizes = [head.size if head.bins is None else 1 for head in heads.values()]  # columns of goals
    goals = np.zeros((num_positions, num_rows, sum(sizes)), np.float32)  # [K+1, B, columns]
    counts = np.zeros((num_positions, num_rows, len(heads)), np.float32)  # [K+1, B, heads]
    table, bins, column = [], [np.zeros(0, np.float32)], 0
    for place, (size, (name, head)) in enumerate(zip(sizes, heads.items(), strict=True)):
        target, first = getattr(batch, f"{name}_target").swapaxes(0, 1), int(head.of_step)  # [K+1 or K, B, ...]
        goals[first:, :, column : column + size] = target.reshape(*target.shape[:2], size)
        mask = getattr(batch, f"{name}_mask").T
        counts[first:, :, place] = getattr(config, f"{head.scalar}_weight") * weights[first:] * mask
        own = np.zeros(0, np.float32) if head.bins is None else head.bins
        table.append((head.begin, head.size, column, sum(map(len, bins)), len(own)))
        bins.append(own)
        column += size
    flat = goals.reshape(-1, column), counts.reshape(-1, len(heads))
    weight = config.entropy_weight if "policy" in heads else 0.0  # whose head is the first
    return Goals(np.array(table, np.int64), np.concatenate(bins), *flat, np.float32(weight))


def split_head_losses(
    heads: Heads, config: LearnerConfig, batch: tuple[Any, ...], weights: _Float32Array, outputs: _Float32Array
) -> tuple[dict[str, float], _Float32Array, _Float32Array]:
    """As `learner.head_losses`, on several threads."""
    goals = goals_of(heads, config, batch, weights)
    sums = np.zeros((config.threads, len(heads) + 1))
    probability, gradient = np.empty_like(outputs), np.empty_like(outputs)
    with on_threads(config.threads):
        _all_parts(part_bounds(len(outputs), config.threads), goals, outputs, probability, gradient, sums)
    return named_losses(heads, goals, sums), probability, gradient


def named_losses(heads: Heads, goals: Goals, sums: NDArray[np.float64]) -> dict[str, float]:
    """The losses of `[T, heads + 1 or more]` sums, as `row_losses` adds to them."""
    totals = sums.sum(axis=0)
    losses = dict(zip(heads, totals.tolist(), strict=False))
    return losses | ({"entropy": float(totals[len(heads)])} if goals.entropy_weight > 0.0 else {})


@parallel_kernel
def _all_parts(
    bounds: _Int64Array,
    goals: Goals,
    outputs: _Float32Array,
    probability: _Float32Array,
    gradient: _Float32Array,
    sums: NDArray[np.float64],
) -> None:
    for t in prange(bounds.size - 1):
        _rows(bounds[t], bounds[t + 1], goals, outputs, probability, gradient, sums[t])


@search_kernel
def _rows(
    first: int,
    last: int,
    goals: Goals,
    outputs: _Float32Array,
    probability: _Float32Array,
    gradient: _Float32Array,
    sums: NDArray[np.float64],
) -> None:
    for n in range(first, last):
        row_losses(goals, n, outputs[n], probability[n], gradient[n], sums)


@search_kernel
def row_losses(
    goals: Goals,
    n: int,
    outputs: _Float32Array,
    probability: _Float32Array,
    gradient: _Float32Array,
    sums: NDArray[np.float64],
) -> None:
    """All heads' losses of position `n`, from its outputs: fills its probabilities and gradient, and adds to `sums`.

    sums: `[heads + 1 or more]` each head's cross-entropies, then the entropy term of the first.
    """
    num_heads = goals.table.shape[0]
    for h in range(num_heads):
        head, count = goals.table[h], goals.counts[n, h]
        begin, end = head[BEGIN], head[BEGIN] + head[SIZE]
        x, p, d = outputs[begin:end], probability[begin:end], gradient[begin:end]
        shift = _softmax(x, p)
        if head[NUM_BINS] == 0:
            goal = goals.goals[n, head[GOAL] : head[GOAL] + head[SIZE]]
            sums[h] += count * (shift - _towards(goal, x, count, p, d))
        else:
            own = goals.bins[head[BINS] : head[BINS] + head[NUM_BINS]]
            sums[h] += count * (shift - _towards_scalar(goals.goals[n, head[GOAL]], own, x, count, p, d))
    if goals.entropy_weight > ZERO:
        head, weight = goals.table[0], goals.entropy_weight * goals.counts[n, 0]
        begin, end = head[BEGIN], head[BEGIN] + head[SIZE]
        goal = goals.goals[n, head[GOAL] : head[GOAL] + head[SIZE]]
        sums[num_heads] -= weight * _add_entropy(goal, weight, probability[begin:end], gradient[begin:end])


@search_kernel
def value_error(goals: Goals, n: int, value: int, probability: _Float32Array) -> np.float32:
    """|predicted - target| of position `n`; value: the number of that head."""
    head, found = goals.table[value], ZERO
    for j in range(head[NUM_BINS]):
        found += probability[head[BEGIN] + j] * goals.bins[head[BINS] + j]
    return abs(found - goals.goals[n, head[GOAL]])


@search_kernel
def surprise(goals: Goals, n: int, policy: int, probability: _Float32Array) -> np.float32:
    """KL of the goal from what is predicted at position `n`; 0 where the goal is empty. policy: that head's number."""
    head, divergence = goals.table[policy], 0.0
    for j in range(head[SIZE]):
        goal = goals.goals[n, head[GOAL] + j]
        if goal > ZERO:
            divergence += goal * math.log(goal / max(probability[head[BEGIN] + j], LEAST))
    return np.float32(max(divergence, 0.0))


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
    total = ZERO
    for j in range(p.shape[0]):
        total += p[j] if goal[j] > ZERO else ZERO
    scale, entropy = ONE / max(total, LEAST), ZERO
    for j in range(p.shape[0]):
        if goal[j] > ZERO:
            share = p[j] * scale
            entropy -= share * math.log(max(share, LEAST))
    for j in range(p.shape[0]):
        if goal[j] > ZERO:
            share = p[j] * scale
            d[j] += weight * share * (math.log(max(share, LEAST)) + entropy)
    return float(entropy)
