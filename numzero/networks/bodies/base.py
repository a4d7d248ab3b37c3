"""What a body is made of.

Knows the shapes that pass between its parts; knows nothing of layers.
"""

from __future__ import annotations

from typing import NamedTuple

from numzero.networks.layers import Dynamics, Layer

__all__ = ["Body"]


class Body(NamedTuple):
    """The three networks without what goes before and behind them. N rows, observations `*O`, latents `*H`."""

    latent_shape: tuple[int, ...]
    """`*H`."""
    representation: Layer
    """h: `[N, *O]` to `[N, *H]`."""
    dynamics: Dynamics
    """g: `[N, *H]`, `[N]` actions to `[N, *H]`."""
    prediction: Layer
    """f: `[N, *H]` to `[N, num_outputs]`, the logits of all heads."""
