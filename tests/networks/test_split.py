"""Unrolls that are split over threads compute what one thread computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from numzero.networks import precision
from numzero.networks.config import network_config
from numzero.networks.gradients import AutogradUnroll, ByHandUnroll, make_unroll
from numzero.networks.layers import Conv, channels_last
from numzero.networks.network import MuZeroNetwork, make_network
from numzero.networks.parts import SplitUnroll
from numzero.networks.products import TILE_ROWS, add_tile
from numzero.networks.split import PlainSplitUnroll
from numzero.networks.split_kernels import part_bounds
from numzero.search.proposals import Proposal
from numzero.training.config import LearnerConfig
from numzero.training.learning.consistency import flat_gradient, flatten
from numzero.training.learning.learner import Learner
from tests.networks.test_gradients import PLAIN, assert_alike, results, windows
from tests.reference.agents import small_network


def flat_network(seed: int = 0, **changes: Any) -> MuZeroNetwork:
    """Its parameters are views of one vector, as a learner has them."""
    network = small_network(seed, **{"latent_scaling": "layernorm", **changes})
    flatten(network)
    flat_gradient(network)
    return network


@settings(max_examples=25)
@given(
    shape=PLAIN,
    seed=st.integers(0, 1000),
    num_rows=st.one_of(st.integers(1, 37), st.just(140)),  # more than a block of rows in a part
    num_steps=st.integers(1, 3),
    scale=st.sampled_from([0.0, 0.5, 1.0]),
    num_parts=st.integers(1, 4),
    latents_matter=st.booleans(),
)
def test_plain_networks_in_parts_have_autograds_gradients(
    shape, seed, num_rows, num_steps, scale, num_parts, latents_matter
):
    """Latents, outputs and gradients, also where there are fewer rows than threads, and twice in a row."""
    network = flat_network(seed % 3, **shape)
    split = PlainSplitUnroll.of(network, scale, num_parts)
    assert split is not None
    how = {"num_rows": num_rows, "num_steps": num_steps, "latents_matter": latents_matter}
    first, again = (results(split, network, seed, **how) for _ in range(2))
    assert_alike(first, results(AutogradUnroll(network, scale), network, seed, **how))
    for name, array in first.items():
        np.testing.assert_array_equal(again[name], array, err_msg=name)


@pytest.mark.parametrize("num_threads", [2, 3])
def test_any_network_in_parts_has_the_gradients_of_one_part(num_threads):
    """Convolutions, by autograd: 7 rows on 2 and on 3 threads."""
    network = flat_network(body="conv")
    split, whole = make_unroll(network, 0.5, num_threads), AutogradUnroll(network, 0.5)
    assert isinstance(split, SplitUnroll)
    found, expected = (results(unroll, network, 1, 7, 2) for unroll in (split, whole))
    assert_alike(found, expected)
    observation = windows(1, 5, 1)[0]
    torch.testing.assert_close(split.represent(observation), whole.represent(observation))


@pytest.mark.parametrize("num_rows", [1, 7, 70])
def test_action_vectors_in_parts_have_the_gradients_of_one_part(num_rows):
    """By hand in each part, where kernels of whole batches know lists alone; twice in a row, and of fewer rows."""
    proposal = Proposal.parsed("box 2")
    network = make_network((4,), 16, network_config(latent_scaling="layernorm", head_scale=1.0), 0, proposal=proposal)
    flatten(network)
    flat_gradient(network)
    split, whole = make_unroll(network, 0.5, 3), ByHandUnroll.of(network, 0.5)
    assert isinstance(split, SplitUnroll)
    for count in (num_rows, 3):
        rng = np.random.default_rng(count)
        seen = torch.from_numpy(rng.normal(size=(count, 4)).astype(np.float32))
        action = torch.from_numpy(proposal.uniform(rng, (count, 2)))
        found, expected = (_gradients_of(unroll, network, seen, action) for unroll in (split, whole))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def _gradients_of(unroll: Any, network: MuZeroNetwork, seen: torch.Tensor, action: torch.Tensor) -> list[torch.Tensor]:
    """All results, and the gradients of all parameters for random ones at them; copied."""
    results = [result.clone() for result in unroll.forward(seen, action)]
    generator = torch.Generator().manual_seed(1)
    unroll.backward(*(torch.randn(result.shape, generator=generator) for result in results))
    return results + [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]


def test_the_kind_of_unroll_follows_from_network_and_threads():
    """Kernels where they know the layers and the vector of parameters, else autograd; nothing new on one thread."""
    assert isinstance(make_unroll(flat_network(), 0.5, 2), PlainSplitUnroll)
    assert isinstance(make_unroll(flat_network(body="conv"), 0.5, 2), SplitUnroll)
    assert isinstance(make_unroll(flat_network(latent_scaling="minmax"), 0.5, 2), SplitUnroll)
    assert not isinstance(make_unroll(flat_network(), 0.5, 1), PlainSplitUnroll)
    scattered = small_network(0, latent_scaling="layernorm")
    assert PlainSplitUnroll.of(scattered, 0.5, 2) is None


@given(num_rows=st.integers(1, 300), num_parts=st.integers(1, 40))
def test_parts_cover_every_row_once(num_rows, num_parts):
    """In order, and none is much longer than another."""
    bounds = part_bounds(num_rows, num_parts)
    assert (bounds[0], bounds[-1], len(bounds)) == (0, num_rows, num_parts + 1)
    sizes = np.diff(bounds)
    assert sizes.min() >= 0
    assert sizes.max() - sizes.min() <= 2 * 8


def test_a_tile_is_a_matrix_product_in_either_direction():
    """The plain loops, which are what runs where Numba is off."""
    rng = np.random.default_rng(0)
    x, w, y = (rng.normal(size=size).astype(np.float32) for size in ((TILE_ROWS, 5), (5, 32), (TILE_ROWS, 32)))
    strips = np.concatenate([w[:, :16], w[:, 16:]])
    for left, steps in ((x, (5, 1)), (np.ascontiguousarray(x.T), (1, TILE_ROWS))):
        for right, places in ((w, (32, 16)), (strips, (16, 80))):
            found = y.copy()
            arrays = (found.reshape(-1), 0, 32), (left.reshape(-1), 0, *steps), (right.reshape(-1), 0, *places)
            add_tile(TILE_ROWS, 2, *arrays, 5)
            np.testing.assert_allclose(found, y + x @ w, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_threads", [1, 2])
def test_bfloat16_is_near_float32_and_leaves_weights_and_results_in_float32(monkeypatch, num_threads):
    """Convolutions of half the bits: outputs and gradients differ by some percent of the largest.

    That holds where activations are smooth: a number whose sign is rounded away switches a relu, and its gradient, off.
    """
    monkeypatch.setattr(functional, "relu", functional.silu)
    network = flat_network(body="conv")
    low = make_unroll(network, 0.5, num_threads, "bfloat16")
    found, expected = (results(unroll, network, 1, 7, 2) for unroll in (low, AutogradUnroll(network, 0.5)))
    for name, array in expected.items():
        assert found[name].dtype == np.float32, name
        assert np.abs(found[name] - array).max() <= 0.1 * np.abs(array).max() + 1e-3, name
    assert not np.array_equal(found["outputs"], expected["outputs"])


@pytest.mark.parametrize("scaling", ["layernorm", "minmax"])
def test_in_bfloat16_channels_lie_side_by_side_in_every_convolution(scaling):
    """Of all steps, the first on: in any other order each would take several times as long."""
    network = flat_network(body="conv", latent_scaling=scaling)
    orders: list[bool] = []
    for module in network.modules():
        if isinstance(module, Conv):
            module.register_forward_pre_hook(lambda _, inputs: orders.append(channels_last(inputs[0])))
    AutogradUnroll(network, 0.5, "bfloat16").unrolled(*windows(0, 7, 2)[:2])
    assert len(orders) == 3 + 2 * 3 + 1  # a stem and a block each, then the prediction's
    assert all(orders)


@pytest.mark.parametrize("scaling", ["layernorm", "minmax"])
@pytest.mark.parametrize("shares", [False, True])
def test_the_order_in_memory_changes_no_number(scaling, shares):
    """Dynamics of latents whose channels lie side by side, of actions and of shares of them: forward and back."""
    network = flat_network(body="conv", latent_scaling=scaling)
    rng = np.random.default_rng(0)
    latent = torch.from_numpy(rng.normal(size=(7, *network.latent_shape)).astype(np.float32))
    action = torch.from_numpy(rng.integers(0, 4, 7))
    if shares:
        action = torch.from_numpy(rng.dirichlet(np.ones(network.num_actions), 7).astype(np.float32))
    found = []
    for order in (torch.contiguous_format, torch.channels_last):
        after = network.dynamics(latent.to(memory_format=order), action)
        gradients = torch.autograd.grad((after * latent).sum(), list(network.dynamics.parameters()))
        found.append([after, *gradients])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_bfloat16_stays_off_where_it_gains_nothing(monkeypatch):
    """On processors without instructions for it, and in networks of plain layers; it is said which."""
    monkeypatch.setattr(precision.llvmlite.binding, "get_host_cpu_features", lambda: {"avx2": True})
    assert "no instructions" in precision.refused(flat_network(body="conv"))
    monkeypatch.setattr(precision.llvmlite.binding, "get_host_cpu_features", lambda: {"amx-bf16": True})
    for body in ("conv", "image", "axial"):
        for chance in ("none", "known"):
            assert precision.refused(flat_network(body=body, chance=chance)) == ""
    assert "plain layers" in precision.refused(flat_network())
    learner = Learner(flat_network(), LearnerConfig(precision="bfloat16"), 10)
    assert "float32" in learner.refused
