"""Plain networks unrolled and differentiated by parts of a batch, on threads that need no lock of Python's.

Knows a network as a table of operations on flat arrays (`Program`), rows and parts; knows nothing of layers or torch.
A part goes forward and back alone, `BLOCK` rows at a time, and has a gradient of its own; these are summed part by
part, so that the same number of parts gives the same bits, whichever thread did which. Kernels look at no bounds:
`split.py` writes the table.

Arrays of B rows for each of K+1 steps lie step by step. In the work space a row is padded to a multiple of `LANES`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import prange
from numpy.typing import NDArray

from numzero.compiled import fast_search_kernel, parallel_kernel, search_kernel
from numzero.networks.products import TILE_ROWS, TILE_VECTORS, add_tile
from numzero.search.vectors import LANES, ONE, ZERO, exp

__all__ = ["ACTION", "BIAS", "D_LATENT_AT", "D_OUTPUT_AT", "INPUT_AT", "LATENT_AT", "LINEAR", "NORM", "NUM_COLUMNS"]
__all__ += ["OUTPUT_AT", "RELU", "RESIDUAL", "ROWS", "SILU", "STEPS", "Program", "Space", "backward_block"]
__all__ += ["backward_parts", "copy_in", "encode_block", "encode_parts", "forward_block", "forward_parts", "pack"]
__all__ += ["part_bounds", "space_of", "stride_of", "sum_parts"]

_Float32Array = NDArray[np.float32]
_Int32Array = NDArray[np.int32]
_Int64Array = NDArray[np.int64]

LINEAR, NORM, RELU, SILU = 0, 1, 2, 3
"""Operations."""
BIAS, ACTION, RESIDUAL = 0, 1, 2
"""What a product is added to: a bias, the action's row of a table, the latent that the dynamics began with."""
BLOCK = 64
"""Rows that go through all layers together, so that weights stay in the processor's nearest memory."""

KIND, INPUTS, OUTPUTS, X, Y, D_X, D_Y, WEIGHT, TWIN, SHIFT, D_WEIGHT, D_SHIFT, MORE = range(13)
NUM_COLUMNS = 13
"""Columns of a program: operation; numbers of a row in and out; where rows in, rows out and the gradients at both begin
in the work space (-1: nobody asks for the gradient in); where among the packed parameters its weights or scale begin,
their transposed twin, its bias, table or shift; where the gradients of both begin; for a product what it is added to,
for a norm where its moments begin in the work space."""
INPUT_AT, LATENT_AT, OUTPUT_AT, D_LATENT_AT, D_OUTPUT_AT, ROWS, STEPS = range(7)


class Program(NamedTuple):
    """A network."""

    ops: _Int64Array
    """`[N, 13]`, see the columns' names."""
    ends: _Int64Array
    """`[4]` where the operations of representation, dynamics and prediction begin, and how many there are."""
    sources: _Int64Array
    """`[N, 3]` where an operation's weights or scale begin among all parameters, and its bias, table or shift; -1 where
    it has none. Rows of the table."""
    spans: _Int64Array
    """`[S, 3]` pieces of the gradient: where one begins in a part's own, where among all parameters, its length."""
    sizes: _Int64Array
    """`[3]` numbers of an input, of a latent, of an output."""
    numbers: _Float32Array
    """`[2]` what multiplies the gradient wherever a latent enters the dynamics; what norms add to variances."""


class Space(NamedTuple):
    """Where it is computed, for B rows, those of a block where parts go alone from losses to losses, and K steps."""

    work: _Float32Array
    """Flat: rows of all operations, once or, where parts go alone, for each part."""
    places: _Int64Array
    """`[7]` where inputs, latents, outputs, and the gradients at latents and at outputs begin; B; K."""
    packed: _Float32Array
    """Flat: the parameters as products want them."""
    bounds: _Int64Array
    """`[T + 1]` the first row of each part, and how many rows there are in all."""
    gradients: _Float32Array
    """`[T, G]` of each part, rows of weights padded."""


def part_bounds(num_rows: int, num_parts: int) -> NDArray[np.int64]:
    """`[parts + 1]` where each part of a batch begins, and its end; whole tiles of rows, where there are enough."""
    unit = 8 if num_rows >= 8 * num_parts else 1
    bounds: NDArray[np.int64] = np.arange(num_parts + 1, dtype=np.int64) * -(-num_rows // unit) // num_parts * unit
    return np.minimum(bounds, num_rows)


@parallel_kernel
def forward_parts(
    program: Program,
    space: Space,
    flat: _Float32Array,
    inputs: _Float32Array,
    actions: _Int32Array,
    latents: _Float32Array,
    outputs: _Float32Array,
) -> None:
    """Fill latents `[(K+1) B, H]` and outputs `[(K+1) B, outputs]` from inputs `[B, I]` and actions `[K B]`.

    flat: `[P]` all parameters.
    """
    for i in prange(program.ops.shape[0]):
        pack(program, i, space.packed, flat)
    for t in prange(space.bounds.size - 1):
        _forward_part(program, space, t, inputs, actions, latents, outputs)


@parallel_kernel
def encode_parts(
    program: Program,
    space: Space,
    flat: _Float32Array,
    inputs: _Float32Array,
    actions: _Int32Array,
    latents: _Float32Array,
) -> None:
    """Fill latents `[N, H]` from inputs `[N, I]`; there are no actions."""
    for i in prange(program.ends[1]):
        pack(program, i, space.packed, flat)
    for t in prange(space.bounds.size - 1):
        _encode_part(program, space, t, inputs, actions, latents)


@parallel_kernel
def backward_parts(
    program: Program,
    space: Space,
    actions: _Int32Array,
    d_latents: _Float32Array,
    d_outputs: _Float32Array,
    gradient: _Float32Array,
) -> None:
    """Fill the gradient `[P]` of what has these gradients at the results of `forward_parts`."""
    num_parts = space.bounds.size - 1
    for t in prange(num_parts):
        _backward_part(program, space, t, actions, d_latents, d_outputs)
    for t in prange(num_parts):
        sum_parts(program, space, t, gradient)


@search_kernel
def sum_parts(program: Program, space: Space, t: int, gradient: _Float32Array) -> None:
    """The gradients of all parts, of as many pieces as thread `t` has to sum."""
    num_parts, num_spans = space.bounds.size - 1, program.spans.shape[0]
    for s in range(num_spans * t // num_parts, num_spans * (t + 1) // num_parts):
        _sum_piece(space.gradients, program.spans[s], gradient)


@search_kernel
def _sum_piece(gradients: _Float32Array, span: _Int64Array, gradient: _Float32Array) -> None:
    """One piece of the gradient, part after part."""
    total = gradient[span[1] : span[1] + span[2]]
    for j in range(span[2]):
        total[j] = gradients[0, span[0] + j]
    for t in range(1, gradients.shape[0]):
        more = gradients[t, span[0] : span[0] + span[2]]
        for j in range(span[2]):
            total[j] += more[j]


@search_kernel
def space_of(space: Space, t: int) -> Space:
    """That of part `t` alone, where each part has a work space."""
    size = space.work.shape[0] // (space.bounds.size - 1)
    work = space.work[t * size : (t + 1) * size]
    return Space(work, space.places, space.packed, space.bounds, space.gradients)


@search_kernel
def stride_of(size: int) -> int:
    """Numbers from one row of the work space to the next."""
    return (size + LANES - 1) // LANES * LANES


@search_kernel
def copy_in(rows: _Float32Array, work: _Float32Array, at: int, first: int, last: int) -> None:
    """Rows `first` to before `last` of an array into the work space."""
    size = rows.shape[1]
    for n in range(first, last):
        start = at + n * stride_of(size)
        place = work[start : start + size]
        for j in range(size):
            place[j] = rows[n, j]


@search_kernel
def _copy_out(work: _Float32Array, at: int, rows: _Float32Array, first: int, last: int) -> None:
    """The reverse."""
    size = rows.shape[1]
    for n in range(first, last):
        start = at + n * stride_of(size)
        place = work[start : start + size]
        for j in range(size):
            rows[n, j] = place[j]


# ------------------------------------------------------------------------------------------------------ parameters


@search_kernel
def pack(program: Program, i: int, packed: _Float32Array, flat: _Float32Array) -> None:
    """The parameters of an operation: products read them in strips of `LANES` columns, one strip after another."""
    op, weight, shift = program.ops[i], program.sources[i, 0], program.sources[i, 1]
    if op[KIND] == LINEAR:
        _pack_matrix(op, packed, flat[weight : weight + op[INPUTS] * op[OUTPUTS]], _twin_scale(program, i))
    elif op[KIND] == NORM and weight >= 0:
        _copy(flat, weight, packed, op[WEIGHT], op[OUTPUTS])
    if shift >= 0:
        size = op[OUTPUTS]
        for row in range(program.sources[i, 2]):
            _copy(flat, shift + row * size, packed, op[SHIFT] + row * stride_of(size), size)


@search_kernel
def _copy(source: _Float32Array, begin: int, target: _Float32Array, at: int, count: int) -> None:
    for j in range(count):
        target[at + j] = source[begin + j]


@search_kernel
def _twin_scale(program: Program, i: int) -> np.float32:
    """What multiplies the weights on the way back: the dynamics' first layer adds to the gradient of its latent."""
    return program.numbers[0] if i == program.ends[1] else ONE


@search_kernel
def _pack_matrix(op: _Int64Array, packed: _Float32Array, matrix: _Float32Array, twin_scale: np.float32) -> None:
    """W `[outputs, inputs]` as strips of its transpose, for the way forward, and of itself, for the way back."""
    num_inputs, num_outputs = op[INPUTS], op[OUTPUTS]
    for c in range(0, num_outputs, LANES):
        strip = packed[op[WEIGHT] + c * num_inputs : op[WEIGHT] + (c + LANES) * num_inputs]
        for lane in range(min(LANES, num_outputs - c)):
            row = matrix[(c + lane) * num_inputs : (c + lane + 1) * num_inputs]
            for i in range(num_inputs):
                strip[i * LANES + lane] = row[i]
    if op[D_X] < 0:
        return
    for c in range(0, num_inputs, LANES):
        strip, width = packed[op[TWIN] + c * num_outputs :], min(LANES, num_inputs - c)
        for o in range(num_outputs):
            row = matrix[o * num_inputs + c : o * num_inputs + c + width]
            for lane in range(width):
                strip[o * LANES + lane] = row[lane] * twin_scale


# --------------------------------------------------------------------------------------------------------- forward


@search_kernel
def _forward_part(
    program: Program,
    space: Space,
    t: int,
    inputs: _Float32Array,
    actions: _Int32Array,
    latents: _Float32Array,
    outputs: _Float32Array,
) -> None:
    for first in range(space.bounds[t], space.bounds[t + 1], BLOCK):
        last = min(first + BLOCK, space.bounds[t + 1])
        copy_in(inputs, space.work, space.places[INPUT_AT], first, last)
        forward_block(program, space, first, last, actions)
        for k in range(space.places[STEPS] + 1):
            start = k * space.places[ROWS]
            _copy_out(space.work, space.places[LATENT_AT], latents, start + first, start + last)
            _copy_out(space.work, space.places[OUTPUT_AT], outputs, start + first, start + last)


@search_kernel
def _encode_part(
    program: Program, space: Space, t: int, inputs: _Float32Array, actions: _Int32Array, latents: _Float32Array
) -> None:
    for first in range(space.bounds[t], space.bounds[t + 1], BLOCK):
        last = min(first + BLOCK, space.bounds[t + 1])
        copy_in(inputs, space.work, space.places[INPUT_AT], first, last)
        encode_block(program, space, first, last, actions)
        _copy_out(space.work, space.places[LATENT_AT], latents, first, last)


@search_kernel
def encode_block(program: Program, space: Space, first: int, last: int, actions: _Int32Array) -> None:
    """Rows `first` to before `last` through the representation; no operation of it looks at actions."""
    for i in range(program.ends[1]):
        _forward(program, space, i, actions, first, last)


@search_kernel
def forward_block(program: Program, space: Space, first: int, last: int, actions: _Int32Array) -> None:
    """Rows `first` to before `last` through all steps."""
    num_rows, num_steps, ends = space.places[ROWS], space.places[STEPS], program.ends
    encode_block(program, space, first, last, actions)
    for k in range(num_steps):
        for i in range(ends[1], ends[2]):
            _forward(program, space, i, actions, k * num_rows + first, k * num_rows + last)
    for k in range(num_steps + 1):
        for i in range(ends[2], ends[3]):
            _forward(program, space, i, actions, k * num_rows + first, k * num_rows + last)


@search_kernel
def _forward(program: Program, space: Space, i: int, actions: _Int32Array, first: int, last: int) -> None:
    """One operation on rows `first` to before `last`."""
    op, work = program.ops[i], space.work
    if op[KIND] == LINEAR:
        for n in range(first, last):
            _write_summand(op, space, actions, n)
        _multiply(work, op[Y], work, op[X], space.packed, op[WEIGHT], op[INPUTS], op[OUTPUTS], first, last)
        return
    size, stride = op[OUTPUTS], stride_of(op[OUTPUTS])
    for n in range(first, last):
        x = work[op[X] + n * stride : op[X] + n * stride + size]
        y = work[op[Y] + n * stride : op[Y] + n * stride + size]
        if op[KIND] == RELU:
            for j in range(size):
                y[j] = max(x[j], ZERO)
        elif op[KIND] == SILU:
            for j in range(size):
                y[j] = x[j] / (ONE + exp(-x[j]))
        else:
            _normalize(op, space.packed, program.numbers[1], x, y, work[op[MORE] + 2 * n : op[MORE] + 2 * n + 2])


@search_kernel
def _write_summand(op: _Int64Array, space: Space, actions: _Int32Array, n: int) -> None:
    """Fill row `n` with what a product is added to."""
    stride = stride_of(op[OUTPUTS])
    y = space.work[op[Y] + n * stride : op[Y] + (n + 1) * stride]
    if op[MORE] == RESIDUAL:
        start = op[SHIFT] + n * stride
        latent = space.work[start : start + stride]
        for j in range(stride):
            y[j] = latent[j]
        return
    row = op[SHIFT] + (actions[n] * stride if op[MORE] == ACTION else 0)
    summand = space.packed[row : row + stride]
    for j in range(stride):
        y[j] = summand[j]


@search_kernel
def _multiply(
    y: _Float32Array,
    y_at: int,
    x: _Float32Array,
    x_at: int,
    strips: _Float32Array,
    strips_at: int,
    num_inputs: int,
    num_outputs: int,
    first: int,
    last: int,
) -> None:
    """Add x W to y, rows `first` to before `last`, W `[inputs, outputs]` in strips."""
    x_stride, y_stride = stride_of(num_inputs), stride_of(num_outputs)
    rows_out, rows_in = (y, y_at + first * y_stride, y_stride), (x, x_at + first * x_stride, x_stride, 1)
    matrix = strips, strips_at, LANES, LANES * num_inputs
    _add_product(rows_out, rows_in, matrix, last - first, y_stride // LANES, num_inputs)


@search_kernel
def _add_product(
    y: tuple[_Float32Array, int, int],
    x: tuple[_Float32Array, int, int, int],
    w: tuple[_Float32Array, int, int, int],
    num_rows: int,
    num_vectors: int,
    count: int,
) -> None:
    """As `add_tile`, of any size: in large tiles as far as they go, of one row or one vector at the edges."""
    tall, wide = num_rows // TILE_ROWS * TILE_ROWS, num_vectors // TILE_VECTORS * TILE_VECTORS
    for v in range(0, wide, TILE_VECTORS):
        for r in range(0, tall, TILE_ROWS):
            add_tile(TILE_ROWS, TILE_VECTORS, _moved(y, r, v), _behind(x, r), _beside(w, v), count)
        for r in range(tall, num_rows):
            add_tile(1, TILE_VECTORS, _moved(y, r, v), _behind(x, r), _beside(w, v), count)
    for v in range(wide, num_vectors):
        for r in range(0, tall, TILE_ROWS):
            add_tile(TILE_ROWS, 1, _moved(y, r, v), _behind(x, r), _beside(w, v), count)
        for r in range(tall, num_rows):
            add_tile(1, 1, _moved(y, r, v), _behind(x, r), _beside(w, v), count)


@search_kernel
def _moved(y: tuple[_Float32Array, int, int], row: int, vector: int) -> tuple[_Float32Array, int, int]:
    return y[0], y[1] + row * y[2] + vector * LANES, y[2]


@search_kernel
def _behind(x: tuple[_Float32Array, int, int, int], row: int) -> tuple[_Float32Array, int, int, int]:
    return x[0], x[1] + row * x[2], x[2], x[3]


@search_kernel
def _beside(w: tuple[_Float32Array, int, int, int], vector: int) -> tuple[_Float32Array, int, int, int]:
    return w[0], w[1] + vector * w[3], w[2], w[3]


@fast_search_kernel
def _normalize(
    op: _Int64Array,
    packed: _Float32Array,
    epsilon: np.float32,
    x: _Float32Array,
    y: _Float32Array,
    moments: _Float32Array,
) -> None:
    """LayerNorm; moments: mean and 1 / standard deviation."""
    size, total, squares = x.shape[0], ZERO, ZERO
    scale, shift = packed[op[WEIGHT] : op[WEIGHT] + size], packed[op[SHIFT] : op[SHIFT] + size]
    share = ONE / np.float32(size)
    for j in range(size):
        total += x[j]
    mean = total * share
    for j in range(size):
        squares += (x[j] - mean) * (x[j] - mean)
    factor = ONE / math.sqrt(squares * share + epsilon)
    moments[0], moments[1] = mean, factor
    for j in range(size):
        y[j] = (x[j] - mean) * factor * scale[j] + shift[j]


# -------------------------------------------------------------------------------------------------------- backward


@search_kernel
def _backward_part(
    program: Program,
    space: Space,
    t: int,
    actions: _Int32Array,
    d_latents: _Float32Array,
    d_outputs: _Float32Array,
) -> None:
    gradient = space.gradients[t]
    for j in range(gradient.shape[0]):
        gradient[j] = ZERO
    for first in range(space.bounds[t], space.bounds[t + 1], BLOCK):
        last = min(first + BLOCK, space.bounds[t + 1])
        for k in range(space.places[STEPS] + 1):
            start = k * space.places[ROWS]
            copy_in(d_latents, space.work, space.places[D_LATENT_AT], start + first, start + last)
            copy_in(d_outputs, space.work, space.places[D_OUTPUT_AT], start + first, start + last)
        backward_block(program, space, t, actions, first, last)


@search_kernel
def backward_block(program: Program, space: Space, t: int, actions: _Int32Array, first: int, last: int) -> None:
    """The gradients of part `t`, of rows `first` to before `last` through all steps, from the last one on."""
    num_rows, num_steps, ends = space.places[ROWS], space.places[STEPS], program.ends
    for k in range(num_steps, -1, -1):
        start = k * num_rows
        for i in range(ends[3] - 1, ends[2] - 1, -1):
            _backward(program, space, t, i, actions, start + first, start + last)
    for k in range(num_steps - 1, -1, -1):
        start = k * num_rows
        for i in range(ends[2] - 1, ends[1] - 1, -1):
            _backward(program, space, t, i, actions, start + first, start + last)
    for i in range(ends[1] - 1, -1, -1):
        _backward(program, space, t, i, actions, first, last)


@search_kernel
def _backward(program: Program, space: Space, t: int, i: int, actions: _Int32Array, first: int, last: int) -> None:
    """One operation on rows `first` to before `last`: the gradients at its rows in, and of its parameters."""
    op, work, gradients = program.ops[i], space.work, space.gradients[t]
    if op[KIND] == LINEAR:
        _backward_rows(program, space, i, first, last)
        _add_weights(op, work, gradients, first, last)
        _add_summands(program, space, op, gradients, actions, first, last)
        return
    size, stride = op[OUTPUTS], stride_of(op[OUTPUTS])
    for n in range(first, last):
        x = work[op[X] + n * stride : op[X] + n * stride + size]
        d_x = work[op[D_X] + n * stride : op[D_X] + n * stride + size]
        d_y = work[op[D_Y] + n * stride : op[D_Y] + n * stride + size]
        if op[KIND] == RELU:
            for j in range(size):
                d_x[j] = d_y[j] if x[j] > ZERO else ZERO
        elif op[KIND] == SILU:
            for j in range(size):
                share = ONE / (ONE + exp(-x[j]))
                d_x[j] = d_y[j] * share * (ONE + x[j] * (ONE - share))
        else:
            _d_normalize(op, space.packed, gradients, x, d_y, d_x, work[op[MORE] + 2 * n : op[MORE] + 2 * n + 2])


@search_kernel
def _backward_rows(program: Program, space: Space, i: int, first: int, last: int) -> None:
    """d_x = d_y W; where the rows in are latents, it is added to what was found there of their other uses."""
    op, work = program.ops[i], space.work
    if op[D_X] < 0:
        return
    stride = stride_of(op[INPUTS])
    if op[D_X] != space.places[D_LATENT_AT]:
        d_x = work[op[D_X] + first * stride : op[D_X] + last * stride]
        for j in range(d_x.shape[0]):
            d_x[j] = ZERO
    _multiply(work, op[D_X], work, op[D_Y], space.packed, op[TWIN], op[OUTPUTS], op[INPUTS], first, last)


@search_kernel
def _add_weights(op: _Int64Array, work: _Float32Array, gradients: _Float32Array, first: int, last: int) -> None:
    """Add d_y^T x to the gradient of W; a row of d_y is padded, and so are W's rows, which nothing reads beyond."""
    x_stride, d_stride = stride_of(op[INPUTS]), stride_of(op[OUTPUTS])
    x_at, d_at = op[X] + first * x_stride, op[D_Y] + first * d_stride
    rows = (gradients, op[D_WEIGHT], x_stride), (work, d_at, 1, d_stride), (work, x_at, x_stride, LANES)
    _add_product(*rows, d_stride, x_stride // LANES, last - first)


@search_kernel
def _add_summands(
    program: Program,
    space: Space,
    op: _Int64Array,
    gradients: _Float32Array,
    actions: _Int32Array,
    first: int,
    last: int,
) -> None:
    """Add d_y to the gradient of what the product was added to."""
    stride = stride_of(op[OUTPUTS])
    for n in range(first, last):
        d_y = space.work[op[D_Y] + n * stride : op[D_Y] + (n + 1) * stride]
        if op[MORE] == RESIDUAL:
            at = space.places[D_LATENT_AT] + n * stride
            d_latent = space.work[at : at + stride]
            for j in range(stride):
                d_latent[j] += program.numbers[0] * d_y[j]
        else:
            at = op[D_SHIFT] + (actions[n] * stride if op[MORE] == ACTION else 0)
            total = gradients[at : at + stride]
            for j in range(stride):
                total[j] += d_y[j]


@fast_search_kernel
def _d_normalize(
    op: _Int64Array,
    packed: _Float32Array,
    gradients: _Float32Array,
    x: _Float32Array,
    d_y: _Float32Array,
    d_x: _Float32Array,
    moments: _Float32Array,
) -> None:
    """The way back of `_normalize`."""
    size = x.shape[0]
    scale = packed[op[WEIGHT] : op[WEIGHT] + size]
    mean, factor, share = moments[0], moments[1], ONE / np.float32(size)
    if op[D_WEIGHT] >= 0:
        d_scale = gradients[op[D_WEIGHT] : op[D_WEIGHT] + size]
        d_shift = gradients[op[D_SHIFT] : op[D_SHIFT] + size]
        for j in range(size):
            d_scale[j] += d_y[j] * (x[j] - mean) * factor
            d_shift[j] += d_y[j]
    total, product = ZERO, ZERO
    for j in range(size):
        total += d_y[j] * scale[j]
        product += d_y[j] * scale[j] * (x[j] - mean)
    level, slope = total * share, product * share * factor * factor
    for j in range(size):
        d_x[j] = (d_y[j] * scale[j] - level - (x[j] - mean) * slope) * factor
