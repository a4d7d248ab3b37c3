"""Layers that every row shares, beside layers that every column shares: for boards whose pieces move along lines.

Every block sees a whole line at once, where a convolution sees three cells of it, and costs less: MLP-Mixer (Tolstikhin
et al. 2021) with rows and columns in place of patches and channels. Knows layers; knows nothing of heads or
observations' scales.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from numzero.graphs.formulas import Value
from numzero.networks.bodies.base import Body, require_picture
from numzero.networks.bodies.mlp import MlpPrediction
from numzero.networks.config import AxialConfig
from numzero.networks.layers import (
    RESIDUAL_SCALE,
    Chain,
    Dense,
    Dynamics,
    HiddenLayer,
    LatentScale,
    Layer,
    NetworkGraph,
    emit_rows,
    rows_of,
)

__all__ = ["make_body"]


def make_body(observation_shape: tuple[int, ...], num_actions: int, num_outputs: int, config: AxialConfig) -> Body:
    """See `bodies`. Latents are `[H, W, channels]`.

    Raises:
        UserError: observations are no images.
    """
    latent_shape = require_picture(observation_shape, config)
    scale = LatentScale(latent_shape, config.latent_scaling)
    return Body(
        latent_shape,
        AxialRepresentation(observation_shape, config, scale),
        AxialDynamics(latent_shape, num_actions, config, scale),
        AxialPrediction(latent_shape, num_outputs, config),
    )


def line_blocks(latent_shape: tuple[int, ...], config: AxialConfig) -> Chain:
    """The blocks of a body."""
    return Chain(LineBlock(latent_shape, config) for _ in range(config.blocks))


class Line(Layer):
    """A hidden layer and a linear one, on lines of `length` numbers."""

    gains_by_bfloat16 = True

    def __init__(self, length: int, config: AxialConfig) -> None:
        super().__init__()
        self.hidden = HiddenLayer(length, config)
        self.output = Dense(config.width, length)
        with torch.no_grad():
            self.output.weight.mul_(RESIDUAL_SCALE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, length]` to `[N, length]`."""
        return self.output(self.hidden(x))

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        return self.output.emit(graph, self.hidden.emit(graph, x))


class LineBlock(Layer):
    """x + row(x) + column(x), where `row` sees each row by itself and `column` each column."""

    def __init__(self, latent_shape: tuple[int, ...], config: AxialConfig) -> None:
        super().__init__()
        self.shape = height, width, channels = latent_shape
        self.row = Line(width * channels, config)
        self.column = Line(height * channels, config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, H, W, C]` to `[N, H, W, C]`."""
        height, width, channels = self.shape
        rows = self.row(x.reshape(-1, width * channels)).view(-1, height, width, channels)
        columns = self.column(x.transpose(1, 2).reshape(-1, height * channels)).view(-1, width, height, channels)
        return x + rows + columns.transpose(1, 2)

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        height, width, channels = self.shape
        rows = self.row.emit(graph, x.reshaped([-1, width * channels])).reshaped([-1, height, width, channels])
        turned = graph.op("Transpose", x, perm=[0, 2, 1, 3]).reshaped([-1, height * channels])
        columns = self.column.emit(graph, turned).reshaped([-1, width, height, channels])
        return x + rows + graph.op("Transpose", columns, perm=[0, 2, 1, 3])


class AxialRepresentation(Layer):
    """h: a linear layer for each place, then blocks."""

    def __init__(self, observation_shape: tuple[int, ...], config: AxialConfig, scale: LatentScale) -> None:
        super().__init__()
        self.num_planes = observation_shape[0]
        self.place = Dense(self.num_planes, config.channels)
        self.blocks = line_blocks(scale.shape, config)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, planes, H, W]` to `[N, H, W, C]`."""
        places = self.place(x.permute(0, 2, 3, 1).reshape(-1, self.num_planes))
        return self.scale(self.blocks(places.view(-1, *self.scale.shape)))

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        places = graph.op("Transpose", x, perm=[0, 2, 3, 1]).reshaped([-1, self.num_planes])
        x = self.place.emit(graph, places).reshaped([-1, *self.scale.shape])
        return self.scale.emit(graph, self.blocks.emit(graph, x))


class AxialDynamics(Dynamics):
    """g: the latent plus a learned plane per action, then blocks."""

    takes_shares = True

    def __init__(
        self, latent_shape: tuple[int, ...], num_actions: int, config: AxialConfig, scale: LatentScale
    ) -> None:
        super().__init__()
        self.action = nn.Parameter(torch.randn(num_actions, math.prod(latent_shape)) / math.sqrt(config.channels))
        self.blocks = line_blocks(latent_shape, config)
        self.scale = scale

    def forward(self, latent: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """`[N, *H]`, `[N]` to `[N, *H]`."""
        plane = rows_of(self.action, action).view(-1, *self.scale.shape)
        return self.scale(self.blocks(latent + plane))

    def emit(self, graph: NetworkGraph, latent: Value, action: Value) -> Value:
        """See `Layer`."""
        plane = emit_rows(graph, self.action, action).reshaped([-1, *self.scale.shape])
        return self.scale.emit(graph, self.blocks.emit(graph, latent + plane))


class AxialPrediction(Layer):
    """f: the MLP heads on the whole latent."""

    def __init__(self, latent_shape: tuple[int, ...], num_outputs: int, config: AxialConfig) -> None:
        super().__init__()
        self.heads = MlpPrediction(math.prod(latent_shape), num_outputs, config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, *H]` to `[N, outputs]`."""
        return self.heads(x.flatten(1))

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        return self.heads.emit(graph, graph.op("Flatten", x, axis=1))
