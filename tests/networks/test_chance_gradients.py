"""Gradients by hand of networks with chance are those of autograd."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from numzero.networks.chance_gradients import (
    AutogradChance,
    ByHandChance,
    ChanceUnroll,
    SplitChance,
    make_chance_unroll,
)
from numzero.networks.network import MuZeroNetwork
from tests.networks.test_gradients import PLAIN, assert_alike
from tests.reference.agents import BOARD, NUM_ACTIONS, NUM_OUTCOMES, small_network

KINDS = ("known", "learned")


def chance_network(chance: str, seed: int = 0, **changes: Any) -> MuZeroNetwork:
    settings = {"latent_scaling": "layernorm", "num_codes": NUM_OUTCOMES, **changes}
    network = small_network(seed, chance=chance, **settings)
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, torch.nan)  # whatever was there is overwritten
    return network


def results(
    unroll: ChanceUnroll, network: MuZeroNetwork, seed: int, size: tuple[int, int], *, latents_matter: bool = True
) -> dict[str, Any]:
    """All that windows come to, and the gradients of all parameters; copied. Some outcomes are told."""
    rng, is_learned = np.random.default_rng(seed), network.config.chance == "learned"
    seen = rng.normal(size=(size[0], size[1] + 1 if is_learned else 1, *BOARD)).astype(np.float32)
    action = rng.integers(NUM_ACTIONS, size=size, dtype=np.int32)
    outcome = rng.integers(-1 if is_learned else 0, NUM_OUTCOMES, size=size, dtype=np.int32)
    found = unroll.forward(*map(torch.from_numpy, (seen, action, outcome)))
    kept = {name: array.numpy().copy() for name, array in found._asdict().items() if array.numel()}
    generator = torch.Generator().manual_seed(seed)
    drawn = (found.latents, found.outputs, found.afterstates, found.codes)
    d_latents, *others = (torch.randn(array.shape, generator=generator) for array in drawn)
    unroll.backward(d_latents if latents_matter else None, *others)
    return kept | {name: p.grad.numpy().copy() for name, p in network.named_parameters() if p.grad is not None}


@settings(max_examples=20)
@given(
    chance=st.sampled_from(KINDS),
    shape=PLAIN,
    seed=st.integers(0, 1000),
    size=st.tuples(st.integers(1, 6), st.integers(1, 4)),
    scale=st.sampled_from([0.0, 0.5, 1.0]),
    latents_matter=st.booleans(),
)
def test_gradients_by_hand_are_autograds(chance, shape, seed, size, scale, latents_matter):
    """Of every parameter, the encoder's too, whatever is asked of latents, outputs, afterstates and codes."""
    network = chance_network(chance, seed % 3, **shape)
    by_hand, automatic = (
        results(kind(network, scale), network, seed, size, latents_matter=latents_matter)
        for kind in (ByHandChance.of, AutogradChance)
    )
    assert_alike(by_hand, automatic)


def test_batches_may_change_their_shape():
    """Buffers are made anew for another number of rows or steps."""
    network = chance_network("learned", hidden_norm=True)
    unroll = ByHandChance.of(network, 0.5)
    for seed, size in enumerate([(4, 3), (2, 3), (4, 1), (4, 3)]):
        assert_alike(results(unroll, network, seed, size), results(AutogradChance(network, 0.5), network, seed, size))


@pytest.mark.parametrize("chance", KINDS)
@pytest.mark.parametrize("body", ["mlp", "conv", "axial"])
def test_in_parts_they_are_those_of_one_part(chance, body):
    """By hand and by autograd, on several threads; of 20 rows, then of fewer than threads, then of 20 again."""
    network = chance_network(chance, body=body)
    split, whole = make_chance_unroll(network, 0.5, 3), AutogradChance(network, 0.5)
    assert isinstance(split, SplitChance)
    for seed, size in enumerate([(20, 3), (2, 3), (1, 1), (20, 3)]):
        for matter in (True, False):
            found, expected = (results(unroll, network, seed, size, latents_matter=matter) for unroll in (split, whole))
            assert_alike(found, expected)


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("body", ["conv", "axial"])
@pytest.mark.parametrize("chance", KINDS)
def test_in_bfloat16_they_are_near_those_of_float32(chance, body, num_threads, monkeypatch):
    """By some percent of the largest, and float32 all the same; where activations are smooth, see test_split."""
    monkeypatch.setattr(functional, "relu", functional.silu)
    network = chance_network(chance, body=body, activation="silu")
    low = make_chance_unroll(network, 0.5, num_threads, "bfloat16")
    found, expected = (results(unroll, network, 1, (7, 2)) for unroll in (low, AutogradChance(network, 0.5)))
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        if name != "outcome":
            assert np.abs(found[name] - array).max() <= 0.1 * np.abs(array).max() + 1e-3, name
    assert not np.array_equal(found["outputs"], expected["outputs"])


@pytest.mark.parametrize("chance", KINDS)
def test_plain_networks_get_gradients_by_hand(chance):
    """MLPs with LayerNorm of the latent, whatever their weights are; of all else autograd serves."""
    for head_scale, activation in itertools.product((0.0, 1.0), ("relu", "silu")):
        network = chance_network(chance, head_scale=head_scale, activation=activation)
        assert isinstance(make_chance_unroll(network, 0.5), ByHandChance)
    assert isinstance(make_chance_unroll(chance_network(chance, latent_scaling="minmax"), 0.5), AutogradChance)
    assert isinstance(make_chance_unroll(chance_network(chance, body="conv"), 0.5), AutogradChance)


def test_gradients_that_differ_are_not_believed(monkeypatch):
    """A way back that leaves out what the shares pass on to the encoder."""
    network = chance_network("learned")
    assert isinstance(make_chance_unroll(network, 0.5), ByHandChance)
    monkeypatch.setattr(
        ByHandChance,
        "_encode_back",
        lambda self, d_codes: [p.grad.zero_() for p in network.chance.encoder.parameters()],
    )
    assert isinstance(make_chance_unroll(network, 0.5), AutogradChance)
