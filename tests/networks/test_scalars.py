"""Bins that follow the targets: how far, how fast, and that files and checkpoints have them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from numzero.errors import UserError
from numzero.inference import OnnxModel
from numzero.networks.config import NetworkConfig, SupportConfig
from numzero.networks.export import Exporter, check_parity, parity_with
from numzero.networks.network import MuZeroNetwork, make_network
from numzero.networks.scalars import GROWTH, LARGEST, MARGIN
from numzero.networks.support import bin_values, two_hot

FITTED = SupportConfig(fitted=True, num_bins=25, limit=5.0)
SHAPE, NUM_ACTIONS = (4,), 3


def network(value: SupportConfig = FITTED, reward: SupportConfig = FITTED) -> MuZeroNetwork:
    """A small one."""
    return make_network(SHAPE, NUM_ACTIONS, NetworkConfig(value=value, reward=reward), seed=0)


def learn(net: MuZeroNetwork, value: float, reward: float) -> None:
    """A batch in which these are the largest."""
    targets = {"value": np.array([[0.0, value]]), "reward": np.array([[reward], [0.0]])}
    net.scalars.learn({name: target.astype(np.float32) for name, target in targets.items()})


def last(net: MuZeroNetwork, name: str) -> float:
    """What the outermost bin stands for."""
    bins = net.heads[name].bins
    assert bins is not None
    assert (np.diff(bins) > 0.0).all()
    return float(bins[-1])


@given(size=st.floats(1e-6, 1e6), sign=st.sampled_from([-1.0, 1.0]))
def test_the_outermost_bins_stand_for_twice_the_largest(size: float, sign: float) -> None:
    """Of either sign and any size, spaced as the settings say; and they do not shrink."""
    net = network()
    shape = bin_values(FITTED)
    assert last(net, "reward") == shape[-1]
    learn(net, 0.0, sign * size)
    for name in ("value", "reward"):
        bins = net.heads[name].bins
        assert bins is not None
        np.testing.assert_allclose(bins, shape * (MARGIN * size / shape[-1]), rtol=1e-5)
        decoded = net.decode(name, torch.from_numpy(np.log(two_hot(np.array([size], np.float32), bins) + 1e-30)))
        np.testing.assert_allclose(decoded, [size], rtol=1e-4)
    learn(net, 0.0, size / 10)
    assert last(net, "reward") == pytest.approx(MARGIN * size, rel=1e-6)


def test_values_rest_on_the_networks_own_and_grow_slowly_rewards_at_once() -> None:
    """Two per cent an update, and never less than rewards."""
    net = network()
    learn(net, 3.0, 0.0)
    assert last(net, "value") == pytest.approx(MARGIN * 3.0)  # the first there is
    learn(net, 300.0, 0.0)
    assert last(net, "value") == pytest.approx(MARGIN * 3.0 * GROWTH)
    assert last(net, "reward") == bin_values(FITTED)[-1]
    learn(net, 0.0, -50.0)
    assert last(net, "value") == last(net, "reward") == pytest.approx(MARGIN * 50.0)


def test_nothing_is_fitted_where_nothing_is_asked_for() -> None:
    """Fixed bins are not touched, and there is nothing to keep."""
    net = network(value=SupportConfig(), reward=SupportConfig())
    learn(net, 1e6, 1e6)
    np.testing.assert_array_equal(net.heads["value"].bins, bin_values(SupportConfig()))
    assert (net.learned(), set(net.stored())) == ({}, set(dict(net.named_parameters())))


def test_numbers_that_are_none_or_beyond_float32_leave_sound_bins() -> None:
    """Such targets end the update, in words; the bins stay numbers."""
    net = network()
    learn(net, float("nan"), float("nan"))
    learn(net, float("inf"), float("inf"))
    assert last(net, "value") == pytest.approx(MARGIN * LARGEST)
    assert np.isfinite(net.heads["reward"].bins).all()
    tiny = network()
    learn(tiny, 1e-38, 1e-38)
    assert last(tiny, "value") == bin_values(FITTED)[-1]
    assert tiny.scalars.reward_unit == 1.0


def test_files_have_the_bins_of_the_moment() -> None:
    """Of one template, before and after they grew; kernels and onnxruntime read the same."""
    net = network()
    exporter, rng = Exporter(net, 0.99), np.random.default_rng(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(std=0.3)
    observation = rng.normal(size=(5, *SHAPE)).astype(np.float32)
    before = OnnxModel(exporter.files(net, 1))
    small = before.initial(observation).value.copy()
    learn(net, 0.0, 1000.0)
    files = exporter.files(net, 2)
    assert check_parity(net, files) < 1e-4
    for model in (OnnxModel(files), OnnxModel(files, kernels=False), OnnxModel(files, earlier=before)):
        factor = MARGIN * 1000.0 / float(bin_values(FITTED)[-1])
        np.testing.assert_allclose(model.initial(observation).value, factor * small, rtol=1e-3)


def test_a_typical_reward_is_the_mean_of_those_that_are_not_0() -> None:
    """Batch by batch; files say it to the search, also to one that continues with newer weights."""
    net = network()
    exporter = Exporter(net, 0.99)
    files = exporter.files(net, 1)
    model = OnnxModel(files)
    assert model.reward_unit == net.scalars.reward_unit == 1.0
    for rewards, expected in (([0.0, 4.0, -2.0], 3.0), ([0.0, 0.0], 3.0), ([9.0, 0.0], 6.0)):
        batch = np.array([rewards], np.float32)
        net.scalars.learn({"value": batch, "reward": batch})
        assert net.scalars.reward_unit == pytest.approx(expected)
    newer = exporter.files(net, 2)
    for found in (OnnxModel(newer), OnnxModel(newer, earlier=model), OnnxModel(newer, kernels=False)):
        assert (found.version, found.reward_unit) == (2, net.scalars.reward_unit)
    fixed = network(reward=SupportConfig())
    learn(fixed, 3.0, 3.0)
    assert fixed.scalars.reward_unit == 1.0


def test_they_are_taken_up_again() -> None:
    """By a network that is made anew from what a checkpoint holds, and nothing else is taken."""
    net = network()
    learn(net, 8.0, 5.0)
    state = net.learned()
    again = network()
    again.restore_learned(state)
    np.testing.assert_array_equal(again.heads["value"].bins, net.heads["value"].bins)
    assert again.scalars.reward_unit == net.scalars.reward_unit == 5.0
    parameters = torch.nn.utils.parameters_to_vector(net.parameters()).detach().numpy()
    files = Exporter(net, 0.99).files(net, 1)
    assert parity_with(parameters, SHAPE, NUM_ACTIONS, net.config, files, learned=state) < 1e-4
    for wrong in (
        {},
        {**state, "largest_value": np.array(-1.0)},
        {**state, "largest_value": np.zeros(2)},
        {**state, "reward_count": np.array("x")},
    ):
        with pytest.raises(UserError, match=r"network\.value\.fitted or network\.reward\.fitted wants it"):
            again.restore_learned(wrong)
