"""The gradient of all losses of a plain network, on several threads that meet once.

Knows a batch, goals and kernels of blocks of rows; knows nothing of schedules or optimisers. A part of the batch goes
through the network, its losses and back by itself, `BLOCK` rows at a time, so that all that a block leaves behind stays
in its core's own memory: of whole batches, the way there and back takes as long as the products. Then gradients are
summed, part after part. Never imports torch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange
from numpy.typing import NDArray

from numzero.compiled import on_threads, parallel_kernel, search_kernel
from numzero.networks.network import MuZeroNetwork
from numzero.networks.split import PlainSplitUnroll
from numzero.networks.split_kernels import (
    D_LATENT_AT,
    D_OUTPUT_AT,
    INPUT_AT,
    LATENT_AT,
    OUTPUT_AT,
    STEPS,
    Program,
    Space,
    backward_block,
    copy_in,
    encode_block,
    forward_block,
    pack,
    space_of,
    stride_of,
    sum_parts,
)
from numzero.search.vectors import ZERO, sum_of_squares
from numzero.targets import Batch
from numzero.training.config import LearnerConfig
from numzero.training.learning.split_losses import (
    Goals,
    goals_of,
    named_losses,
    row_losses,
    surprise,
    value_error,
)

__all__ = ["SplitGradient"]

_Float32Array = NDArray[np.float32]
_Int32Array = NDArray[np.int32]

POLICY, VALUE = 0, 1
"""Numbers of heads, as `heads_of` lists them."""
BLOCK = 32
"""Rows of windows that go through everything together: with what they leave behind some 1 MB for a width of 128."""


class Windows(NamedTuple):
    """What goes in, and what is to come out."""

    inputs: _Float32Array
    """`[B, 1 or K+1, I]` what the representation sees."""
    actions: _Int32Array
    """`[B, K]`."""
    likeness: _Float32Array
    """`[K, B]` how much the distance of latents to the average network's counts; `[0, B]`: it is not asked for."""


class Found(NamedTuple):
    """What comes out besides the gradient."""

    sums: NDArray[np.float64]
    """`[T, heads + 2]` losses of each part: see `row_losses`, and the distance of latents."""
    probability: _Float32Array
    """`[(K+1) B, outputs]` of each head."""
    value_error: _Float32Array
    """`[B]` at the sampled positions, as `Update` says."""
    surprise: _Float32Array
    """`[B]`, likewise."""


class SplitGradient:
    """From a batch to losses and the gradient.

    Args:
        network: of whose losses it is.
        unroll: of it.
        average: unrolls the network that says what latents are to be like.
        config: says what counts how much.
    """

    def __init__(
        self, network: MuZeroNetwork, unroll: PlainSplitUnroll, average: PlainSplitUnroll, config: LearnerConfig
    ) -> None:
        self._network, self._unroll, self._average, self._config = network, unroll, average, config
        assert unroll.gradient is not None, "of a network that learns"
        assert [*network.heads][: VALUE + 1] == ["policy", "value"]
        self._gradient, self._shape = unroll.gradient, (0, 0)

    def fill(self, batch: Batch, weights: _Float32Array) -> tuple[dict[str, float], Found]:
        """Fill the gradient of the total loss; each loss, and what else was found.

        weights: `[K+1, B]`.
        """
        config, heads, shape = self._config, self._network.heads, batch.action.shape
        if self._shape != shape:
            self._allocate(*shape)
        count = config.consistency_weight * batch.observation_mask.T[1:] * weights[1:]  # [K, B]
        windows = Windows(
            inputs=self._unroll.seen(batch.observation),
            actions=np.ascontiguousarray(batch.action, np.int32),
            likeness=np.ascontiguousarray(count if config.consistency_weight > 0.0 else count[:0], np.float32),
        )
        goals = goals_of(heads, config, batch, weights)
        found = Found(
            sums=np.zeros((config.threads, len(heads) + 2)),
            probability=np.empty((weights.size, self._unrolled[0].sizes[2]), np.float32),
            value_error=np.empty(shape[0], np.float32),
            surprise=np.empty(shape[0], np.float32),
        )
        flat = self._unroll.vector.array, self._average.vector.array
        with on_threads(config.threads):
            _all_parts(*self._unrolled, *self._likened, *flat, windows, goals, self._actions, found, self._gradient)
        losses = named_losses(heads, goals, found.sums)
        if config.consistency_weight > 0.0:
            losses["consistency"] = float(found.sums[:, -1].sum())
        return losses, found

    def _allocate(self, num_rows: int, num_steps: int) -> None:
        unroll, average = self._unroll, self._average
        self._unrolled = unroll.plan_blocks(num_rows, num_steps, BLOCK)
        self._likened = average.plan_blocks(num_rows, 0, BLOCK)
        self._actions = np.zeros((unroll.num_parts, num_steps * BLOCK), np.int32)
        self._shape = num_rows, num_steps  # last: what is not whole is made anew


@parallel_kernel
def _all_parts(
    program: Program,
    space: Space,
    likened: Program,
    likened_space: Space,
    flat: _Float32Array,
    likened_flat: _Float32Array,
    windows: Windows,
    goals: Goals,
    actions: _Int32Array,
    found: Found,
    gradient: _Float32Array,
) -> None:
    """likened: the average network. actions: `[T, K BLOCK]` room."""
    num_operations = program.ops.shape[0]
    num_likened = likened.ends[1] if windows.likeness.shape[0] > 0 else 0
    for i in prange(num_operations + num_likened):
        if i < num_operations:
            pack(program, i, space.packed, flat)
        else:
            pack(likened, i - num_operations, likened_space.packed, likened_flat)
    for t in prange(actions.shape[0]):
        _part(program, space, likened, likened_space, windows, goals, t, actions[t], found)
    for t in prange(actions.shape[0]):
        sum_parts(program, space, t, gradient)


@search_kernel
def _part(
    program: Program,
    spaces: Space,
    likened: Program,
    likened_spaces: Space,
    windows: Windows,
    goals: Goals,
    t: int,
    actions: _Int32Array,
    found: Found,
) -> None:
    space, other = space_of(spaces, t), space_of(likened_spaces, t)
    gradient, end = space.gradients[t], space.bounds[t + 1]
    for j in range(gradient.shape[0]):
        gradient[j] = ZERO
    for first in range(space.bounds[t], end, BLOCK):
        count = min(BLOCK, end - first)
        _enter(windows, first, count, space, actions)
        forward_block(program, space, 0, count, actions)
        if windows.likeness.shape[0] > 0:
            _compare(likened, other, windows, first, count, space, actions, found.sums[t])
        _add_losses(goals, first, windows.actions.shape[0], count, space, program.sizes[2], found, found.sums[t])
        backward_block(program, space, t, actions, 0, count)


@search_kernel
def _enter(windows: Windows, first: int, count: int, space: Space, actions: _Int32Array) -> None:
    """The block's observations and actions into its room; of gradients at its latents nothing is known yet."""
    copy_in(windows.inputs[first:, 0], space.work, space.places[INPUT_AT], 0, count)
    for k in range(space.places[STEPS]):
        for r in range(count):
            actions[k * BLOCK + r] = windows.actions[first + r, k]
    d_latents = space.work[space.places[D_LATENT_AT] : space.places[OUTPUT_AT]]
    for j in range(d_latents.shape[0]):
        d_latents[j] = ZERO


@search_kernel
def _compare(
    likened: Program,
    other: Space,
    windows: Windows,
    first: int,
    count: int,
    space: Space,
    actions: _Int32Array,
    sums: NDArray[np.float64],
) -> None:
    """Squared distances of the block's unrolled latents to what the average network makes of its observations."""
    size, stride = likened.sizes[1], stride_of(likened.sizes[1])
    for k in range(space.places[STEPS]):
        copy_in(windows.inputs[first:, k + 1], other.work, other.places[INPUT_AT], 0, count)
        encode_block(likened, other, 0, count, actions)
        for r in range(count):
            at, behind = other.places[LATENT_AT] + r * stride, ((k + 1) * BLOCK + r) * stride
            x_at, d_at = space.places[LATENT_AT] + behind, space.places[D_LATENT_AT] + behind
            x, goal, d_x = space.work[x_at : x_at + size], other.work[at : at + size], space.work[d_at : d_at + size]
            sums[-1] += _squared_distance(x, goal, windows.likeness[k, first + r], d_x)


@search_kernel
def _squared_distance(x: _Float32Array, goal: _Float32Array, count: np.float32, d_x: _Float32Array) -> np.float32:
    """`count` times it; fills its gradient at `x`."""
    for j in range(x.shape[0]):
        d_x[j] = x[j] - goal[j]
    distance = sum_of_squares(d_x)
    for j in range(x.shape[0]):
        d_x[j] *= count + count
    return count * distance  # type: ignore[no-any-return]


@search_kernel
def _add_losses(
    goals: Goals,
    first: int,
    num_rows: int,
    count: int,
    space: Space,
    num_outputs: int,
    found: Found,
    sums: NDArray[np.float64],
) -> None:
    """Of the block's outputs; leaves the gradients there."""
    stride = stride_of(num_outputs)
    for k in range(space.places[STEPS] + 1):
        for r in range(count):
            row, n = (k * BLOCK + r) * stride, k * num_rows + first + r
            at, d_at = space.places[OUTPUT_AT] + row, space.places[D_OUTPUT_AT] + row
            outputs, gradient = space.work[at : at + num_outputs], space.work[d_at : d_at + num_outputs]
            row_losses(goals, n, outputs, found.probability[n], gradient, sums)
    for n in range(first, first + count):
        found.value_error[n] = value_error(goals, n, VALUE, found.probability[n])
        found.surprise[n] = surprise(goals, n, POLICY, found.probability[n])
