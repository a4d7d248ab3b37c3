"""Scalars as categories: where the bins of value and reward lie, and how a scalar becomes a target.

Knows the value transform h and two-hot coding; knows nothing of layers or losses.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

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


def two_hot(scalar: torch.Tensor, bins: torch.Tensor) -> torch.Tensor:
    """Probabilities `[..., num_bins]` on the two neighbouring bins, whose expectation is `scalar` `[...]`.

    Scalars beyond the outermost bins are clamped to them.
    """
    scalar = scalar.clamp(bins[0], bins[-1]).contiguous()
    upper = torch.searchsorted(bins, scalar).clamp(1, len(bins) - 1)
    low, high = bins[upper - 1], bins[upper]
    share = ((scalar - low) / (high - low)).unsqueeze(-1)
    target = torch.zeros(*scalar.shape, len(bins), dtype=scalar.dtype)
    target.scatter_(-1, (upper - 1).unsqueeze(-1), 1.0 - share)
    return target.scatter_(-1, upper.unsqueeze(-1), share)
