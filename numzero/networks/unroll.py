"""The unrolled network and the way back: latents and outputs of windows, and the gradient of whatever is made of them.

Knows layers and derivatives; knows nothing of targets, losses or optimisers. `AutogradUnroll` differentiates any body
with torch. `MlpUnroll` does it by hand for plain MLPs: at these sizes autograd's bookkeeping takes longer than the
matrix products, and of a layer that is used at every step the gradient of the weights is one product instead of K.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from numzero.compiled import fast_kernel, fused_kernel, kernel
from numzero.networks.modules import (
    NORM_EPSILON,
    Chain,
    Dense,
    HiddenLayer,
    MlpDynamics,
    MlpPrediction,
    MlpRepresentation,
    MuZeroNetwork,
)

__all__ = ["AutogradUnroll", "MlpUnroll", "Unroll", "make_unroll"]


class Unroll(Protocol):
    """Runs windows of B rows and K steps forward, then back. Results are valid until the next call."""

    def represent(self, observation: torch.Tensor) -> torch.Tensor:
        """Latents `[N, *H]` of observations `[N, *O]`, of which no gradient is asked."""

    def forward(self, observation: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents `[(K+1) B, *H]` and outputs `[(K+1) B, policy + value + reward bins]`, rows step by step.

        observation: `[B, *O]` float32, of the first positions. action: `[B, K]` int32.
        """

    def backward(self, d_latents: torch.Tensor | None, d_outputs: torch.Tensor) -> None:
        """Write into each parameter's `grad` the gradient of what has these gradients at the results of `forward`.

        Both may be overwritten. The gradient is scaled wherever a latent enters the dynamics (MuZero, appendix G).
        """


def make_unroll(network: MuZeroNetwork, gradient_scale: float) -> Unroll:
    """The fastest way for this network, whose parameters must stay where they are and have a `grad` each.

    gradient_scale: multiplies the gradient at each dynamics input.
    """
    config = network.config
    if config.body == "mlp" and config.latent_scaling == "layernorm":
        return MlpUnroll(network, gradient_scale)
    return AutogradUnroll(network, gradient_scale)


class AutogradUnroll:
    """See `Unroll`; for any body."""

    def __init__(self, network: MuZeroNetwork, gradient_scale: float) -> None:
        self._network = network
        self._scale = gradient_scale

    def represent(self, observation: torch.Tensor) -> torch.Tensor:
        """See `Unroll`."""
        with torch.no_grad():
            return self._network.represent(observation)

    def forward(self, observation: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Unroll`."""
        latent = self._network.represent(observation)  # [B, *H]
        latents = [latent]
        for k in range(action.shape[1]):
            latent = self._network.dynamics(_scale_gradient(latent, self._scale), action[:, k])
            latents.append(latent)
        self._latents = torch.cat(latents)  # [(K+1) B, *H]
        self._outputs = self._network.prediction(self._latents)
        return self._latents.detach(), self._outputs.detach()

    def backward(self, d_latents: torch.Tensor | None, d_outputs: torch.Tensor) -> None:
        """See `Unroll`."""
        for parameter in self._network.parameters():
            cast(torch.Tensor, parameter.grad).zero_()
        results, gradients = [self._outputs], [d_outputs]
        if d_latents is not None:
            results, gradients = [*results, self._latents], [*gradients, d_latents]
        torch.autograd.backward(results, gradients)


def _scale_gradient(x: torch.Tensor, scale: float) -> torch.Tensor:
    """`x` itself, whose gradient is multiplied by `scale` on the way back."""
    alias = x.view_as(x)
    if scale != 1.0 and alias.requires_grad:
        alias.register_hook(lambda gradient: gradient * scale)  # type: ignore[no-untyped-call]
    return alias


# ---------------------------------------------------------------------------------------------------- by hand


class MlpUnroll:
    """See `Unroll`; for MLP bodies with LayerNorm of the latent.

    Each layer keeps what it computed in one array of blocks of B rows, a block for each use. Nothing is allocated in an
    update, and the gradient of a layer's weights is one product over all its uses.
    """

    def __init__(self, network: MuZeroNetwork, gradient_scale: float) -> None:
        h, g, f = network.representation, network.dynamics, network.prediction
        assert isinstance(h, MlpRepresentation)
        assert isinstance(g, MlpDynamics)
        assert isinstance(f, MlpPrediction)
        self._network = network
        self._scale = gradient_scale
        self._action = g.action
        latent_size = network.latent_shape[0]
        self._first, self._residual = _Linear(g.first.dense), _Linear(g.output)
        self._dynamics = [self._first, *_after_product(g.first), *_stages(g.hidden), self._residual, _Norm(latent_size)]
        self._representation = [*_stages(h.hidden), _Linear(h.output), _Norm(latent_size)]
        self._prediction = [*_stages(f.hidden), _Linear(f.output)]
        self._shape = (0, 0)
        self._num_represented = 0

    def represent(self, observation: torch.Tensor) -> torch.Tensor:
        """See `Unroll`."""
        if self._num_represented != len(observation):
            self._allocate_representation(len(observation))
        with torch.no_grad():
            self._inputs = self._network.scale_observation(observation).flatten(1)  # [N, inputs]
            return _forward(self._representation, 0, self._inputs)

    def forward(self, observation: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Unroll`."""
        num_rows, num_steps = action.shape
        if self._shape != (num_rows, num_steps):
            self._allocate(num_rows, num_steps)
        with torch.no_grad():
            self._actions = action.t().reshape(-1)  # [K B]
            torch.index_select(self._action, 0, self._actions, out=self._embedding)
            self.represent(observation)
            for k in range(num_steps):
                _forward(self._dynamics, k, self._latent[k])
            return self._latents, _forward(self._prediction, 0, self._latents)

    def backward(self, d_latents: torch.Tensor | None, d_outputs: torch.Tensor) -> None:
        """See `Unroll`."""
        with torch.no_grad():
            self._prediction[-1].all_d_outputs = d_outputs
            d_first = _backward(self._prediction, 0, d_outputs)
            torch.mm(d_first, cast(_Linear, self._prediction[0]).weight, out=self._d_latents)
            if d_latents is not None:
                self._d_latents.add_(d_latents)
            for k in range(self._shape[1] - 1, -1, -1):
                d_first = _backward(self._dynamics, k, self._d_latent[k + 1])
                # A latent enters the dynamics twice: into the first layer, and as the residual.
                self._d_latent[k].add_(self._residual.d_output[k], alpha=self._scale)
                self._d_latent[k].addmm_(d_first, self._first.weight, alpha=self._scale)
            _backward(self._representation, 0, self._d_latent[0])
            _write_gradients(self._representation, self._inputs)
            _write_gradients(self._dynamics, self._latents[: len(self._actions)])
            _write_gradients(self._prediction, self._latents)
            d_action = cast(torch.Tensor, self._action.grad)
            sum_rows(self._actions.numpy(), self._first.all_d_outputs.numpy(), d_action.numpy())

    def _allocate_representation(self, num_rows: int) -> None:
        self._num_represented, self._shape = num_rows, (0, 0)
        for stage in self._representation:
            stage.allocate(1, num_rows)

    def _allocate(self, num_rows: int, num_steps: int) -> None:
        self._allocate_representation(num_rows)
        self._shape = (num_rows, num_steps)
        self._latents = torch.empty((num_steps + 1) * num_rows, *self._network.latent_shape)
        self._d_latents = torch.empty_like(self._latents)
        self._latent, self._d_latent = (x.chunk(num_steps + 1) for x in (self._latents, self._d_latents))
        for stage in self._dynamics:
            stage.allocate(num_steps, num_rows)
        for stage in self._prediction:
            stage.allocate(1, len(self._latents))
        self._representation[-1].output, self._dynamics[-1].output = self._latent[:1], self._latent[1:]
        self._embedding = torch.empty(num_steps * num_rows, self._first.size)
        self._first.extra, self._residual.extra = self._embedding.chunk(num_steps), self._latent


class _Stage(abc.ABC):
    """A part of a layer: what it computes of a block of rows, and the way back.

    Attributes, each a sequence of blocks `[rows, size]`:
        output: what `forward` fills.
        d_output: the gradient there, filled by the stage behind it.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def allocate(self, num_blocks: int, num_rows: int) -> None:
        """Make room."""
        self.all_outputs = torch.empty(num_blocks * num_rows, self.size)
        self.all_d_outputs = torch.empty_like(self.all_outputs)
        self.output: Sequence[torch.Tensor] = self.all_outputs.chunk(num_blocks)
        self.d_output: Sequence[torch.Tensor] = self.all_d_outputs.chunk(num_blocks)

    @abc.abstractmethod
    def forward(self, k: int, x: torch.Tensor) -> torch.Tensor:
        """Fill and return block k of the output."""

    @abc.abstractmethod
    def backward(self, k: int, x: torch.Tensor, d_output: torch.Tensor, d_x: torch.Tensor) -> None:
        """Fill `d_x` with the gradient at the input `x` of block k."""

    def write_gradients(self, inputs: torch.Tensor, d_outputs: torch.Tensor) -> None:  # noqa: B027  (none by default)
        """Of the stage's parameters, over all blocks."""


class _Linear(_Stage):
    """x W^T + b, or plus a block of `extra` where the layer has no bias."""

    def __init__(self, layer: Dense) -> None:
        super().__init__(len(layer.weight))
        self._layer = layer
        self.weight = layer.weight.detach()
        self._transposed = self.weight.t()
        self.extra: Sequence[torch.Tensor] = ()

    def forward(self, k: int, x: torch.Tensor) -> torch.Tensor:
        bias = self._layer.bias if self._layer.bias is not None else self.extra[k]
        return torch.addmm(bias, x, self._transposed, out=self.output[k])

    def backward(self, k: int, x: torch.Tensor, d_output: torch.Tensor, d_x: torch.Tensor) -> None:
        torch.mm(d_output, self.weight, out=d_x)

    def write_gradients(self, inputs: torch.Tensor, d_outputs: torch.Tensor) -> None:
        torch.mm(d_outputs.t(), inputs, out=self._layer.weight.grad)
        if self._layer.bias is not None:
            torch.sum(d_outputs, 0, out=self._layer.bias.grad)


class _Activation(_Stage):
    """relu or silu."""

    def __init__(self, size: int, silu: bool) -> None:
        super().__init__(size)
        self._silu = silu

    def forward(self, k: int, x: torch.Tensor) -> torch.Tensor:
        output = self.output[k]
        return _silu(x, out=output) if self._silu else torch.clamp_min(x, 0.0, out=output)

    def backward(self, k: int, x: torch.Tensor, d_output: torch.Tensor, d_x: torch.Tensor) -> None:
        if self._silu:
            _silu_backward(d_output, x, grad_input=d_x)
        else:
            _relu_backward(d_output, x, 0.0, grad_input=d_x)


_silu = torch.ops.aten.silu.out
_silu_backward = torch.ops.aten.silu_backward.grad_input
_relu_backward = torch.ops.aten.threshold_backward.grad_input


class _Norm(_Stage):
    """LayerNorm, with scale and shift where it has them."""

    def __init__(self, size: int, layer: nn.LayerNorm | None = None) -> None:
        super().__init__(size)
        self._layer = layer
        self._scale = np.ones(size, np.float32) if layer is None else layer.weight.detach().numpy()
        self._shift = np.zeros(size, np.float32) if layer is None else layer.bias.detach().numpy()

    def allocate(self, num_blocks: int, num_rows: int) -> None:
        super().allocate(num_blocks, num_rows)
        self._moments = np.empty((num_blocks * num_rows, 2), np.float32)
        self._moment = self._moments.reshape(num_blocks, num_rows, 2)

    def forward(self, k: int, x: torch.Tensor) -> torch.Tensor:
        y = self.output[k]
        normalize(x.numpy(), self._scale, self._shift, self._moment[k], y.numpy())
        return y

    def backward(self, k: int, x: torch.Tensor, d_output: torch.Tensor, d_x: torch.Tensor) -> None:
        d_normalize(d_output.numpy(), self._scale, x.numpy(), self._moment[k], d_x.numpy())

    def write_gradients(self, inputs: torch.Tensor, d_outputs: torch.Tensor) -> None:
        if self._layer is not None:
            d_scale, d_shift = cast(torch.Tensor, self._layer.weight.grad), cast(torch.Tensor, self._layer.bias.grad)
            sum_affine(d_outputs.numpy(), inputs.numpy(), self._moments, d_scale.numpy(), d_shift.numpy())


# torch's own take 3 to 5 times as long at 64 rows. Sums may be reordered and divisors are not checked, so that loops
# become vector instructions.
@fast_kernel
def normalize(
    x: NDArray[np.float32],
    scale: NDArray[np.float32],
    shift: NDArray[np.float32],
    moments: NDArray[np.float32],
    y: NDArray[np.float32],
) -> None:
    """LayerNorm of the rows of `x`: fills `y`, and `moments` `[N, 2]` with mean and 1 / standard deviation."""
    size = np.float32(x.shape[1])
    for i in range(x.shape[0]):
        total, squares = np.float32(0), np.float32(0)
        for j in range(x.shape[1]):
            total += x[i, j]
        mean = total / size
        for j in range(x.shape[1]):
            squares += (x[i, j] - mean) * (x[i, j] - mean)
        reciprocal = np.float32(1) / np.sqrt(squares / size + np.float32(NORM_EPSILON))
        moments[i, 0], moments[i, 1] = mean, reciprocal
        for j in range(x.shape[1]):
            y[i, j] = (x[i, j] - mean) * reciprocal * scale[j] + shift[j]


@fast_kernel
def d_normalize(
    d_y: NDArray[np.float32],
    scale: NDArray[np.float32],
    x: NDArray[np.float32],
    moments: NDArray[np.float32],
    d_x: NDArray[np.float32],
) -> None:
    """The gradient at the input of `normalize`, of whatever has the gradient `d_y` at its output."""
    size = np.float32(d_y.shape[1])
    for i in range(d_y.shape[0]):
        mean, reciprocal = moments[i, 0], moments[i, 1]
        total, product = np.float32(0), np.float32(0)
        for j in range(d_y.shape[1]):
            total += d_y[i, j] * scale[j]
            product += d_y[i, j] * scale[j] * (x[i, j] - mean)
        level, slope = total / size, product / size * reciprocal * reciprocal
        for j in range(d_y.shape[1]):
            d_x[i, j] = (d_y[i, j] * scale[j] - level - (x[i, j] - mean) * slope) * reciprocal


@fused_kernel
def sum_affine(
    d_y: NDArray[np.float32],
    x: NDArray[np.float32],
    moments: NDArray[np.float32],
    d_scale: NDArray[np.float32],
    d_shift: NDArray[np.float32],
) -> None:
    """Fill the gradients of scale and shift of `normalize`, over all rows."""
    d_scale[:] = 0.0
    d_shift[:] = 0.0
    for i in range(d_y.shape[0]):
        mean, reciprocal = moments[i, 0], moments[i, 1]
        for j in range(d_y.shape[1]):
            d_scale[j] += d_y[i, j] * (x[i, j] - mean) * reciprocal
            d_shift[j] += d_y[i, j]


@kernel
def sum_rows(index: NDArray[np.int32], rows: NDArray[np.float32], total: NDArray[np.float32]) -> None:
    """Fill `total[a]` with the sum of the `rows` whose `index` is a."""
    total[:] = 0.0
    for i in range(index.size):
        sums = total[index[i]]
        for j in range(rows.shape[1]):
            sums[j] += rows[i, j]


def _stages(layers: Chain) -> list[_Stage]:
    stages: list[_Stage] = []
    for layer in layers.layers:
        hidden = cast(HiddenLayer, layer)
        stages += [_Linear(hidden.dense), *_after_product(hidden)]
    return stages


def _after_product(layer: HiddenLayer) -> list[_Stage]:
    size = len(layer.dense.weight)
    norm = [] if layer.norm is None else [_Norm(size, layer.norm)]
    return [*norm, _Activation(size, layer.silu)]


def _forward(stages: Sequence[_Stage], k: int, x: torch.Tensor) -> torch.Tensor:
    """Block k through all stages."""
    for stage in stages:
        x = stage.forward(k, x)
    return x


def _backward(stages: Sequence[_Stage], k: int, d_output: torch.Tensor) -> torch.Tensor:
    """Block k from the gradient at the output of the last stage to the one at the output of the first."""
    for before, stage in zip(stages[-2::-1], stages[:0:-1], strict=True):
        stage.backward(k, before.output[k], d_output, before.d_output[k])
        d_output = before.d_output[k]
    return d_output


def _write_gradients(stages: Sequence[_Stage], inputs: torch.Tensor) -> None:
    """Of all parameters, from the inputs of all blocks."""
    for stage in stages:
        stage.write_gradients(inputs, stage.all_d_outputs)
        inputs = stage.all_outputs
