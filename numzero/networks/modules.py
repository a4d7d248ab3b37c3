"""Representation, dynamics and prediction, each with its forward pass and its ONNX nodes side by side.

Knows layers; knows nothing of losses, optimisers or files. In both bodies one trunk and one matrix product make policy,
value and reward (the reward is read from the next latent), so a step of the search is few nodes.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Iterable
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from numzero.errors import UserError
from numzero.graphs.formulas import Value
from numzero.networks.config import NetworkConfig
from numzero.networks.graph import NetworkGraph
from numzero.networks.support import bin_values

__all__ = ["Heads", "MuZeroNetwork", "make_network"]

NORM_EPSILON = 1e-5
RANGE_EPSILON = 1e-5
"""Smallest range that the latent is scaled by; MuZero's reference scales ranges below it as if they were larger."""


class Heads(NamedTuple):
    """What the prediction network says of latents `[N, ...]`."""

    policy_logits: torch.Tensor
    """`[N, A]`."""
    value_logits: torch.Tensor
    """`[N, value bins]`."""
    reward_logits: torch.Tensor
    """`[N, reward bins]` reward of the step that led to the latent."""


RESIDUAL_SCALE = 0.1
"""Initial weights of a block's second convolution, times PyTorch's default: a deep body starts near the identity."""


class Layer(nn.Module, abc.ABC):
    """A module that can also write itself as ONNX nodes."""

    def __call__(self, *inputs: torch.Tensor | None) -> torch.Tensor:
        """The forward pass."""
        return cast(torch.Tensor, super().__call__(*inputs))

    @abc.abstractmethod
    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """Add the same as nodes on `x`; the output."""


class Chain(Layer):
    """Layers one after another; none at all passes its input on."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All layers in turn."""
        for layer in self.layers:
            x = layer(x)
        return x

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        for layer in self.layers:
            x = cast(Layer, layer).emit(graph, x)
        return x


class Dense(Layer):
    """x W^T + b; without a bias of its own it adds whatever it is given."""

    def __init__(self, num_inputs: int, num_outputs: int, *, bias: bool = True) -> None:
        super().__init__()
        linear = nn.Linear(num_inputs, num_outputs, bias=bias)
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x: torch.Tensor, extra: torch.Tensor | None = None) -> torch.Tensor:
        """`[N, inputs]` to `[N, outputs]`; `extra` `[N, outputs]` or the bias is added."""
        return torch.addmm(self.bias if extra is None else extra, x, self.weight.t())

    def emit(self, graph: NetworkGraph, x: Value, extra: Value | None = None) -> Value:
        """See `Layer`."""
        return graph.op("Gemm", x, graph.weight(self.weight), extra or graph.weight(self.bias), transB=1)


class HiddenLayer(Layer):
    """Dense, optional LayerNorm, activation."""

    def __init__(self, num_inputs: int, config: NetworkConfig, *, bias: bool = True) -> None:
        super().__init__()
        self.dense = Dense(num_inputs, config.width, bias=bias)
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPSILON) if config.hidden_norm else None
        self.silu = config.activation == "silu"

    def forward(self, x: torch.Tensor, extra: torch.Tensor | None = None) -> torch.Tensor:
        """`[N, inputs]` to `[N, width]`; `extra` `[N, width]` stands in for the bias."""
        x = self.dense(x, extra)
        if self.norm is not None:
            x = self.norm(x)
        return functional.silu(x) if self.silu else functional.relu(x)

    def emit(self, graph: NetworkGraph, x: Value, extra: Value | None = None) -> Value:
        """See `Layer`."""
        x = self.dense.emit(graph, x, extra)
        if self.norm is not None:
            scale, bias = graph.weight(self.norm.weight), graph.weight(self.norm.bias)
            x = graph.op("LayerNormalization", x, scale, bias, epsilon=NORM_EPSILON)
        return x * graph.op("Sigmoid", x) if self.silu else graph.op("Relu", x)


def hidden_layers(num_inputs: int, num_layers: int, config: NetworkConfig) -> Chain:
    """Hidden layers of the width set; the first sees `num_inputs`."""
    sizes = [num_inputs, *[config.width] * (num_layers - 1)]
    return Chain(HiddenLayer(size, config) for size in sizes[:num_layers])


class LatentScale(Layer):
    """Keeps a latent in range without parameters: min-max to [0, 1], or LayerNorm over all its elements."""

    def __init__(self, shape: tuple[int, ...], kind: str) -> None:
        super().__init__()
        self.shape = shape
        self.minmax = kind == "minmax"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, *H]` to `[N, *H]`."""
        if not self.minmax:
            return functional.layer_norm(x, self.shape, eps=NORM_EPSILON)
        axes = tuple(range(1, x.ndim))
        low = x.amin(axes, keepdim=True)
        return (x - low) / (x.amax(axes, keepdim=True) - low).clamp_min(RANGE_EPSILON)

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        if not self.minmax:
            scale = graph.constant(np.ones(self.shape, np.float32))
            return graph.op("LayerNormalization", x, scale, axis=1, epsilon=NORM_EPSILON)
        axes = range(1, len(self.shape) + 1)
        low = x.reduced("Min", *axes)
        spread = x.reduced("Max", *axes) - low
        return (x - low) / graph.op("Max", spread, RANGE_EPSILON)


class MlpRepresentation(Layer):
    """h: an observation of any shape, flattened, to a latent `[N, latent_size]`."""

    def __init__(self, observation_shape: tuple[int, ...], config: NetworkConfig, scale: LatentScale) -> None:
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


class MlpDynamics(nn.Module):
    """g: s' = scale(s + W y(s, a)); the action's embedding is the first layer's bias, the residual the last one's."""

    def __init__(self, num_actions: int, config: NetworkConfig, scale: LatentScale) -> None:
        super().__init__()
        self.action = nn.Parameter(torch.randn(num_actions, config.width) / math.sqrt(config.latent_size))
        self.first = HiddenLayer(config.latent_size, config, bias=False)
        self.hidden = hidden_layers(config.width, config.dynamics_layers - 1, config)
        self.output = Dense(config.width, config.latent_size, bias=False)
        self.scale = scale

    def forward(self, latent: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """`[N, latent_size]`, `[N]` to `[N, latent_size]`."""
        x = self.first(latent, functional.embedding(action, self.action))
        return self.scale(self.output(self.hidden(x), latent))

    def emit(self, graph: NetworkGraph, latent: Value, action: Value) -> Value:
        """The same as nodes."""
        x = self.first.emit(graph, latent, graph.weight(self.action).at(action))
        return self.scale.emit(graph, self.output.emit(graph, self.hidden.emit(graph, x), latent))


class MlpPrediction(Layer):
    """f: a trunk and one matrix product for policy, value and reward."""

    def __init__(self, num_inputs: int, num_outputs: int, config: NetworkConfig) -> None:
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


class Conv(Layer):
    """A convolution that keeps height and width."""

    def __init__(self, num_inputs: int, num_outputs: int, kernel: int = 3) -> None:
        super().__init__()
        conv = nn.Conv2d(num_inputs, num_outputs, kernel)
        self.weight, self.bias = conv.weight, cast(nn.Parameter, conv.bias)
        self.padding = kernel // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, C, H, W]` to `[N, C', H, W]`."""
        return functional.conv2d(x, self.weight, self.bias, padding=self.padding)

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        return graph.op("Conv", x, graph.weight(self.weight), graph.weight(self.bias), pads=[self.padding] * 4)


class ResidualBlock(Layer):
    """x + conv(relu(conv(x))), then relu; no norm: batch 1 and ONNX stay simple."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Conv(channels, channels)
        self.second = Conv(channels, channels)
        with torch.no_grad():
            self.second.weight.mul_(RESIDUAL_SCALE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, C, H, W]` to `[N, C, H, W]`."""
        return functional.relu(x + self.second(functional.relu(self.first(x))))

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        inner = self.second.emit(graph, graph.op("Relu", self.first.emit(graph, x)))
        return graph.op("Relu", x + inner)


def residual_blocks(config: NetworkConfig) -> Chain:
    """The residual blocks of a convolutional body."""
    return Chain(ResidualBlock(config.channels) for _ in range(config.blocks))


class ConvRepresentation(Layer):
    """h: `[C, H, W]` observations through a convolution and residual blocks."""

    def __init__(self, observation_shape: tuple[int, ...], config: NetworkConfig, scale: LatentScale) -> None:
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


class ConvDynamics(nn.Module):
    """g: a convolution of the latent plus a learned plane per action, then residual blocks."""

    def __init__(
        self, latent_shape: tuple[int, ...], num_actions: int, config: NetworkConfig, scale: LatentScale
    ) -> None:
        super().__init__()
        self.action = nn.Parameter(torch.randn(num_actions, *latent_shape) / math.sqrt(9 * config.channels))
        self.stem = Conv(config.channels, config.channels)
        self.blocks = residual_blocks(config)
        self.scale = scale

    def forward(self, latent: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """`[N, *H]`, `[N]` to `[N, *H]`."""
        return self.scale(self.blocks(functional.relu(latent + self.stem(latent) + self.action[action])))

    def emit(self, graph: NetworkGraph, latent: Value, action: Value) -> Value:
        """The same as nodes."""
        plane = graph.weight(self.action).at(action)
        x = latent + self.stem.emit(graph, latent) + plane
        return self.scale.emit(graph, self.blocks.emit(graph, graph.op("Relu", x)))


class ConvPrediction(Layer):
    """f: a 1x1 convolution to few channels, then the MLP heads."""

    def __init__(self, latent_shape: tuple[int, ...], num_outputs: int, config: NetworkConfig) -> None:
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


class MuZeroNetwork(nn.Module):
    """The three networks and their decoding."""

    value_bins: torch.Tensor
    reward_bins: torch.Tensor

    def __init__(self, observation_shape: tuple[int, ...], num_actions: int, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.observation_shape = observation_shape
        self.num_actions = num_actions
        self.register_buffer("value_bins", torch.from_numpy(bin_values(config.value)), persistent=False)
        self.register_buffer("reward_bins", torch.from_numpy(bin_values(config.reward)), persistent=False)
        self.head_sizes = [num_actions, config.value.num_bins, config.reward.num_bins]
        self.representation: MlpRepresentation | ConvRepresentation
        self.dynamics: MlpDynamics | ConvDynamics
        self.prediction: MlpPrediction | ConvPrediction
        if config.body == "mlp":
            self.latent_shape: tuple[int, ...] = (config.latent_size,)
            scale = LatentScale(self.latent_shape, config.latent_scaling)
            self.representation = MlpRepresentation(observation_shape, config, scale)
            self.dynamics = MlpDynamics(num_actions, config, scale)
            self.prediction = MlpPrediction(config.latent_size, sum(self.head_sizes), config)
        else:
            self.latent_shape = (config.channels, *observation_shape[1:])
            scale = LatentScale(self.latent_shape, config.latent_scaling)
            self.representation = ConvRepresentation(observation_shape, config, scale)
            self.dynamics = ConvDynamics(self.latent_shape, num_actions, config, scale)
            self.prediction = ConvPrediction(self.latent_shape, sum(self.head_sizes), config)

    def represent(self, observation: torch.Tensor) -> torch.Tensor:
        """Latents `[N, *H]` of observations `[N, *O]` float32."""
        return self.representation(self.scale_observation(observation))

    def scale_observation(self, observation: torch.Tensor) -> torch.Tensor:
        """What the representation sees of observations `[N, *O]` float32."""
        if self.config.observation_scaling == "symlog":
            observation = observation.sign() * observation.abs().log1p()
        return observation

    def predict(self, latent: torch.Tensor) -> Heads:
        """Policy, value and reward logits of latents `[N, *H]`."""
        return Heads(*torch.split(self.prediction(latent), self.head_sizes, dim=-1))

    def decode(self, logits: torch.Tensor, bins: torch.Tensor) -> torch.Tensor:
        """The scalars `[N]` that categorical logits `[N, bins]` stand for."""
        return logits.softmax(-1) @ bins


def make_network(
    observation_shape: tuple[int, ...], num_actions: int, config: NetworkConfig, seed: int
) -> MuZeroNetwork:
    """A fresh network; its initial weights depend on `seed` alone.

    Raises:
        UserError: a setting is out of range, or the body does not fit the observation.
    """
    if problems := config.check():
        raise UserError(" ".join(problems))
    if config.body == "conv" and len(observation_shape) != 3:
        raise UserError(
            f"network.body = 'conv' needs observations [channels, height, width]; this game's are "
            f"{list(observation_shape)}. Use --set network.body=mlp."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MuZeroNetwork(observation_shape, num_actions, config)
