"""AdamW and the running average of the weights, in one pass over flat vectors.

Knows vectors; knows nothing of networks or schedules, and never imports torch.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import kernel, reordered_kernel, unchecked_kernel

__all__ = ["AdamW", "norm"]

_Float32Array = NDArray[np.float32]

MEAN_DECAY, SQUARE_DECAY, EPSILON = 0.9, 0.999, 1e-8
"""Loshchilov & Hutter 2019, algorithm 2, with the usual constants."""


class AdamW:
    """Changes `parameters`, and lets `average` follow them.

    Args:
        parameters: `[P]` changed in place.
        average: `[P]` changed in place.
        weight_decay: shrinks every parameter by rate times this.
    """

    def __init__(self, parameters: _Float32Array, average: _Float32Array, weight_decay: float) -> None:
        self.parameters, self.average = parameters, average
        self.mean, self.square = np.zeros_like(parameters), np.zeros_like(parameters)
        self._weight_decay = weight_decay

    def step(self, gradient: _Float32Array, scale: float, rate: float, num_done: int, average_decay: float) -> None:
        """One update by `scale` times `gradient` `[P]`, after `num_done` others."""
        first = 1.0 - MEAN_DECAY ** (num_done + 1)
        second = 1.0 - SQUARE_DECAY ** (num_done + 1)
        step, spread = np.float32(rate / first), np.float32(1.0 / math.sqrt(second))
        kept = np.float32(1.0 - rate * self._weight_decay)
        _step(self.parameters, np.float32(scale), gradient, self.mean, self.square, step, spread, kept)
        _follow(self.average, self.parameters, np.float32(1.0 - average_decay))


@unchecked_kernel
def _step(
    parameters: _Float32Array,
    scale: np.float32,
    gradient: _Float32Array,
    mean: _Float32Array,
    square: _Float32Array,
    step: np.float32,
    spread: np.float32,
    kept: np.float32,
) -> None:
    beta1, beta2, one = np.float32(MEAN_DECAY), np.float32(SQUARE_DECAY), np.float32(1)
    for i in range(parameters.size):
        g = scale * gradient[i]
        mean[i] += (one - beta1) * (g - mean[i])
        square[i] = beta2 * square[i] + (one - beta2) * g * g
        parameters[i] = kept * parameters[i] - step * mean[i] / (np.sqrt(square[i]) * spread + np.float32(EPSILON))


@kernel
def _follow(average: _Float32Array, parameters: _Float32Array, share: np.float32) -> None:
    for i in range(parameters.size):
        average[i] += share * (parameters[i] - average[i])


@reordered_kernel
def norm(x: _Float32Array) -> float:
    """The length of a vector, in float64; not finite if any element is not."""
    total = 0.0
    for i in range(x.size):
        total += np.float64(x[i]) * np.float64(x[i])
    return math.sqrt(total)
