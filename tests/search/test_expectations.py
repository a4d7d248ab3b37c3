"""Means of rows side by side: each the same as alone, to the last bit."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from numzero.compiled import search_kernel
from numzero.search.plain.expectations import emit_expectations, expectation, expectations
from numzero.search.vectors import LANES
from tests.search.emitted import call_emitted

LOGITS = st.one_of(
    st.floats(-200, 200, width=32), st.sampled_from([-np.inf, -87.0, 88.0, 0.0, -0.0, 1e-45, 3e38, -3e38])
)


@search_kernel
def side_by_side(columns: NDArray[np.float32], bins: NDArray[np.float32], mean: NDArray[np.float32]) -> None:
    expectations(columns, bins, mean)


def by_itself(columns: NDArray[np.float32], bins: NDArray[np.float32], mean: NDArray[np.float32]) -> None:
    """The instructions alone, also where Numba is off."""
    addresses = [array.ctypes.data for array in (columns, bins, mean)]
    call_emitted(emit_expectations, [*addresses, len(bins)])


@pytest.mark.parametrize("num_bins", [1, 7, 8, 21])
def test_the_emitted_code_computes_expectations(num_bins: int) -> None:
    """Without Numba, to the last bit."""
    rng = np.random.default_rng(num_bins)
    columns = (30 * rng.normal(size=(num_bins, LANES))).astype(np.float32)
    columns[num_bins // 2, ::2] = -np.inf if num_bins > 1 else 0.0
    bins, mean = rng.normal(size=num_bins).astype(np.float32), np.zeros(LANES, np.float32)
    by_itself(columns, bins, mean)
    expected = [expectation(columns[:, lane].copy(), bins) for lane in range(LANES)]
    assert mean.tobytes() == np.array(expected, np.float32).tobytes()


@given(data=st.data(), num_bins=st.integers(1, 27), more=st.integers(0, 2))
def test_a_row_has_the_same_bits_among_others(data: Any, num_bins: int, more: int) -> None:
    """Whatever the bins, with and without a remainder; what lies behind them is not looked at."""
    columns = data.draw(hnp.arrays(np.float32, (num_bins + more, LANES), elements=LOGITS))
    columns[0] = np.maximum(columns[0], -200.0)  # one possible bin at least
    bins = data.draw(hnp.arrays(np.float32, num_bins, elements=st.floats(-1000, 1000, width=32)))
    mean = np.zeros(LANES, np.float32)
    with np.errstate(over="ignore"):  # interpreted, -3e38 - 3e38 warns of what is -inf either way
        side_by_side(columns, bins, mean)
        expected = [expectation(columns[:num_bins, lane].copy(), bins) for lane in range(LANES)]
    assert mean.tobytes() == np.array(expected, np.float32).tobytes()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_told_in_its_row_alone(wrong: float) -> None:
    """NaN is what such a row stands for, and no other row feels it."""
    columns = np.random.default_rng(0).normal(size=(21, LANES)).astype(np.float32)
    bins, clean, mean = (
        np.linspace(-1, 1, 21, dtype=np.float32),
        np.zeros(LANES, np.float32),
        np.zeros(LANES, np.float32),
    )
    side_by_side(columns, bins, clean)
    columns[7, 3] = wrong
    with np.errstate(invalid="ignore"):
        side_by_side(columns, bins, mean)
    assert np.isnan(mean[3])
    assert (np.delete(mean, 3) == np.delete(clean, 3)).all()
