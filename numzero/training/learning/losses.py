"""Losses and their gradients, on arrays.

Knows logits and goals; knows nothing of networks or batches, and never imports torch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import fast_kernel

__all__ = ["add_entropy", "cross_entropy", "exponentials", "squared_distance"]

_Float32Array = NDArray[np.float32]

SAFE_LOGIT = 60.0
"""exp(60) and sums of many such are still float32."""


def exponentials(logits: _Float32Array, ends: tuple[int, ...]) -> tuple[_Float32Array, _Float32Array]:
    """`logits` `[N, outputs]`, less the largest of their row and head where exponentials could overflow, and those.

    ends: the column behind each head's last.
    """
    if not (logits.min() > -SAFE_LOGIT and logits.max() < SAFE_LOGIT):
        logits, begin = logits.copy(), 0
        for end in ends:
            logits[:, begin:end] -= logits[:, begin:end].max(axis=1, keepdims=True)
            begin = end
    return logits, np.exp(logits)


@fast_kernel
def cross_entropy(
    goal: _Float32Array,
    count: _Float32Array,
    place: tuple[int, int],
    logits: _Float32Array,
    power: _Float32Array,
    gradient: _Float32Array,
) -> float:
    """The sum of `count` times the rows' cross-entropies of one head; fills its `gradient` at the logits.

    goal: `[N, n]` probabilities. count: `[N]`. place: first row, which is that of `goal[0]`, and first column of the
    head in the other three. logits, power: `[M, outputs]`, as `exponentials` made them; powers become probabilities.
    gradient: `[M, outputs]`, count times (probability - goal).
    """
    loss, (row, column), size = 0.0, place, goal.shape[1]
    for n in range(goal.shape[0]):
        # Views of a row: an index that could be negative costs the vector instructions, and three times as much.
        x, p = logits[row + n, column : column + size], power[row + n, column : column + size]
        d = gradient[row + n, column : column + size]
        total, expected = np.float32(0), np.float32(0)
        for j in range(size):
            total += p[j]
            expected += goal[n, j] * x[j]
        loss += count[n] * (np.log(total) - expected)  # -sum goal log p, a goal's sum being 1
        scale = np.float32(1) / total
        for j in range(size):
            d[j] = count[n] * (p[j] * scale - goal[n, j])
        for j in range(size):
            p[j] *= scale
    return loss


def add_entropy(
    goal: _Float32Array, count: _Float32Array, probability: _Float32Array, gradient: _Float32Array
) -> float:
    """Minus the sum of `count` times the rows' entropies over the actions that a goal allows; adds its gradient.

    goal: `[N, n]` probabilities, 0 for what cannot be played. count: `[N]`. probability, gradient: `[N, n]`, the
    gradient at the logits: count p (log p + entropy).
    """
    p = np.where(goal > 0.0, probability, np.float32(0))
    p /= np.maximum(p.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    log_p = np.log(np.maximum(p, np.finfo(np.float32).tiny))
    entropy = -(p * log_p).sum(axis=1)
    gradient += count[:, None] * p * (log_p + entropy[:, None])
    return -float(count @ entropy)


@fast_kernel
def squared_distance(x: _Float32Array, goal: _Float32Array, count: _Float32Array, gradient: _Float32Array) -> float:
    """The sum of `count` `[N]` times the rows' squared distances; fills its `gradient` `[N, n]` at `x`."""
    loss = 0.0
    for n in range(x.shape[0]):
        total = np.float32(0)
        for j in range(x.shape[1]):
            error = x[n, j] - goal[n, j]
            total += error * error
            gradient[n, j] = np.float32(2) * count[n] * error
        loss += count[n] * total
    return loss
