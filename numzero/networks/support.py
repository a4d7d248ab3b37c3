"""Scalars as categories: where the bins of value and reward lie, and how a scalar becomes a target.

Knows the value transform h and two-hot coding; knows nothing of layers or losses.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import kernel
from numzero.networks.config import SupportConfig

__all__ = ["bin_values", "inverse_h", "two_hot", "value_transform"]

TRANSFORM_SLOPE = 0.001
"""epsilon of h: keeps its inverse Lipschitz; MuZero, appendix F: 0.001."""


def value_transform(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """h(x) = sign(x)(sqrt(|x| + 1) - 1) + 0.001 x (Pohlen et al. 2018; MuZero, appendix F)."""
    result: NDArray[np.float64] = np.sign(x) * (np.sqrt(np.abs(x) + 1.0) - 1.0) + TRANSFORM_SLOPE * x
    return result


def inverse_h(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The x with h(x) = y."""
    slope = TRANSFORM_SLOPE
    root = (np.sqrt(1.0 + 4.0 * slope * (np.abs(y) + 1.0 + slope)) - 1.0) / (2.0 * slope)
    result: NDArray[np.float64] = np.sign(y) * (root**2 - 1.0)
    return result


def bin_values(config: SupportConfig) -> NDArray[np.float32]:
    """`[num_bins]` the scalar that each bin stands for, ascending.

    Bins are placed by h but stand for untransformed scalars: the expectation is then the scalar itself, without bias,
    and decoding is one matrix product. MuZero takes the expectation in transformed space and transforms back: nine
    more nodes in each graph, and the mean of a noisy target comes out too small.
    """
    even = np.linspace(-config.limit, config.limit, config.num_bins)
    return (inverse_h(even) if config.transform == "h" else even).astype(np.float32)


@kernel
def two_hot(scalar: NDArray[np.float32], bins: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities `[N, bins]` on the two neighbouring bins, whose expectation is `scalar` `[N]`.

    Scalars beyond the outermost bins are clamped to them; a nan stays one.
    """
    probability = np.zeros((scalar.size, bins.size), np.float32)
    for n in range(scalar.size):
        x = np.minimum(np.maximum(scalar[n], bins[0]), bins[-1])
        upper = min(max(np.searchsorted(bins, x), 1), bins.size - 1)
        share = (x - bins[upper - 1]) / (bins[upper] - bins[upper - 1])
        probability[n, upper - 1], probability[n, upper] = np.float32(1) - share, share
    return probability
