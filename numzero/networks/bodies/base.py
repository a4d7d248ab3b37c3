"""What a body is made of.

Knows the shapes that pass between its parts, and which of them a body's settings need; knows nothing of layers.
"""

from __future__ import annotations

from typing import NamedTuple

from numzero.errors import UserError
from numzero.networks.config import Body as BodySettings
from numzero.networks.layers import Dynamics, Layer

__all__ = ["Body", "require_picture"]


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


def require_picture(observation_shape: tuple[int, ...], config: BodySettings) -> tuple[int, ...]:
    """The shape of latents.

    Raises:
        UserError: observations are no pictures.
    """
    shape = config.latent_shape(observation_shape)
    if shape is None:
        raise UserError(
            f"network.body = {config.__struct_config__.tag!r} needs observations [channels, height, width]; this "
            f"game's are {list(observation_shape)}. Set network.body to mlp."
        )
    return shape
