"""Weights to try a network with.

Knows parameters; knows nothing of what is tried.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

__all__ = ["random_weights"]


@contextlib.contextmanager
def random_weights(network: nn.Module, seed: int = 0) -> Iterator[None]:
    """For a while, weights under which everything matters and none equals another; then those that were there.

    Fresh networks have heads of zeros, behind which nothing shows, and biases that are all alike. Gradients are zeros
    afterwards; torch's own random state is left alone.
    """
    generator = torch.Generator().manual_seed(seed)
    parameters = list(network.parameters())
    kept = [parameter.detach().clone() for parameter in parameters]
    try:
        with torch.no_grad():
            for parameter in parameters:
                scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 1.0
                parameter.normal_(std=scale, generator=generator)
        yield
    finally:
        with torch.no_grad():
            for parameter, before in zip(parameters, kept, strict=True):
                parameter.copy_(before)
                if parameter.grad is not None:
                    parameter.grad.zero_()
