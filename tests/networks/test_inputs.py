"""What is done to observations: the numbers, how they are learned, and that files and checkpoints have them."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.games.base import GameSpec, ObservationPart, observation_kinds
from numzero.inference import OnnxModel
from numzero.networks.export import Exporter, ParityError, check_parity
from numzero.networks.inputs import LINEAR, MEMORY, Inputs, Pictures, Running, make_inputs
from tests.reference.agents import BOARD, small_config, small_network


def clipped(x: Any) -> Any:
    """The soft clip, in float64."""
    return np.sign(x) * LINEAR * np.log1p(np.abs(x) / LINEAR)


def shown(inputs: Inputs, observation: NDArray[Any]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = inputs(torch.from_numpy(np.asarray(observation, np.float32))).numpy()
    return found


def test_pictures_are_divided_by_255():
    """Bytes become 0 to 1."""
    inputs = make_inputs((1, 1, 3), small_config(observation_scaling="pictures"))
    np.testing.assert_allclose(shown(inputs, np.array([[[[0, 51, 255]]]])), [[[[0.0, 0.2, 1.0]]]], rtol=1e-6)


def test_before_the_first_batch_running_only_clips():
    """Nobody knows better."""
    observation = np.array([[0.0, 1.0, -3.0, 1e6]])
    np.testing.assert_allclose(shown(Running((4,)), observation), clipped(observation), rtol=1e-6)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    mean=st.floats(-1e4, 1e4),
    spread=st.floats(1e-2, 1e4),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
)
def test_mean_and_spread_are_those_of_all_batches_seen(seed, mean, spread, sizes):
    """Of batches of one size each position counts alike; of others each batch does."""
    rng = np.random.default_rng(seed)
    inputs, size = Running((3,)), sizes[0]
    batches = [rng.normal(mean, spread, (size, 3)).astype(np.float32) for _ in sizes]
    for batch in batches:
        inputs.learn(batch)
    everything = np.concatenate(batches).astype(np.float64)
    if size * len(sizes) == 1:
        return
    expected = clipped((everything - everything.mean(0)) / everything.std(0))
    np.testing.assert_allclose(shown(inputs, everything), expected, atol=2e-3 * max(1.0, abs(mean) / spread / 1e3))


def test_running_forgets_what_lies_more_than_its_memory_back():
    """An agent that gets further sees other numbers than it began with."""
    inputs = Running((1,))
    for _ in range(MEMORY):
        inputs.learn(np.array([[0.0], [2.0]], np.float32))
    for _ in range(6 * MEMORY):
        inputs.learn(np.array([[100.0], [102.0]], np.float32))
    assert abs(float(inputs.mean) - 101.0) < 0.5


@pytest.mark.parametrize("constant", [0.0, 1e-7, 3.0, -5e6])
def test_what_never_varied_counts_in_units_of_its_own_size(constant):
    """It shows as 0; where it is doubled once, as 1, clipped, and not as an explosion."""
    inputs = Running((1,))
    for _ in range(3):
        inputs.learn(np.full((8, 1), constant, np.float32))
    assert abs(shown(inputs, np.full((1, 1), constant))[0, 0]) < 1e-5
    other = 2 * constant if constant else 1.0
    assert abs(shown(inputs, np.full((1, 1), other))[0, 0]) == pytest.approx(clipped(1.0), rel=1e-5)


def test_one_hots_are_left_as_they_are():
    """0 and 1 stay 0 and 1, however seldom a 1 comes; numbers beside them are scaled."""
    inputs = Running((3,), np.array(["one-hot", "numbers", "one-hot"]))
    fresh = shown(inputs, np.array([[1.0, 0.0, 0.0]]))
    for _ in range(3):
        inputs.learn(np.random.default_rng(0).normal([0.01, 5.0, 1.0], [0.1, 2.0, 0.0], (64, 3)).astype(np.float32))
    found = shown(inputs, np.array([[0.0, 5.0, 1.0], [1.0, 5.0, 0.0]]))
    np.testing.assert_allclose(fresh[:, [0, 2]], [[1, 0]], atol=1e-6)
    np.testing.assert_allclose(found[:, [0, 2]], [[0, 1], [1, 0]], atol=1e-6)
    assert abs(found[0, 1]) < 0.2


def test_channels_of_one_hots_are_left_as_they_are_where_all_of_one_is():
    """Mean and spread are a channel's, so part of one cannot be left out."""
    kinds = np.full((2, 3, 3), "one-hot")
    kinds[1, 2, 2] = "numbers"
    inputs = Running((2, 3, 3), kinds)
    inputs.learn(np.full((4, 2, 3, 3), 7.0, np.float32))
    np.testing.assert_allclose(shown(inputs, np.ones((1, 2, 3, 3)))[0, 0], 1.0, rtol=1e-6)
    assert inputs.mean.ravel().tolist() == [0.0, 7.0]


def test_only_pictures_are_divided_where_the_parts_are_known():
    """What stands beside a picture stays; a game that shows none is told so."""
    kinds = np.array(["picture", "picture", "one-hot"])
    np.testing.assert_allclose(shown(Pictures(kinds), np.array([[0, 255, 1]])), [[0.0, 1.0, 1.0]], rtol=1e-6)
    assert Pictures(kinds[:2]).share.shape == ()
    with pytest.raises(UserError, match=r"needs pictures of 0 to 255; this game shows none. Set it to running"):
        make_inputs((3,), small_config(observation_scaling="pictures"), kinds[[2, 2, 2]])


def test_kinds_of_numbers_follow_from_the_parts_of_an_observation():
    """In their order, in the observation's shape; nothing is known where no parts are told."""
    spec = GameSpec(
        name="nobody:Knows",
        num_actions=1,
        observation_shape=BOARD,
        observation_dtype="float32",
        num_players=1,
        max_steps=None,
        action_names=("a",),
    )
    assert observation_kinds(spec) is None
    parts = (
        ObservationPart(name="a", kind="picture", shape=(1, 3, 3), start=0, stop=9),
        ObservationPart(name="b", kind="one-hot", shape=(9,), start=9, stop=18, sizes=(4, 5)),
    )
    kinds = observation_kinds(msgspec.structs.replace(spec, observation_parts=parts))
    assert kinds is not None
    assert kinds.shape == BOARD
    assert kinds[0].tolist() == [["picture"] * 3] * 3
    assert kinds[1].tolist() == [["one-hot"] * 3] * 3


def test_planes_have_one_mean_and_spread_for_each_channel():
    """Where a thing stands on a picture does not change how it looks."""
    inputs = Running((2, 4, 4))
    batch = np.random.default_rng(0).normal([[[[3.0]], [[-1.0]]]], [[[[2.0]], [[0.5]]]], (64, 2, 4, 4))
    inputs.learn(batch.astype(np.float32))
    assert inputs.mean.shape == (2, 1, 1)
    np.testing.assert_allclose(inputs.mean.ravel(), [3.0, -1.0], atol=0.2)
    np.testing.assert_allclose(1 / (LINEAR * inputs.scale.ravel()), [2.0, 0.5], rtol=0.1)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 3)])
def test_observations_of_any_rank_are_learned_from_and_taken_up_again(shape):
    """With the same bits; extremes stay finite."""
    inputs, other = Running(shape), Running(shape)
    rng = np.random.default_rng(1)
    for size in (1e-38, 1e-3, 1e37):
        inputs.learn(rng.normal(scale=size, size=(5, *shape)).astype(np.float32))
    assert np.isfinite(shown(inputs, rng.normal(scale=1e37, size=(2, *shape)))).all()
    other.restore(inputs.state())
    for one in (inputs, other):
        one.learn(np.ones((5, *shape), np.float32))
    assert all(np.array_equal(array, other.state()[name]) for name, array in inputs.state().items())
    assert torch.equal(inputs.mean, other.mean)
    assert torch.equal(inputs.scale, other.scale)


@pytest.mark.parametrize(
    "planted", [{}, {"observation_mean": np.zeros(4)}, {"observation_variance": np.full(3, np.nan)}]
)
def test_what_is_no_state_of_these_observations_is_refused(planted):
    """A checkpoint of other settings, say."""
    state = Running((3,)).state() | planted if planted else {}
    with pytest.raises(UserError, match=r"a learner's state must have observation_.*Take another checkpoint"):
        Running((3,)).restore(state)


@pytest.mark.parametrize("body", ["mlp", "conv"])
@pytest.mark.parametrize("scaling", ["running", "pictures"])
def test_files_show_bodies_what_torch_does(body, scaling):
    """With what was learned after the exporter was made."""
    network = small_network(body=body, observation_scaling=scaling)
    exporter = Exporter(network, 1.0)
    rng = np.random.default_rng(0)
    for _ in range(3):
        network.inputs.learn(rng.normal(30.0, 7.0, (16, *BOARD)).astype(np.float32))
    files = exporter.files(network, 1)
    check_parity(network, files)
    observation = rng.normal(30.0, 7.0, (4, *BOARD)).astype(np.float32)
    with torch.no_grad():
        expected = network.represent(torch.from_numpy(observation))
    np.testing.assert_allclose(OnnxModel(files).initial(observation).latent, expected, rtol=1e-4, atol=1e-5)


def test_parity_notices_what_was_learned_of_observations():
    """Files from before a batch are not those of the network after it."""
    network = small_network(observation_scaling="running")
    files = Exporter(network, 1.0).files(network, 1)
    network.inputs.learn(np.random.default_rng(0).normal(3.0, 2.0, (16, *BOARD)).astype(np.float32))
    with pytest.raises(ParityError):
        check_parity(network, files)


def test_the_clip_is_what_its_description_says():
    """Numbers of the docstring."""
    assert [round(float(clipped(x)), 2) for x in (1.0, 3.0, 10.0)] == [0.91, 2.35, 5.49]
    assert math.floor(float(clipped(1000.0))) == 26
