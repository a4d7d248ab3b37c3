"""Layers, each with its forward pass, its ONNX nodes and its way back side by side.

Knows tensors, nodes and stages; knows nothing of bodies, losses or files. What a layer does not say of itself is done
in general ways: gradients by autograd, files by torch's exporter. So a new layer is right before it is fast, and what
it says is not taken on trust: `make_unroll` and `Exporter` compare numbers.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from numzero.graphs.formulas import FLOAT, Graph, Value
from numzero.networks.activations import ACTIVATIONS
from numzero.networks.by_hand import Elementwise, Linear, Norm, Stage
from numzero.networks.config import BodyConfig

__all__ = ["RESIDUAL_SCALE", "Chain", "Conv", "Dense", "Dynamics", "DynamicsStages", "HiddenLayer", "LatentScale"]
__all__ += ["Layer", "NetworkGraph", "NoNodesError", "Pool", "Rectified", "ResidualBlock", "channels_last", "emit_rows"]
__all__ += ["hidden_layers", "joined", "rows_of"]

NORM_EPSILON = 1e-5
RANGE_EPSILON = 1e-5
"""Smallest range that the latent is scaled by; MuZero's reference scales ranges below it as if they were larger."""
RESIDUAL_SCALE = 0.1
"""Initial weights of a block's last layer, times PyTorch's default: a deep body starts near the identity."""


class NoNodesError(Exception):
    """A layer does not say how it is written as nodes."""


class NetworkGraph(Graph):
    """A graph of a module, whose parameters are stored under its own names.

    Written by hand rather than traced: every node costs a small network more than its arithmetic.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        learned = (*module.named_parameters(), *module.named_buffers())
        self._names = {id(tensor): name for name, tensor in learned}

    def weight(self, parameter: torch.Tensor) -> Value:
        """A parameter of the module, or a buffer."""
        return self.stored(self._names[id(parameter)], parameter.detach().numpy())


class Layer(nn.Module):
    """A module that may also say how it is written as nodes, and how it and its gradient are computed by hand."""

    gains_by_bfloat16: bool = False
    """Whether it is worth computing in half the bits while learning."""

    def __call__(self, *inputs: torch.Tensor | None) -> torch.Tensor:
        """The forward pass."""
        return cast(torch.Tensor, super().__call__(*inputs))

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """Add the same as nodes on `x`; the output.

        Raises:
            NoNodesError: it does not say.
        """
        raise NoNodesError(type(self).__name__)

    def stages(self) -> Sequence[Stage] | None:
        """The same on rows `[N, size]`, forward and backward; None if it does not say."""
        return None


class DynamicsStages(NamedTuple):
    """A dynamics by hand."""

    stages: Sequence[Stage]
    """The first is a `Linear` without a bias of its own: it adds the row of `table` that belongs to the action."""
    residual: Linear
    """That of the stages which adds the latent the dynamics began with."""
    table: nn.Parameter
    """`[A, size of the first stage]`."""


class Dynamics(nn.Module, abc.ABC):
    """g: a latent and an action to the next latent; as a `Layer` but for its second input."""

    takes_shares: bool = False
    """Whether actions may also be shares `[N, A]` float32 of each, so that gradients reach whatever made them."""

    def __call__(self, latent: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """The forward pass: `[N, *H]`, `[N]` to `[N, *H]`."""
        return cast(torch.Tensor, super().__call__(latent, action))

    def emit(self, graph: NetworkGraph, latent: Value, action: Value) -> Value:
        """See `Layer`."""
        raise NoNodesError(type(self).__name__)

    def stages(self) -> DynamicsStages | None:
        """See `Layer`."""
        return None


def channels_last(x: torch.Tensor) -> bool:
    """Whether these are pictures `[N, C, H, W]` of which the channels of a place lie side by side in memory."""
    return x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def rows_of(table: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    """`[N, ...]` the rows `action` `[N]` of a table `[A, ...]`, or mixtures of all by their shares `[N, A]`."""
    if action.is_floating_point():
        return (action @ table.flatten(1)).view(-1, *table.shape[1:])
    return functional.embedding(action, table) if table.ndim == 2 else table[action]


def emit_rows(graph: NetworkGraph, table: torch.Tensor, action: Value) -> Value:
    """The same as nodes: a row for each action, or mixtures by shares."""
    weight = graph.weight(table)
    if action.kind != FLOAT:
        return weight.at(action)
    if table.ndim == 2:
        return graph.op("MatMul", action, weight)
    flat = graph.op("MatMul", action, weight.reshaped([table.shape[0], -1]))
    return flat.reshaped([-1, *table.shape[1:]])


def joined(*layers: Layer) -> list[Stage] | None:
    """The stages of layers one after another; None if one of them does not say."""
    stages: list[Stage] = []
    for layer in layers:
        more = layer.stages()
        if more is None:
            return None
        stages += more
    return stages


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

    def stages(self) -> Sequence[Stage] | None:
        """See `Layer`."""
        return joined(*cast(Iterable[Layer], self.layers))


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

    def stages(self) -> Sequence[Linear]:
        """See `Layer`."""
        return [Linear(self.weight, self.bias)]


class HiddenLayer(Layer):
    """Dense, optional LayerNorm, activation."""

    def __init__(self, num_inputs: int, config: BodyConfig, *, bias: bool = True) -> None:
        super().__init__()
        self.dense = Dense(num_inputs, config.width, bias=bias)
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPSILON) if config.hidden_norm else None
        self.activation = ACTIVATIONS[config.activation]
        self._function = getattr(functional, self.activation.function)

    def forward(self, x: torch.Tensor, extra: torch.Tensor | None = None) -> torch.Tensor:
        """`[N, inputs]` to `[N, width]`; `extra` `[N, width]` stands in for the bias."""
        x = self.dense(x, extra)
        if self.norm is not None:
            x = self.norm(x)
        return cast(torch.Tensor, self._function(x))

    def emit(self, graph: NetworkGraph, x: Value, extra: Value | None = None) -> Value:
        """See `Layer`."""
        x = self.dense.emit(graph, x, extra)
        if self.norm is not None:
            scale, bias = graph.weight(self.norm.weight), graph.weight(self.norm.bias)
            x = graph.op("LayerNormalization", x, scale, bias, epsilon=NORM_EPSILON)
        if self.activation.nodes is None:
            raise NoNodesError(self.activation.function)
        return self.activation.nodes(x)

    def stages(self) -> Sequence[Stage] | None:
        """See `Layer`."""
        size = len(self.dense.weight)
        norm = [] if self.norm is None else [Norm(size, NORM_EPSILON, self.norm.weight, self.norm.bias)]
        if self.activation.compiled is None:
            return None
        return [*self.dense.stages(), *norm, Elementwise(size, self.activation.compiled)]


def hidden_layers(num_inputs: int, num_layers: int, config: BodyConfig) -> Chain:
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
        """`[N, *H]` to `[N, *H]`, in memory as they lie."""
        if not self.minmax and channels_last(x):  # no need to put them in another order and back
            place_by_place = x.permute(0, 2, 3, 1)  # [N, H, W, C]
            return functional.layer_norm(place_by_place, place_by_place.shape[1:], eps=NORM_EPSILON).permute(0, 3, 1, 2)
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

    def stages(self) -> Sequence[Stage] | None:
        """See `Layer`."""
        return None if self.minmax else [Norm(math.prod(self.shape), NORM_EPSILON)]


class Conv(Layer):
    """A convolution that keeps height and width or, with a stride of 2, halves them, rounded up."""

    gains_by_bfloat16 = True

    def __init__(self, num_inputs: int, num_outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        conv = nn.Conv2d(num_inputs, num_outputs, kernel)
        self.weight, self.bias = conv.weight, cast(nn.Parameter, conv.bias)
        self.padding, self.stride = kernel // 2, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, C, H, W]` to `[N, C', H', W']`."""
        return functional.conv2d(x, self.weight, self.bias, stride=self.stride, padding=self.padding)

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        strides: dict[str, Any] = {} if self.stride == 1 else {"strides": [self.stride] * 2}
        weight, bias = graph.weight(self.weight), graph.weight(self.bias)
        return graph.op("Conv", x, weight, bias, pads=[self.padding] * 4, **strides)


class Pool(Layer):
    """The mean of 3 x 3 neighbours, those inside the picture, at every second place: halves height and width."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, C, H, W]` to `[N, C, (H + 1) // 2, (W + 1) // 2]`."""
        return functional.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        return graph.op("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)


class Rectified(Layer):
    """relu of another layer."""

    def __init__(self, inner: Layer) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the other layer has it."""
        return functional.relu(self.inner(x))

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        return graph.op("Relu", self.inner.emit(graph, x))


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
        inner = self.second(functional.relu(self.first(x)))
        return functional.relu(x.to(inner.dtype) + inner)

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        inner = self.second.emit(graph, graph.op("Relu", self.first.emit(graph, x)))
        return graph.op("Relu", x + inner)
