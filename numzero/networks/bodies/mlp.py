"""Plain layers: for vectors and tiny boards.

One trunk and one matrix product make policy, value and reward (the reward is read from the next latent), so a step of
the search is few nodes. Knows layers; knows nothing of heads or observations' scales.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from numzero.graphs.formulas import Value
from numzero.networks.bodies.base import Body
from numzero.networks.by_hand import Stage
from numzero.networks.config import BodyConfig, MlpConfig
from numzero.networks.layers import (
    Dense,
    Dynamics,
    DynamicsStages,
    HiddenLayer,
    LatentScale,
    Layer,
    NetworkGraph,
    emit_rows,
    hidden_layers,
    joined,
    rows_of,
)

__all__ = ["MlpPrediction", "make_body"]


def make_body(observation_shape: tuple[int, ...], num_actions: int, num_outputs: int, config: MlpConfig) -> Body:
    """See `bodies`."""
    latent_shape = (config.latent_size,)
    scale = LatentScale(latent_shape, config.latent_scaling)
    return Body(
        latent_shape,
        MlpRepresentation(observation_shape, config, scale),
        MlpDynamics(num_actions, config, scale),
        MlpPrediction(config.latent_size, num_outputs, config),
    )


class MlpRepresentation(Layer):
    """h: an observation of any shape, flattened, to a latent `[N, latent_size]`."""

    def __init__(self, observation_shape: tuple[int, ...], config: MlpConfig, scale: LatentScale) -> None:
        super().__init__()
        num_inputs, num_layers = math.prod(observation_shape), config.representation_layers
        self.hidden = hidden_layers(num_inputs, num_layers, config)
        self.output = Dense(config.width if num_layers else num_inputs, config.latent_size)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, *O]` to `[N, latent_size]`."""
        return self.scale(self.output(self.hidden(x.flatten(1))))

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        x = self.hidden.emit(graph, graph.op("Flatten", x, axis=1))
        return self.scale.emit(graph, self.output.emit(graph, x))

    def stages(self) -> Sequence[Stage] | None:
        """See `Layer`; of observations that lie flat."""
        return joined(self.hidden, self.output, self.scale)


class MlpDynamics(Dynamics):
    """g: s' = scale(s + W y(s, a)); the action's embedding is the first layer's bias, the residual the last one's."""

    takes_shares = True

    def __init__(self, num_actions: int, config: MlpConfig, scale: LatentScale) -> None:
        super().__init__()
        self.action = nn.Parameter(torch.randn(num_actions, config.width) / math.sqrt(config.latent_size))
        self.first = HiddenLayer(config.latent_size, config, bias=False)
        self.hidden = hidden_layers(config.width, config.dynamics_layers - 1, config)
        self.output = Dense(config.width, config.latent_size, bias=False)
        self.scale = scale

    def forward(self, latent: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """`[N, latent_size]`, `[N]` to `[N, latent_size]`."""
        x = self.first(latent, rows_of(self.action, action))
        return self.scale(self.output(self.hidden(x), latent))

    def emit(self, graph: NetworkGraph, latent: Value, action: Value) -> Value:
        """See `Layer`."""
        x = self.first.emit(graph, latent, emit_rows(graph, self.action, action))
        return self.scale.emit(graph, self.output.emit(graph, self.hidden.emit(graph, x), latent))

    def stages(self) -> DynamicsStages | None:
        """See `Layer`."""
        inner, scale = joined(self.first, self.hidden), self.scale.stages()
        if inner is None or scale is None:
            return None
        (residual,) = self.output.stages()
        return DynamicsStages([*inner, residual, *scale], residual, self.action)


class MlpPrediction(Layer):
    """f: a trunk and one matrix product for policy, value and reward."""

    def __init__(self, num_inputs: int, num_outputs: int, config: BodyConfig) -> None:
        super().__init__()
        self.hidden = hidden_layers(num_inputs, config.prediction_layers, config)
        self.output = Dense(config.width, num_outputs)
        with torch.no_grad():
            self.output.weight.mul_(config.head_scale)
            self.output.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, inputs]` to `[N, outputs]`."""
        return self.output(self.hidden(x))

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        return self.output.emit(graph, self.hidden.emit(graph, x))

    def stages(self) -> Sequence[Stage] | None:
        """See `Layer`."""
        return joined(self.hidden, self.output)
