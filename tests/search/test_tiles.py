"""Tiles of products, in hand-written LLVM, against NumPy: as the kernels compile them, and by themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llvmlite import ir
from numba import njit

from numzero.search.plain.tiles import MOST_SUMS, add_product, emit_tile, tile_vectors
from numzero.search.vectors import LANES
from tests.search.emitted import call_emitted


@njit
def _four(y, x, weights, start, num_inputs, num_outputs):  # type: ignore[no-untyped-def]
    add_product(4, y, x, weights, start, num_inputs, num_outputs)


@given(seed=st.integers(0, 2**32 - 1), num_inputs=st.integers(1, 70), columns=st.integers(1, 9))
def test_a_product_is_added_where_it_belongs_and_nowhere_else(seed: int, num_inputs: int, columns: int) -> None:
    """Four rows of wider arrays, and weights that begin somewhere; compiled, or as Python where Numba is off."""
    rng, num_outputs = np.random.default_rng(seed), columns * LANES
    x = rng.normal(size=(6, num_inputs + 3)).astype(np.float32)
    y = rng.normal(size=(6, num_outputs + 5)).astype(np.float32)
    weights = rng.normal(size=7 + num_inputs * num_outputs + 4).astype(np.float32)
    matrix = weights[7 : 7 + num_inputs * num_outputs].reshape(num_inputs, num_outputs)
    expected = y.copy()
    expected[:4, :num_outputs] += x[:4, :num_inputs] @ matrix
    _four(y, x, weights, 7, num_inputs, num_outputs)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    assert (y[4:] == expected[4:]).all()
    assert (y[:, num_outputs:] == expected[:, num_outputs:]).all()


@pytest.mark.parametrize("num_rows", [1, 4])
def test_the_sums_of_a_tile_fit_the_registers(num_rows: int) -> None:
    """One vector at least, and no more sums than are to be held."""
    assert num_rows <= num_rows * tile_vectors(num_rows) <= MOST_SUMS


@pytest.mark.parametrize("size", [(1, 1), (4, 1), (4, 4), (8, 2)])
def test_the_emitted_code_computes_a_tile(size: tuple[int, int]) -> None:
    """The instructions by themselves, compiled by LLVM without Numba and called at addresses of arrays."""
    rng, num_inputs, (num_rows, num_vectors) = np.random.default_rng(size), 37, size
    columns = num_vectors * LANES
    y, x = (rng.normal(size=(num_rows, count)).astype(np.float32) for count in (columns + 4, 40))
    w = rng.normal(size=(num_inputs, 80)).astype(np.float32)
    expected = y[:, :columns] + x[:, :num_inputs] @ w[:, :columns]
    rest = y[:, columns:].copy()
    arguments = [part for array in (y, x, w) for part in (array.ctypes.data, array.strides[0])]
    _call_tile(size, [*arguments, num_inputs])
    np.testing.assert_allclose(y[:, :columns], expected, rtol=1e-5, atol=1e-5)
    assert (y[:, columns:] == rest).all()


def _call_tile(size: tuple[int, int], arguments: list[int]) -> None:
    def emit(builder: ir.IRBuilder, *arguments: ir.Value) -> None:
        y, y_stride, x, x_stride, w, w_stride, num_inputs = arguments
        emit_tile(builder, size, (y, y_stride), (x, x_stride), (w, w_stride), num_inputs)

    call_emitted(emit, arguments)
