"""One tile of a matrix product, written as LLVM vectors: the inner loop of plain networks.

Knows addresses and lanes; knows nothing of networks. It writes LLVM itself, as `expectations.py` does: what LLVM makes
of the obvious loops does 35 to 50 GFLOP/s on one core where this does 110 to 160 (torch 50 to 120, at 16 and 64 rows),
because the sums stay in registers. Where Numba is off, the obvious loops are what runs.
"""

from __future__ import annotations

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from numzero.search.vectors import LANES

__all__ = ["MOST_SUMS", "add_product", "emit_tile", "load", "splat", "tile_vectors"]

# A tile has a few times `LANES` columns; rows of W and y are padded to a multiple of `LANES`.

MOST_SUMS = 16 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 4
"""Vectors of `LANES` sums that a tile holds: half of the processor's registers. Two multiplications begin in each cycle
and take four: with fewer than eight sums they wait for each other (4 rows of one vector 70 to 90 GFLOP/s, of four 110
to 160, on an Intel Xeon with AVX-512)."""

_FLOAT, _INT64, _INT32 = ir.FloatType(), ir.IntType(64), ir.IntType(32)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_FUSED = ("contract",)  # a multiplication and an addition in one instruction, where the machine has it


def add_product(
    num_rows: int,
    y: NDArray[np.float32],
    x: NDArray[np.float32],
    weights: NDArray[np.float32],
    start: int,
    num_inputs: int,
    num_outputs: int,
) -> None:
    """Add x W to y: the first `num_rows` rows of `x` and `y` times the matrix at `weights[start]`.

    Each number has the same bits whatever tile it is in: its products are added one after another.

    Args:
        num_rows: a literal, so that every number of rows is compiled to a tile of its own; 4 is the fastest.
        y: `[rows, >= num_outputs]`.
        x: `[rows, >= num_inputs]`.
        weights: flat.
        start: where W `[num_inputs, num_outputs]` begins, row by row.
        num_inputs: 1 or more.
        num_outputs: a multiple of `LANES`.
    """
    matrix = weights[start : start + num_inputs * num_outputs].reshape(num_inputs, num_outputs)
    for r in range(num_rows):
        for i in range(num_inputs):
            y[r, :num_outputs] += x[r, i] * matrix[i]


def tile_vectors(num_rows: int) -> int:
    """Vectors that a row of a tile has, of so many rows."""
    return max(1, min(4, MOST_SUMS // num_rows))


@overload(add_product, prefer_literal=True, strict=False)  # strict: annotations alike, which say little here
def _compiled_add_product(  # type: ignore[no-untyped-def]  # pragma: no cover  (runs inside the compiler)
    num_rows, y, x, weights, start, num_inputs, num_outputs
):
    most = tile_vectors(num_rows.literal_value)

    def implementation(num_rows, y, x, weights, start, num_inputs, num_outputs):  # type: ignore[no-untyped-def]
        whole = num_outputs - num_outputs % (most * LANES)
        for column in range(0, whole, most * LANES):
            _tile(num_rows, most, y, x, weights, column, start, num_inputs, num_outputs)  # type: ignore[call-arg]
        for column in range(whole, num_outputs, LANES):
            _tile(num_rows, 1, y, x, weights, column, start, num_inputs, num_outputs)  # type: ignore[call-arg]

    return implementation


@intrinsic(prefer_literal=True)
def _tile(  # type: ignore[no-untyped-def]  # pragma: no cover  (runs inside the compiler)
    typing_context, num_rows, num_vectors, y, x, weights, column, start, num_inputs, num_outputs
):
    """Add so many vectors of columns of x W, from `column` on, to y."""
    size = num_rows.literal_value, num_vectors.literal_value
    signature = types.void(num_rows, num_vectors, y, x, weights, types.intp, types.intp, types.intp, types.intp)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        arrays = [
            context.make_array(kind)(context, builder, value=value)
            for kind, value in zip(signature.args[2:5], arguments[2:5], strict=True)
        ]
        data = [builder.ptrtoint(array.data, _INT64) for array in arrays]
        strides = [builder.extract_value(array.strides, 0) for array in arrays[:2]]
        column, start, num_inputs, num_outputs = arguments[5:]
        y_at = builder.add(data[0], builder.mul(column, _INT64(4)))
        w_at = builder.add(data[2], builder.mul(builder.add(start, column), _INT64(4)))
        w_stride = builder.mul(num_outputs, _INT64(4))
        emit_tile(builder, size, (y_at, strides[0]), (data[1], strides[1]), (w_at, w_stride), num_inputs)
        return context.get_dummy_value()

    return signature, generate


_Matrix = tuple[ir.Value, ir.Value]
"""Address of the first element, and bytes from row to row."""


def emit_tile(
    builder: ir.IRBuilder,
    size: tuple[int, int],
    y: _Matrix,
    x: _Matrix,
    w: _Matrix,
    num_inputs: ir.Value,
    x_step: ir.Value = _INT64(4),  # noqa: B008  (a constant)
    w_step: ir.Value = _INT64(4 * LANES),  # noqa: B008  (a constant)
) -> None:
    """Write y[r, j] += sum_i x[r, i] * w[i, j] for rows r and so many vectors of columns j; sums stay in registers.

    size: rows, and vectors in a row. x_step: bytes from one element of a row of x to the next; those of a matrix that
    lies transposed are far apart. w_step: bytes from one vector of a row of w to the next.
    """
    num_rows, num_vectors = size
    places = [(r, v) for r in range(num_rows) for v in range(num_vectors)]
    y_rows, xs = ([builder.add(at, builder.mul(stride, _INT64(r))) for r in range(num_rows)] for at, stride in (y, x))
    ys = [builder.add(y_rows[r], _INT64(4 * LANES * v)) for r, v in places]
    ws = [builder.add(w[0], builder.mul(w_step, _INT64(v))) for v in range(num_vectors)]
    begin = [load(builder, at, _VECTOR) for at in ys]
    before, body = builder.block, builder.append_basic_block("inputs")
    after = builder.append_basic_block("done")
    builder.branch(body)
    builder.position_at_end(body)
    i = builder.phi(_INT64)
    sums = [builder.phi(_VECTOR) for _ in places]
    x_offset, w_offset = builder.mul(i, x_step), builder.mul(i, w[1])
    row = [load(builder, builder.add(at, w_offset), _VECTOR) for at in ws]
    factors = [splat(builder, load(builder, builder.add(at, x_offset), _FLOAT)) for at in xs]
    products = [builder.fmul(factors[r], row[v], flags=_FUSED) for r, v in places]
    new = [builder.fadd(total, product, flags=_FUSED) for total, product in zip(sums, products, strict=True)]
    following = builder.add(i, _INT64(1))
    for phi, first, later in zip([i, *sums], [_INT64(0), *begin], [following, *new], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(later, body)
    builder.cbranch(builder.icmp_signed("<", following, num_inputs), body, after)
    builder.position_at_end(after)
    for at, total in zip(ys, new, strict=True):
        builder.store(total, builder.inttoptr(at, _VECTOR.as_pointer())).align = 4


def load(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type) -> ir.Value:
    """What stands at an address."""
    loaded = builder.load(builder.inttoptr(address, kind.as_pointer()))
    loaded.align = 4
    return loaded


def splat(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """A float32 in every lane."""
    nothing = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(nothing, value, _INT32(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_INT32, LANES), None))
