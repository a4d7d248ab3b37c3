"""Tiles of matrix products in any direction: what gradients by hand of split batches are made of.

Knows addresses and strides; knows nothing of networks. As `add_product` of `search.plain.tiles`, whose left side always
lies row by row: here it may lie transposed too, so that y = x W, the way back of it, and the gradient of W are the same
loop. Where Numba is off, the obvious loops are what runs.
"""

from __future__ import annotations

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from numzero.search.plain.tiles import emit_tile
from numzero.search.vectors import LANES

__all__ = ["TILE_ROWS", "add_tile"]

TILE_ROWS = 8 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 4
"""Rows of a tile, whose sums fill a quarter or half of the registers: fewer would wait for each other's additions."""

_INT64 = ir.IntType(64)


def add_tile(
    num_rows: int,
    y: NDArray[np.float32],
    y_at: int,
    y_stride: int,
    x: NDArray[np.float32],
    x_at: int,
    x_stride: int,
    x_step: int,
    w: NDArray[np.float32],
    w_at: int,
    w_stride: int,
    count: int,
) -> None:
    """y[r, :LANES] += sum_i x[r, i] w[i, :LANES] for `num_rows` rows and `count` i, in flat arrays.

    Args:
        num_rows: a literal, so that every number of rows is compiled to a tile of its own.
        y: row r begins at `y_at + r y_stride`.
        y_at: see `y`.
        y_stride: see `y`.
        x: element i of row r is at `x_at + r x_stride + i x_step`.
        x_at: see `x`.
        x_stride: see `x`.
        x_step: see `x`.
        w: row i begins at `w_at + i w_stride`.
        w_at: see `w`.
        w_stride: see `w`.
        count: 1 or more.
    """
    lanes = np.arange(LANES)
    for r in range(num_rows):
        for i in range(count):
            y[y_at + r * y_stride + lanes] += x[x_at + r * x_stride + i * x_step] * w[w_at + i * w_stride + lanes]


@overload(add_tile, prefer_literal=True, strict=False)  # strict: annotations alike, which say little here
def _compiled_add_tile(  # type: ignore[no-untyped-def]  # pragma: no cover  (runs inside the compiler)
    num_rows, y, y_at, y_stride, x, x_at, x_stride, x_step, w, w_at, w_stride, count
):
    def implementation(  # type: ignore[no-untyped-def]
        num_rows, y, y_at, y_stride, x, x_at, x_stride, x_step, w, w_at, w_stride, count
    ):
        _tile(num_rows, y, y_at, y_stride, x, x_at, x_stride, x_step, w, w_at, w_stride, count)  # type: ignore[call-arg]

    return implementation


@intrinsic(prefer_literal=True)
def _tile(  # type: ignore[no-untyped-def]  # pragma: no cover  (runs inside the compiler)
    typing_context, num_rows, y, y_at, y_stride, x, x_at, x_stride, x_step, w, w_at, w_stride, count
):
    rows, at = num_rows.literal_value, types.intp
    signature = types.void(num_rows, y, at, at, x, at, at, at, w, at, at, at)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        arrays = [
            context.make_array(signature.args[place])(context, builder, value=arguments[place]) for place in (1, 4, 8)
        ]
        y_at, x_at, w_at = (
            builder.add(builder.ptrtoint(array.data, _INT64), builder.mul(arguments[place], _INT64(4)))
            for array, place in zip(arrays, (2, 5, 9), strict=True)
        )
        y_stride, x_stride, x_step, w_stride = (builder.mul(arguments[place], _INT64(4)) for place in (3, 6, 7, 10))
        emit_tile(builder, rows, (y_at, y_stride), (x_at, x_stride), (w_at, w_stride), arguments[11], x_step)
        return context.get_dummy_value()

    return signature, generate
