"""Convolutions and residual blocks: for observations `[C, H, W]`.

Knows layers; knows nothing of heads or observations' scales.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from numzero.graphs.formulas import Value
from numzero.networks.bodies.base import Body, require_picture
from numzero.networks.bodies.mlp import MlpPrediction
from numzero.networks.config import ConvConfig
from numzero.networks.layers import (
    Chain,
    Conv,
    Dynamics,
    LatentScale,
    Layer,
    NetworkGraph,
    ResidualBlock,
    channels_last,
    emit_rows,
    rows_of,
)

__all__ = ["ConvDynamics", "ConvPrediction", "make_body"]


def make_body(observation_shape: tuple[int, ...], num_actions: int, num_outputs: int, config: ConvConfig) -> Body:
    """See `bodies`.

    Raises:
        UserError: observations are no images.
    """
    latent_shape = require_picture(observation_shape, config)
    scale = LatentScale(latent_shape, config.latent_scaling)
    return Body(
        latent_shape,
        ConvRepresentation(observation_shape, config, scale),
        ConvDynamics(latent_shape, num_actions, config, scale),
        ConvPrediction(latent_shape, num_outputs, config),
    )


def residual_blocks(config: ConvConfig) -> Chain:
    """The residual blocks of a convolutional body."""
    return Chain(ResidualBlock(config.channels) for _ in range(config.blocks))


class ConvRepresentation(Layer):
    """h: `[C, H, W]` observations through a convolution and residual blocks."""

    def __init__(self, observation_shape: tuple[int, ...], config: ConvConfig, scale: LatentScale) -> None:
        super().__init__()
        self.stem = Conv(observation_shape[0], config.channels)
        self.blocks = residual_blocks(config)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, C, H, W]` to `[N, channels, H, W]`."""
        return self.scale(self.blocks(functional.relu(self.stem(x))))

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        x = graph.op("Relu", self.stem.emit(graph, x))
        return self.scale.emit(graph, self.blocks.emit(graph, x))


class ConvDynamics(Dynamics):
    """g: a convolution of the latent plus a learned plane per action, then residual blocks."""

    takes_shares = True

    def __init__(self, latent_shape: tuple[int, ...], num_actions: int, config: ConvConfig, scale: LatentScale) -> None:
        super().__init__()
        self.action = nn.Parameter(torch.randn(num_actions, *latent_shape) / math.sqrt(9 * config.channels))
        self.stem = Conv(config.channels, config.channels)
        self.blocks = residual_blocks(config)
        self.scale = scale

    def forward(self, latent: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """`[N, *H]`, `[N]` to `[N, *H]`."""
        plane, inner = self._planes(action, last=channels_last(latent)), self.stem(latent)
        return self.scale(self.blocks(functional.relu((latent + inner + plane).to(inner.dtype))))

    def _planes(self, action: torch.Tensor, *, last: bool) -> torch.Tensor:
        """Those of the actions `[N, *H]`, in memory as latents lie; `last`: see `channels_last`."""
        if not last:
            return rows_of(self.action, action)
        table = self.action.permute(0, 2, 3, 1)  # [A, H, W, C]
        return rows_of(table.flatten(1), action).view(-1, *table.shape[1:]).permute(0, 3, 1, 2)

    def emit(self, graph: NetworkGraph, latent: Value, action: Value) -> Value:
        """See `Layer`."""
        plane = emit_rows(graph, self.action, action)
        x = latent + self.stem.emit(graph, latent) + plane
        return self.scale.emit(graph, self.blocks.emit(graph, graph.op("Relu", x)))


class ConvPrediction(Layer):
    """f: a 1x1 convolution to few channels, then the MLP heads."""

    def __init__(self, latent_shape: tuple[int, ...], num_outputs: int, config: ConvConfig) -> None:
        super().__init__()
        self.squeeze = Conv(latent_shape[0], config.head_channels, kernel=1)
        self.heads = MlpPrediction(config.head_channels * math.prod(latent_shape[1:]), num_outputs, config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, *H]` to `[N, outputs]`."""
        return self.heads(functional.relu(self.squeeze(x)).flatten(1))

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        x = graph.op("Relu", self.squeeze.emit(graph, x))
        return self.heads.emit(graph, graph.op("Flatten", x, axis=1))
