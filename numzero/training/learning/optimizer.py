"""AdamW and the running average of the weights, in one pass over flat vectors.

Knows vectors; knows nothing of networks or schedules, and never imports torch.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange
from numpy.typing import NDArray

from numzero.compiled import kernel, on_threads, parallel_kernel, reordered_kernel, unchecked_kernel

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
        num_threads: that each take a part of the vectors; the numbers are the same.
    """

    def __init__(
        self, parameters: _Float32Array, average: _Float32Array, weight_decay: float, num_threads: int = 1
    ) -> None:
        self.parameters, self.average = parameters, average
        self.mean, self.square = np.zeros_like(parameters), np.zeros_like(parameters)
        self._weight_decay = weight_decay
        self._num_threads = num_threads

    def step(self, gradient: _Float32Array, scale: float, rate: float, num_done: int, average_decay: float) -> None:
        """One update by `scale` times `gradient` `[P]`, after `num_done` others."""
        first = 1.0 - MEAN_DECAY ** (num_done + 1)
        second = 1.0 - SQUARE_DECAY ** (num_done + 1)
        step, spread = np.float32(rate / first), np.float32(1.0 / math.sqrt(second))
        kept = np.float32(1.0 - rate * self._weight_decay)
        share = np.float32(1.0 - average_decay)
        if self._num_threads > 1:
            vectors = self.parameters, gradient, self.mean, self.square, self.average
            numbers = np.float32(scale), step, spread, kept, share
            with on_threads(self._num_threads):
                _step_parts(self._num_threads, *vectors, *numbers)
            return
        _step(self.parameters, np.float32(scale), gradient, self.mean, self.square, step, spread, kept)
        _follow(self.average, self.parameters, share)


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


@parallel_kernel
def _step_parts(
    num_parts: int,
    parameters: _Float32Array,
    gradient: _Float32Array,
    mean: _Float32Array,
    square: _Float32Array,
    average: _Float32Array,
    scale: np.float32,
    step: np.float32,
    spread: np.float32,
    kept: np.float32,
    share: np.float32,
) -> None:
    for t in prange(num_parts):
        part = slice(parameters.size * t // num_parts, parameters.size * (t + 1) // num_parts)
        _step(parameters[part], scale, gradient[part], mean[part], square[part], step, spread, kept)
        _follow(average[part], parameters[part], share)


@reordered_kernel
def norm(x: _Float32Array) -> float:
    """The length of a vector, in float64; not finite if any element is not."""
    total = 0.0
    for i in range(x.size):
        total += np.float64(x[i]) * np.float64(x[i])
    return math.sqrt(total)
