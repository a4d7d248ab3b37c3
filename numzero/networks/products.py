"""Tiles of matrix products in any direction: what gradients by hand of split batches are made of.

Knows addresses and strides; knows nothing of networks. As `add_product` of `search.plain.tiles`, whose left side always
lies row by row: here it may lie transposed too, so that y = x W, the way back of it, and the gradient of W are the same
loop. Where Numba is off, the obvious loops are what runs.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from numzero.search.plain.tiles import MOST_SUMS, emit_tile
from numzero.search.vectors import LANES

__all__ = ["TILE_ROWS", "TILE_VECTORS", "add_tile"]

TILE_ROWS = 8 if MOST_SUMS == 16 else 4
TILE_VECTORS = MOST_SUMS // TILE_ROWS
"""The largest tile: eight rows of two vectors ask for fewer numbers than 16 rows of one."""

_INT64 = ir.IntType(64)


_Array = NDArray[np.float32]


def add_tile(
    num_rows: int,
    num_vectors: int,
    y: tuple[_Array, int, int],
    x: tuple[_Array, int, int, int],
    w: tuple[_Array, int, int, int],
    count: int,
) -> None:
    """y[r, j] += sum_i x[r, i] w[i, j] for `num_rows` rows, vectors of columns j and `count` i, in flat arrays.

    Args:
        num_rows: a literal, so that every number of rows is compiled to a tile of its own.
        num_vectors: of `LANES` columns each; a literal too.
        y: an array, where row 0 begins, and how far behind it row 1.
        x: an array, where its first element is, and how far behind it those of row 1 and of i = 1.
        w: an array, where its first vector is, and how far behind it those of i = 1 and the next vector.
        count: 1 or more.
    """
    lanes = np.arange(LANES)
    for r in range(num_rows):
        for v in range(num_vectors):
            total = y[1] + r * y[2] + v * LANES + lanes
            for i in range(count):
                row = w[1] + i * w[2] + v * w[3] + lanes
                y[0][total] += x[0][x[1] + r * x[2] + i * x[3]] * w[0][row]


@overload(add_tile, prefer_literal=True, strict=False)  # strict: annotations alike, which say little here
def _compiled_add_tile(num_rows, num_vectors, y, x, w, count):  # type: ignore[no-untyped-def]  # pragma: no cover
    def implementation(num_rows, num_vectors, y, x, w, count):  # type: ignore[no-untyped-def]
        _tile(num_rows, num_vectors, y, x, w, count)  # type: ignore[call-arg]

    return implementation


@intrinsic(prefer_literal=True)
def _tile(  # type: ignore[no-untyped-def]  # pragma: no cover  (runs inside the compiler)
    typing_context, num_rows, num_vectors, y, x, w, count
):
    size = num_rows.literal_value, num_vectors.literal_value
    signature = types.void(num_rows, num_vectors, y, x, w, types.intp)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        def matrix(place):  # type: ignore[no-untyped-def]
            """The address of the first element, and distances in bytes."""
            kind, value = signature.args[place], arguments[place]
            array, *rest = (builder.extract_value(value, i) for i in range(len(kind)))
            data = context.make_array(kind[0])(context, builder, value=array).data
            begin, *steps = (builder.mul(number, _INT64(4)) for number in rest)
            return builder.add(builder.ptrtoint(data, _INT64), begin), *steps

        (y_at, y_stride), (x_at, x_stride, x_step), (w_at, w_stride, w_step) = map(matrix, (2, 3, 4))
        rows = (y_at, y_stride), (x_at, x_stride), (w_at, w_stride)
        emit_tile(builder, size, *rows, arguments[5], x_step, w_step)
        return context.get_dummy_value()

    return signature, generate
