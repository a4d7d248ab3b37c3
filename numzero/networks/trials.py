"""Weights to try a network with.

Knows parameters; knows nothing of what is tried.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from numzero.networks.network import MuZeroNetwork

__all__ = ["MAGNITUDES", "TRIAL_SCALES", "random_weights"]

TRIAL_SCALES = (1.0, 4.0, 0.03)
"""Sizes of weights to try one after another: large ones show where a function bends or ends, small ones what is added
to a variance."""
MAGNITUDES = (1.0, 30.0, 0.03)
"""Sizes of observations, row by row in turn."""


@contextlib.contextmanager
def random_weights(network: MuZeroNetwork, scale: float) -> Iterator[None]:
    """For a while, weights under which everything matters and none equals another; then those that were there.

    At scale 1 what a layer computes is about as large as what it is given.

    Fresh networks have heads of zeros, behind which nothing shows, and biases that are all alike. Gradients are zeros
    afterwards; torch's own random state is left alone.
    """
    generator = torch.Generator().manual_seed(0)
    parameters = list(network.stored().values())
    kept = [parameter.detach().clone() for parameter in parameters]
    try:
        with torch.no_grad():
            for parameter in parameters:
                size = parameter[0].numel() if parameter.ndim > 1 else 1
                parameter.normal_(std=scale * size**-0.5, generator=generator)
        yield
    finally:
        with torch.no_grad():
            for parameter, before in zip(parameters, kept, strict=True):
                parameter.copy_(before)
                if parameter.grad is not None:
                    parameter.grad.zero_()
