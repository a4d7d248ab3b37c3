"""Representation, dynamics and prediction, each with its forward pass and its ONNX nodes side by side.

Knows layers; knows nothing of losses, optimisers or files. In both bodies one trunk and one matrix product make policy,
value and reward (the reward is read from the next latent), so a step of the search is few nodes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from numzero.errors import UserError
from numzero.networks.config import NetworkConfig
from numzero.networks.graph import GraphBuilder
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


class HiddenLayer(nn.Module):
    """Linear, optional LayerNorm, activation."""

    def __init__(self, num_inputs: int, config: NetworkConfig, *, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(num_inputs, config.width, bias=bias)
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPSILON) if config.hidden_norm else None
        self.silu = config.activation == "silu"

    def forward(self, x: torch.Tensor, extra: torch.Tensor | None = None) -> torch.Tensor:
        """`[N, inputs]` to `[N, width]`; `extra` `[N, width]` stands in for the bias."""
        x = self.linear(x) if extra is None else torch.addmm(extra, x, self.linear.weight.t())
        if self.norm is not None:
            x = self.norm(x)
        return functional.silu(x) if self.silu else functional.relu(x)

    def emit(self, graph: GraphBuilder, x: str, extra: str | None = None) -> str:
        """The same as nodes."""
        x = graph.node("Gemm", x, graph.weight(self.linear.weight), extra or graph.weight(self.linear.bias), transB=1)
        if self.norm is not None:
            scale, bias = graph.weight(self.norm.weight), graph.weight(self.norm.bias)
            x = graph.node("LayerNormalization", x, scale, bias, epsilon=NORM_EPSILON)
        return graph.node("Mul", x, graph.node("Sigmoid", x)) if self.silu else graph.node("Relu", x)


class LatentScale(nn.Module):
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

    def emit(self, graph: GraphBuilder, x: str) -> str:
        """The same as nodes."""
        if not self.minmax:
            scale = graph.constant("latent_norm_scale", np.ones(self.shape, np.float32))
            return graph.node("LayerNormalization", x, scale, axis=1, epsilon=NORM_EPSILON)
        axes = graph.constant("latent_axes", np.arange(1, len(self.shape) + 1, dtype=np.int64))
        low = graph.node("ReduceMin", x, axes, keepdims=1)
        spread = graph.node("Sub", graph.node("ReduceMax", x, axes, keepdims=1), low)
        floor = graph.constant("range_epsilon", np.asarray(RANGE_EPSILON, np.float32))
        return graph.node("Div", graph.node("Sub", x, low), graph.node("Max", spread, floor))


class MlpRepresentation(nn.Module):
    """h: an observation of any shape, flattened, to a latent `[N, latent_size]`."""

    def __init__(self, observation_shape: tuple[int, ...], config: NetworkConfig, scale: LatentScale) -> None:
        super().__init__()
        sizes = [math.prod(observation_shape)] + [config.width] * config.representation_layers
        self.hidden = nn.ModuleList(HiddenLayer(n, config) for n in sizes[:-1])
        self.output = nn.Linear(sizes[-1], config.latent_size)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, *O]` to `[N, latent_size]`."""
        x = x.flatten(1)
        for layer in self.hidden:
            x = layer(x)
        return self.scale(self.output(x))

    def emit(self, graph: GraphBuilder, x: str) -> str:
        """The same as nodes."""
        x = graph.node("Flatten", x, axis=1)
        for layer in self.hidden:
            x = layer.emit(graph, x)
        x = graph.node("Gemm", x, graph.weight(self.output.weight), graph.weight(self.output.bias), transB=1)
        return self.scale.emit(graph, x)


class MlpDynamics(nn.Module):
    """g: s' = scale(s + W y(s, a)); the action's embedding is the first layer's bias."""

    def __init__(self, num_actions: int, config: NetworkConfig, scale: LatentScale) -> None:
        super().__init__()
        num_layers = max(1, config.dynamics_layers)
        self.action = nn.Embedding(num_actions, config.width)
        nn.init.normal_(self.action.weight, std=1.0 / math.sqrt(config.latent_size))
        sizes = [config.latent_size] + [config.width] * (num_layers - 1)
        self.hidden = nn.ModuleList(HiddenLayer(n, config, bias=i > 0) for i, n in enumerate(sizes))
        self.output = nn.Linear(config.width, config.latent_size, bias=False)
        self.scale = scale

    def forward(self, latent: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """`[N, latent_size]`, `[N]` to `[N, latent_size]`."""
        extra: torch.Tensor | None = self.action(action)
        x = latent
        for layer in self.hidden:
            x, extra = layer(x, extra), None
        return self.scale(torch.addmm(latent, x, self.output.weight.t()))

    def emit(self, graph: GraphBuilder, latent: str, action: str) -> str:
        """The same as nodes; the residual is the last product's summand."""
        extra: str | None = graph.node("Gather", graph.weight(self.action.weight), action)
        x = latent
        for layer in self.hidden:
            x, extra = layer.emit(graph, x, extra), None
        return self.scale.emit(graph, graph.node("Gemm", x, graph.weight(self.output.weight), latent, transB=1))


class MlpPrediction(nn.Module):
    """f: a trunk and one matrix product for policy, value and reward."""

    def __init__(self, num_inputs: int, num_outputs: int, config: NetworkConfig) -> None:
        super().__init__()
        sizes = [num_inputs] + [config.width] * (config.prediction_layers - 1)
        self.hidden = nn.ModuleList(HiddenLayer(n, config) for n in sizes)
        self.output = nn.Linear(config.width, num_outputs)
        with torch.no_grad():
            self.output.weight.mul_(config.head_scale)
            self.output.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, inputs]` to `[N, outputs]`."""
        for layer in self.hidden:
            x = layer(x)
        return self.output(x)

    def emit(self, graph: GraphBuilder, x: str) -> str:
        """The same as nodes."""
        for layer in self.hidden:
            x = layer.emit(graph, x)
        return graph.node("Gemm", x, graph.weight(self.output.weight), graph.weight(self.output.bias), transB=1)


class Conv(nn.Module):
    """A convolution that keeps height and width."""

    def __init__(self, num_inputs: int, num_outputs: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_inputs, num_outputs, kernel, padding=kernel // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, C, H, W]` to `[N, C', H, W]`."""
        return self.conv(x)

    def emit(self, graph: GraphBuilder, x: str) -> str:
        """The same as nodes."""
        pad = self.conv.weight.shape[-1] // 2
        return graph.node("Conv", x, graph.weight(self.conv.weight), graph.weight(self.conv.bias), pads=[pad] * 4)


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), then relu; no norm: batch 1 and ONNX stay simple."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Conv(channels, channels)
        self.second = Conv(channels, channels)
        with torch.no_grad():
            self.second.conv.weight.mul_(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, C, H, W]` to `[N, C, H, W]`."""
        return functional.relu(x + self.second(functional.relu(self.first(x))))

    def emit(self, graph: GraphBuilder, x: str) -> str:
        """The same as nodes."""
        inner = self.second.emit(graph, graph.node("Relu", self.first.emit(graph, x)))
        return graph.node("Relu", graph.node("Add", x, inner))


class ConvRepresentation(nn.Module):
    """h: `[C, H, W]` observations through a convolution and residual blocks."""

    def __init__(self, observation_shape: tuple[int, ...], config: NetworkConfig, scale: LatentScale) -> None:
        super().__init__()
        self.stem = Conv(observation_shape[0], config.channels)
        self.blocks = nn.ModuleList(ResidualBlock(config.channels) for _ in range(config.blocks))
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, C, H, W]` to `[N, channels, H, W]`."""
        x = functional.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.scale(x)

    def emit(self, graph: GraphBuilder, x: str) -> str:
        """The same as nodes."""
        x = graph.node("Relu", self.stem.emit(graph, x))
        for block in self.blocks:
            x = block.emit(graph, x)
        return self.scale.emit(graph, x)


class ConvDynamics(nn.Module):
    """g: a convolution of the latent plus a learned plane per action, then residual blocks."""

    def __init__(self, latent_shape: tuple[int, ...], num_actions: int, config: NetworkConfig, scale: LatentScale) -> None:
        super().__init__()
        self.latent_shape = latent_shape
        self.action = nn.Parameter(torch.randn(num_actions, *latent_shape) / math.sqrt(9 * config.channels))
        self.stem = Conv(config.channels, config.channels)
        self.blocks = nn.ModuleList(ResidualBlock(config.channels) for _ in range(config.blocks))
        self.scale = scale

    def forward(self, latent: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """`[N, *H]`, `[N]` to `[N, *H]`."""
        x = functional.relu(latent + self.stem(latent) + self.action[action])
        for block in self.blocks:
            x = block(x)
        return self.scale(x)

    def emit(self, graph: GraphBuilder, latent: str, action: str) -> str:
        """The same as nodes."""
        plane = graph.node("Gather", graph.weight(self.action), action)
        x = graph.node("Add", graph.node("Add", latent, self.stem.emit(graph, latent)), plane)
        x = graph.node("Relu", x)
        for block in self.blocks:
            x = block.emit(graph, x)
        return self.scale.emit(graph, x)


class ConvPrediction(nn.Module):
    """f: a 1x1 convolution to few channels, then the MLP heads."""

    def __init__(self, latent_shape: tuple[int, ...], num_outputs: int, config: NetworkConfig) -> None:
        super().__init__()
        self.squeeze = Conv(latent_shape[0], config.head_channels, kernel=1)
        self.heads = MlpPrediction(config.head_channels * math.prod(latent_shape[1:]), num_outputs, config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, *H]` to `[N, outputs]`."""
        return self.heads(functional.relu(self.squeeze(x)).flatten(1))

    def emit(self, graph: GraphBuilder, x: str) -> str:
        """The same as nodes."""
        x = graph.node("Relu", self.squeeze.emit(graph, x))
        return self.heads.emit(graph, graph.node("Flatten", x, axis=1))


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
        if self.config.observation_scaling == "symlog":
            observation = observation.sign() * observation.abs().log1p()
        return self.representation(observation)

    def predict(self, latent: torch.Tensor) -> Heads:
        """Policy, value and reward logits of latents `[N, *H]`."""
        return Heads(*self.prediction(latent).split(self.head_sizes, dim=-1))

    def decode(self, logits: torch.Tensor, bins: torch.Tensor) -> torch.Tensor:
        """The scalars `[N]` that categorical logits `[N, bins]` stand for."""
        return logits.softmax(-1) @ bins


def make_network(observation_shape: tuple[int, ...], num_actions: int, config: NetworkConfig, seed: int) -> MuZeroNetwork:
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
