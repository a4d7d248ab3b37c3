"""Plain networks split by rows over threads: parts of a batch go forward and back alone, gradients are summed.

Knows stages and flat vectors of parameters, and writes both as the table that `split_kernels` runs; knows nothing of
targets, losses or optimisers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

from numzero.compiled import on_threads
from numzero.networks import split_kernels as kernels
from numzero.networks.by_hand import Elementwise, Linear, Norm, Stage
from numzero.networks.layers import DynamicsStages
from numzero.networks.network import MuZeroNetwork
from numzero.networks.split_kernels import Program, Space, part_bounds
from numzero.search.vectors import LANES, padded

__all__ = ["PlainSplitUnroll", "Vector"]

_Float32Array = NDArray[np.float32]
_ACTIVATIONS = {"clamp_min": kernels.RELU, "silu": kernels.SILU}
"""Operations by the name of torch's."""
_NO_ACTIONS = np.zeros(0, np.int32)


class Vector(NamedTuple):
    """All parameters of a network as one vector, or all their gradients."""

    array: _Float32Array
    start: int

    @classmethod
    def of(cls, tensors: Sequence[torch.Tensor]) -> Vector | None:
        """That of which these are views, one after another; None if they are not."""
        first, end = tensors[0].detach(), int(tensors[0].storage_offset())
        for tensor in tensors:
            lies = tensor.is_contiguous() and tensor.dtype == torch.float32
            same = tensor.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
            if not (lies and same and tensor.storage_offset() == end):
                return None
            end += tensor.numel()
        start = int(first.storage_offset())
        return cls(first.as_strided((end - start,), (1,), start).numpy(), start)

    def place(self, tensor: torch.Tensor | None) -> int:
        """Where a tensor begins in it; -1: there is none."""
        return -1 if tensor is None else int(tensor.storage_offset()) - self.start


class PlainSplitUnroll:
    """See `Unroll`; for latents `[N, size]` of layers that all say how they are computed by hand, in ways known here.

    Args:
        network: whose stages these are; its parameters are views of one vector, as are their gradients if it has any.
        stages: of representation, dynamics and prediction.
        table: `[A, size]` what the first stage of the dynamics adds for an action.
        vector: of its parameters.
        gradient_scale: multiplies the gradient at each dynamics input.
        num_parts: T, each on a thread where there is one.
    """

    def __init__(
        self,
        network: MuZeroNetwork,
        stages: tuple[Sequence[Stage], ...],
        table: torch.Tensor,
        vector: Vector,
        gradient_scale: float,
        num_parts: int,
    ) -> None:
        self._network, self._stages, self._table, self.vector = network, stages, table, vector
        self._scale, self.num_parts = gradient_scale, num_parts
        gradients = [parameter.grad for parameter in network.parameters()]
        known = None if None in gradients else Vector.of(cast(list[torch.Tensor], gradients))
        self.gradient = None if known is None else known.array
        self._shape, self._num_represented = (0, 0), 0

    @classmethod
    def of(cls, network: MuZeroNetwork, gradient_scale: float, num_parts: int) -> PlainSplitUnroll | None:
        """That of a network; None where kernels do not know its layers, or its parameters are scattered."""
        parts = network.representation.stages(), network.dynamics.stages(), network.prediction.stages()
        representation, dynamics, prediction = parts
        vector = Vector.of(list(network.parameters()))
        if representation is None or dynamics is None or prediction is None or vector is None:
            return None
        if len(network.latent_shape) != 1 or not _known(representation, dynamics, prediction):
            return None
        stages = representation, dynamics.stages, prediction
        return cls(network, stages, dynamics.table, vector, gradient_scale, num_parts)

    def represent(self, observation: torch.Tensor) -> torch.Tensor:
        """See `Unroll`."""
        inputs = self._inputs(observation)
        if self._num_represented != len(inputs):
            self._encoding = self._plan(len(inputs), 0)
            self._encoded = np.empty((len(inputs), *self._network.latent_shape), np.float32)
            self._num_represented = len(inputs)  # last: what is not whole is made anew
        with on_threads(self.num_parts):
            kernels.encode_parts(*self._encoding, self.vector.array, inputs, _NO_ACTIONS, self._encoded)
        return torch.from_numpy(self._encoded)

    def forward(self, observation: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Unroll`."""
        num_rows, num_steps = action.shape
        inputs = self._inputs(observation)
        if self._shape != (num_rows, num_steps):
            self._program, self._space = self._plan(num_rows, num_steps)
            count = (num_steps + 1) * num_rows
            self._latents = np.empty((count, *self._network.latent_shape), np.float32)
            self._outputs = np.empty((count, self._program.sizes[2]), np.float32)
            self._shape = num_rows, num_steps
        self._actions = np.ascontiguousarray(action.numpy().T, np.int32).reshape(-1)  # [K B]
        arrays = self.vector.array, inputs, self._actions, self._latents, self._outputs
        with on_threads(self.num_parts):
            kernels.forward_parts(self._program, self._space, *arrays)
        return torch.from_numpy(self._latents), torch.from_numpy(self._outputs)

    def backward(self, d_latents: torch.Tensor | None, d_outputs: torch.Tensor) -> None:
        """See `Unroll`."""
        wanted = np.zeros_like(self._latents) if d_latents is None else d_latents.numpy()
        assert self.gradient is not None
        with on_threads(self.num_parts):
            kernels.backward_parts(self._program, self._space, self._actions, wanted, d_outputs.numpy(), self.gradient)

    def _inputs(self, observation: torch.Tensor) -> _Float32Array:
        """What the representation sees, `[N, inputs]`."""
        with torch.no_grad():
            return np.ascontiguousarray(self._network.inputs(observation).flatten(1).numpy())

    def seen(self, observation: NDArray[Any]) -> _Float32Array:
        """What the representation sees of `[B, N, *O]`, `[B, N, I]`."""
        inputs = self._inputs(torch.from_numpy(observation).flatten(0, 1))
        return inputs.reshape(*observation.shape[:2], -1)

    def _plan(self, num_rows: int, num_steps: int) -> tuple[Program, Space]:
        return self._written().write(num_rows, num_steps, part_bounds(num_rows, self.num_parts))

    def plan_blocks(self, num_rows: int, num_steps: int, block: int) -> tuple[Program, Space]:
        """For B rows whose parts go through alone, so many rows at a time, each in a work space of its own."""
        return self._written().write(block, num_steps, part_bounds(num_rows, self.num_parts), self.num_parts)

    def _written(self) -> _Table:
        return _Table(self._stages, self._table, self.vector, self._scale)


def _known(representation: Sequence[Stage], dynamics: DynamicsStages, prediction: Sequence[Stage]) -> bool:
    """Whether kernels know these stages, and each part begins as they take for granted."""
    stages = [*representation, *dynamics.stages, *prediction]
    begins = [isinstance(part[0], Linear) for part in (representation, dynamics.stages, prediction)]
    products = [stage for stage in stages if isinstance(stage, Linear) and stage.bias is None]
    first = dynamics.stages[0]
    return (
        all(map(_is_known, stages))
        and all(begins)
        and isinstance(prediction[-1], Linear)
        and len(products) == 2
        and products[0] is first
        and products[1] is dynamics.residual
        and len({stage.epsilon for stage in stages if isinstance(stage, Norm)}) <= 1
    )


def _is_known(stage: Stage) -> bool:
    return isinstance(stage, (Linear, Norm)) or (
        isinstance(stage, Elementwise) and stage.compiled.forward in _ACTIVATIONS
    )


def _aligned_zeros(count: int) -> _Float32Array:
    """Such that rows begin where lines of the processor's cache do: vectors that lie across two cost twice the time."""
    room = np.zeros(count + LANES, np.float32)
    begin = -room.ctypes.data // room.itemsize % LANES
    return room[begin : begin + count]


class _Table:
    """Writes a network down as kernels run it."""

    def __init__(
        self, stages: tuple[Sequence[Stage], ...], table: torch.Tensor, vector: Vector, gradient_scale: float
    ) -> None:
        self._stages, self._action_table, self._vector = stages, table, vector
        self._scale = gradient_scale
        self._epsilon = next((s.epsilon for part in stages for s in part if isinstance(s, Norm)), np.float32(0))
        self._work = self._packed = self._gradient = 0  # numbers handed out
        self._ones: list[slice] = []
        self._ops: list[list[int]] = []
        self._passing: list[int] = []
        """Where gradients between operations lie in turns, if a work space is of one part, and so stay near. In one of
        several parts, rows of one width would lie on another part's rows of another width."""
        self._sources: list[tuple[int, int, int]] = []
        self._spans: list[tuple[int, int, int]] = []

    def write(
        self, num_rows: int, num_steps: int, bounds: NDArray[np.int64], num_spaces: int = 1
    ) -> tuple[Program, Space]:
        """For B rows, K steps and parts with these bounds, in so many work spaces."""
        representation, dynamics, prediction = self._stages
        num_inputs = cast(Linear, representation[0]).weight.shape[1]
        latent_size, num_outputs = representation[-1].size, prediction[-1].size
        count = (num_steps + 1) * num_rows
        if num_spaces > 1:
            widest = max(stage.size for part in self._stages for stage in part)
            self._passing = [self._take_work(count, widest) for _ in range(2)]
        inputs = self._take_work(num_rows, num_inputs)
        latents, d_latents = (self._take_work(count, latent_size) for _ in range(2))
        outputs, d_outputs = (self._take_work(count, num_outputs) for _ in range(2))
        self._latents, later = latents, num_rows * padded(latent_size)  # where dynamics write: a step behind
        ends = [0]
        for part, rows, way in (
            (representation, num_rows, ((inputs, -1), (latents, d_latents))),
            (dynamics, num_rows * num_steps, ((latents, d_latents), (latents + later, d_latents + later))),
            (prediction, count, ((latents, d_latents), (outputs, d_outputs))),
        ):
            self._write_part(part, rows, *way)
            ends.append(len(self._ops))
        program = Program(
            ops=np.array(self._ops, np.int64),
            ends=np.array(ends, np.int64),
            sources=np.array(self._sources, np.int64),
            spans=np.array(self._spans, np.int64).reshape(-1, 3),
            sizes=np.array([num_inputs, latent_size, num_outputs], np.int64),
            numbers=np.array([self._scale, self._epsilon], np.float32),
        )
        places = [inputs, latents, outputs, d_latents, d_outputs, num_rows, num_steps]
        return program, self._space(places, bounds, num_spaces)

    def _space(self, places: list[int], bounds: NDArray[np.int64], num_spaces: int) -> Space:
        num_parts = len(bounds) - 1
        packed = _aligned_zeros(self._packed)
        for ones in self._ones:
            packed[ones] = 1.0
        gradients = _aligned_zeros(num_parts * self._gradient).reshape(num_parts, self._gradient)
        return Space(_aligned_zeros(num_spaces * self._work), np.array(places, np.int64), packed, bounds, gradients)

    def _take_work(self, num_rows: int, size: int) -> int:
        place = self._work
        self._work += num_rows * padded(size)
        return place

    def _take_packed(self, count: int) -> int:
        place = self._packed
        self._packed += padded(count)
        return place

    def _take_gradient(self, num_rows: int, size: int, source: int, room: int = 0) -> int:
        """For rows of parameters that lie from `source` on; with room for so many."""
        place = self._gradient
        for row in range(num_rows):
            self._spans.append((place + row * padded(size), source + row * size, size))
        self._gradient += max(num_rows, room) * padded(size)
        return place

    def _write_part(self, stages: Sequence[Stage], num_rows: int, begin: tuple[int, int], end: tuple[int, int]) -> None:
        """Stages one after another; begin, end: where rows in and out lie, and the gradients there."""
        x, d_x = begin
        num_inputs = cast(Linear, stages[0]).weight.shape[1]
        for number, stage in enumerate(stages):
            y, d_y = end
            if stage is not stages[-1]:
                y = self._take_work(num_rows, stage.size)
                d_y = self._passing[number % 2] if self._passing else self._take_work(num_rows, stage.size)
            op = [0, num_inputs, stage.size, x, y, d_x, d_y]
            if isinstance(stage, Linear):
                self._write_product(op, stage)
            elif isinstance(stage, Norm):
                self._write_norm(op, stage, num_rows)
            else:
                op[kernels.KIND] = _ACTIVATIONS[cast(Elementwise, stage).compiled.forward]
                self._add([*op, -1, -1, -1, -1, -1, -1], (-1, -1, 0))
            x, d_x, num_inputs = y, d_y, stage.size

    def _write_product(self, op: list[int], stage: Linear) -> None:
        num_outputs, num_inputs = stage.weight.shape
        weight, twin = (
            self._take_packed(num_inputs * padded(num_outputs)),
            self._take_packed(num_outputs * padded(num_inputs)),
        )
        source = self._vector.place(stage.parameter)
        d_weight = self._take_gradient(num_outputs, num_inputs, source, padded(num_outputs))
        is_residual = stage.bias is None and stage is not self._stages[1][0]
        summand = stage.bias if stage.bias is not None else None if is_residual else self._action_table
        if summand is None:
            self._add([*op, weight, twin, self._latents, d_weight, -1, kernels.RESIDUAL], (source, -1, 0))
            return
        rows, place = summand.numel() // num_outputs, self._vector.place(summand)
        shift = self._take_packed(rows * padded(num_outputs))
        d_shift = self._take_gradient(rows, num_outputs, place)
        more = kernels.BIAS if stage.bias is not None else kernels.ACTION
        self._add([*op, weight, twin, shift, d_weight, d_shift, more], (source, place, rows))

    def _write_norm(self, op: list[int], stage: Norm, num_rows: int) -> None:
        op[kernels.KIND] = kernels.NORM
        scale, shift = stage.parameters
        sources = self._vector.place(scale), self._vector.place(shift)
        packed = self._take_packed(stage.size), self._take_packed(stage.size)
        gradients = [-1, -1] if scale is None else [self._take_gradient(1, stage.size, place) for place in sources]
        if scale is None:
            self._ones.append(slice(packed[0], packed[0] + stage.size))
        moments = self._take_work(1, 2 * num_rows)
        self._add([*op, packed[0], -1, packed[1], *gradients, moments], (*sources, int(shift is not None)))

    def _add(self, op: list[int], sources: tuple[int, int, int]) -> None:
        self._ops.append(op)
        self._sources.append(sources)
