"""Gradients by hand: parts of layers that fill arrays which are there, forward and back.

At these sizes autograd's bookkeeping takes longer than the matrix products, and of a layer that is used at every step
the gradient of the weights is one product instead of K. Knows arrays and derivatives; knows nothing of layers, which
say themselves what stages they are, nor of how stages are put together.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from numzero.compiled import fast_kernel, fused_kernel, kernel
from numzero.networks.activations import Compiled

__all__ = ["Elementwise", "Linear", "Norm", "Stage", "backward", "forward", "sum_rows", "write_gradients"]


class Stage(abc.ABC):
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


class Linear(Stage):
    """x W^T + b, or plus a block of `extra` where there is no bias.

    Args:
        weight: `[outputs, inputs]`, a parameter.
        bias: `[outputs]`, one too, or None.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__(len(weight))
        self.parameter, self.bias = weight, bias
        self.weight = weight.detach()
        self._transposed = self.weight.t()
        self.extra: Sequence[torch.Tensor] = ()

    def forward(self, k: int, x: torch.Tensor) -> torch.Tensor:
        """See `Stage`."""
        bias = self.bias if self.bias is not None else self.extra[k]
        return torch.addmm(bias, x, self._transposed, out=self.output[k])

    def backward(self, k: int, x: torch.Tensor, d_output: torch.Tensor, d_x: torch.Tensor) -> None:
        """See `Stage`."""
        torch.mm(d_output, self.weight, out=d_x)

    def write_gradients(self, inputs: torch.Tensor, d_outputs: torch.Tensor) -> None:
        """See `Stage`."""
        torch.mm(d_outputs.t(), inputs, out=self.parameter.grad)
        if self.bias is not None:
            torch.sum(d_outputs, 0, out=self.bias.grad)


class Elementwise(Stage):
    """An activation."""

    def __init__(self, size: int, compiled: Compiled) -> None:
        super().__init__(size)
        self.compiled = compiled
        aten = torch.ops.aten
        # torch's own function where there is one: it is called in half the time that its operator takes.
        self._forward = getattr(torch, compiled.forward, None) or getattr(aten, compiled.forward).out
        self._backward = getattr(aten, compiled.backward).grad_input
        self._arguments = compiled.arguments

    def forward(self, k: int, x: torch.Tensor) -> torch.Tensor:
        """See `Stage`."""
        output = self.output[k]
        self._forward(x, *self._arguments, out=output)
        return output

    def backward(self, k: int, x: torch.Tensor, d_output: torch.Tensor, d_x: torch.Tensor) -> None:
        """See `Stage`."""
        self._backward(d_output, x, *self._arguments, grad_input=d_x)


class Norm(Stage):
    """LayerNorm of rows, with scale and shift where they are given.

    Args:
        size: of a row.
        epsilon: is added to the variance.
        scale: `[size]`, a parameter, or None.
        shift: `[size]`, one too, where there is a scale.
    """

    def __init__(
        self, size: int, epsilon: float, scale: torch.Tensor | None = None, shift: torch.Tensor | None = None
    ) -> None:
        super().__init__(size)
        self.parameters = scale, shift
        self.epsilon = np.float32(epsilon)
        self._scale = np.ones(size, np.float32) if scale is None else scale.detach().numpy()
        self._shift = np.zeros(size, np.float32) if shift is None else shift.detach().numpy()

    def allocate(self, num_blocks: int, num_rows: int) -> None:
        """See `Stage`."""
        super().allocate(num_blocks, num_rows)
        self._moments = np.empty((num_blocks * num_rows, 2), np.float32)
        self._moment = self._moments.reshape(num_blocks, num_rows, 2)

    def forward(self, k: int, x: torch.Tensor) -> torch.Tensor:
        """See `Stage`."""
        y = self.output[k]
        normalize(x.numpy(), self._scale, self._shift, self.epsilon, self._moment[k], y.numpy())
        return y

    def backward(self, k: int, x: torch.Tensor, d_output: torch.Tensor, d_x: torch.Tensor) -> None:
        """See `Stage`."""
        d_normalize(d_output.numpy(), self._scale, x.numpy(), self._moment[k], d_x.numpy())

    def write_gradients(self, inputs: torch.Tensor, d_outputs: torch.Tensor) -> None:
        """See `Stage`."""
        scale, shift = self.parameters
        if scale is not None and shift is not None:
            d_scale, d_shift = cast(torch.Tensor, scale.grad), cast(torch.Tensor, shift.grad)
            sum_affine(d_outputs.numpy(), inputs.numpy(), self._moments, d_scale.numpy(), d_shift.numpy())


def forward(stages: Sequence[Stage], k: int, x: torch.Tensor) -> torch.Tensor:
    """Block k through all stages."""
    for stage in stages:
        x = stage.forward(k, x)
    return x


def backward(stages: Sequence[Stage], k: int, d_output: torch.Tensor) -> torch.Tensor:
    """Block k from the gradient at the output of the last stage to the one at the output of the first."""
    for before, stage in zip(stages[-2::-1], stages[:0:-1], strict=True):
        stage.backward(k, before.output[k], d_output, before.d_output[k])
        d_output = before.d_output[k]
    return d_output


def write_gradients(stages: Sequence[Stage], inputs: torch.Tensor) -> None:
    """Of all parameters, from the inputs of all blocks."""
    for stage in stages:
        stage.write_gradients(inputs, stage.all_d_outputs)
        inputs = stage.all_outputs


# torch's own take 3 to 5 times as long at 64 rows. Sums may be reordered and divisors are not checked, so that loops
# become vector instructions.
@fast_kernel
def normalize(
    x: NDArray[np.float32],
    scale: NDArray[np.float32],
    shift: NDArray[np.float32],
    epsilon: np.float32,
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
        reciprocal = np.float32(1) / np.sqrt(squares / size + epsilon)
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
