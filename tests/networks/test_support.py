"""Bins, the value transform, and two-hot coding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from numzero.networks import SupportConfig
from numzero.networks.support import bin_values, inverse_h, two_hot, value_transform

SUPPORTS = st.builds(
    SupportConfig,
    num_bins=st.integers(2, 61),
    limit=st.floats(0.5, 30.0),
    transform=st.sampled_from(["h", "none"]),
)


def obvious_two_hot(scalar: float, bins: list[float]) -> list[float]:
    """Look for the two neighbours one by one."""
    scalar = min(max(scalar, bins[0]), bins[-1])
    target = [0.0] * len(bins)
    for i in range(len(bins) - 1):
        if bins[i] <= scalar <= bins[i + 1]:
            share = (scalar - bins[i]) / (bins[i + 1] - bins[i])
            target[i], target[i + 1] = 1.0 - share, share
            return target
    raise AssertionError("between no two bins")


@settings(max_examples=30)
@given(hnp.arrays(np.float64, 20, elements=st.floats(-1e6, 1e6)))
def test_h_and_its_inverse_are_inverses(x):
    """Either after the other gives the number back; to 1e-6 of it, since h flattens out."""
    np.testing.assert_allclose(inverse_h(value_transform(x)), x, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(value_transform(inverse_h(x)), x, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("x", "h"), [(0.0, 0.0), (3.0, 1.003), (-3.0, -1.003), (99.0, 9.099), (-8.0, -2.008)])
def test_h_is_the_papers(x, h):
    """Values worked out by hand: sign(x)(sqrt(|x| + 1) - 1) + 0.001 x."""
    assert value_transform(np.array(x)) == pytest.approx(h, abs=1e-12)


@settings(max_examples=30)
@given(SUPPORTS)
def test_bins_ascend_and_are_symmetric(config):
    """A loss is as far from 0 as a win."""
    bins = bin_values(config)
    assert bins.dtype == np.float32
    assert bins.shape == (config.num_bins,)
    assert (np.diff(bins) > 0).all()
    np.testing.assert_allclose(bins, -bins[::-1], rtol=1e-5, atol=1e-6)


@settings(max_examples=30)
@given(SUPPORTS)
def test_bins_lie_evenly_once_transformed(config):
    """From -limit to limit: that is where the setting says they are."""
    bins = bin_values(config).astype(np.float64)
    even = np.linspace(-config.limit, config.limit, config.num_bins)
    transformed = value_transform(bins) if config.transform == "h" else bins
    np.testing.assert_allclose(transformed, even, rtol=1e-4, atol=1e-5)


def test_three_bins_are_loss_draw_and_win():
    """As the presets of board games have them."""
    assert bin_values(SupportConfig(num_bins=3, limit=1.0, transform="none")).tolist() == [-1.0, 0.0, 1.0]


@settings(max_examples=30)
@given(SUPPORTS, hnp.arrays(np.float32, (3, 4), elements=st.floats(-1, 1, width=32)))
def test_two_hot_is_the_obvious_one_and_its_expectation_the_scalar(config, share):
    """Two neighbours at most, of a total of 1, whose mean is the number coded."""
    bins = bin_values(config)
    scalar = share * bins[-1]
    target = two_hot(scalar.reshape(-1), bins).reshape(3, 4, -1)
    assert target.shape == (3, 4, config.num_bins)
    assert (target >= 0).all()
    assert ((target > 0).sum(axis=-1) <= 2).all()
    np.testing.assert_allclose(target.sum(axis=-1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(target @ bins, scalar, rtol=1e-5, atol=1e-5 * bins[-1])
    twin = [[obvious_two_hot(float(x), bins.astype(float).tolist()) for x in row] for row in scalar]
    np.testing.assert_allclose(target, twin, atol=1e-4)


@settings(max_examples=30)
@given(SUPPORTS, st.floats(0, 1e6, width=32))
def test_two_hot_clamps_beyond_the_ends(config, distance):
    """What lies beyond the outermost bin counts as that bin, whole."""
    bins = bin_values(config)
    beyond = two_hot(np.array([bins[0] - distance, bins[-1] + distance], np.float32), bins)
    np.testing.assert_array_equal(beyond, np.eye(len(bins))[[0, -1]])


def test_a_bin_itself_is_coded_by_that_bin_alone():
    """Nothing leaks to the neighbours where nothing is between."""
    bins = bin_values(SupportConfig(num_bins=9, limit=5.0))
    np.testing.assert_allclose(two_hot(bins, bins), np.eye(9), atol=1e-6)


def test_nan_is_no_bin():
    """A target that is not a number shows, instead of becoming some bin."""
    assert np.isnan(two_hot(np.array([np.nan], np.float32), bin_values(SupportConfig()))).any()
