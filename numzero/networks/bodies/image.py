"""Convolutions and residual blocks behind halvings: for pictures `[C, H, W]` whose latents shall be small.

Halvings as MuZero's (Schrittwieser et al. 2020, appendix F): two convolutions with a stride of 2, then means of
neighbours, residual blocks behind each. The search sees small latents only, in which dynamics and prediction are
those of `conv`. Knows layers; knows nothing of heads or observations' scales.
"""

from __future__ import annotations

import torch

from numzero.graphs.formulas import Value
from numzero.networks.bodies.base import Body, require_picture
from numzero.networks.bodies.conv import ConvDynamics, ConvPrediction
from numzero.networks.config import ImageConfig
from numzero.networks.layers import Chain, Conv, LatentScale, Layer, NetworkGraph, Pool, Rectified, ResidualBlock

__all__ = ["make_body"]

NUM_STRIDED = 2
"""Halvings that are convolutions."""


def make_body(observation_shape: tuple[int, ...], num_actions: int, num_outputs: int, config: ImageConfig) -> Body:
    """See `bodies`.

    Raises:
        UserError: observations are no pictures.
    """
    latent_shape = require_picture(observation_shape, config)
    scale = LatentScale(latent_shape, config.latent_scaling)
    blocks = [ResidualBlock(config.channels) for _ in range(config.blocks)]
    return Body(
        latent_shape,
        Chain([*first_layers(observation_shape, config), *blocks, scale]),
        ConvDynamics(latent_shape, num_actions, config, scale),
        ConvPrediction(latent_shape, num_outputs, config),
    )


def first_layers(observation_shape: tuple[int, ...], config: ImageConfig) -> list[Layer]:
    """From `[C, H, W]` to `[channels, H', W']`: a layer for each halving, or one that halves nothing."""
    count, num_planes = config.num_halvings(observation_shape), observation_shape[0]
    if count == 0:
        return [Rectified(Conv(num_planes, config.channels))]
    layers: list[Layer] = [ChannelsLast()]
    for i in range(count):
        if i > 0:
            layers += [ResidualBlock(num_planes) for _ in range(config.early_blocks)]
        if i < NUM_STRIDED:
            num_planes, before = (config.channels + 1) // 2 if i == 0 and count > 1 else config.channels, num_planes
            layers.append(Rectified(Conv(before, num_planes, stride=2)))
        else:
            layers.append(Pool())
    return layers


class ChannelsLast(Layer):
    """The same numbers in another order in memory, which layers behind it keep.

    An update on 84x84 takes four fifths of the time; on 24x24 and 10x10 as long as before.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, C, H, W]`."""
        return x.contiguous(memory_format=torch.channels_last)

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        return x
