"""Gradients by hand are those of autograd, for every shape of plain MLP."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from numzero.networks.modules import MuZeroNetwork
from numzero.networks.unroll import AutogradUnroll, MlpUnroll, Unroll, make_unroll
from tests.reference.agents import BOARD, NUM_ACTIONS, small_network

PLAIN = st.fixed_dictionaries(
    {
        "activation": st.sampled_from(["relu", "silu"]),
        "hidden_norm": st.booleans(),
        "observation_scaling": st.sampled_from(["none", "symlog"]),
        "representation_layers": st.integers(0, 2),
        "dynamics_layers": st.integers(1, 3),
        "prediction_layers": st.integers(1, 2),
    }
)


def plain_network(seed: int = 0, **changes: Any) -> MuZeroNetwork:
    network = small_network(seed, latent_scaling="layernorm", **changes)
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, torch.nan)  # whatever was there is overwritten
    return network


def windows(seed: int, num_rows: int, num_steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    observation = rng.normal(size=(num_rows, *BOARD)).astype(np.float32)
    return torch.from_numpy(observation), torch.from_numpy(
        rng.integers(NUM_ACTIONS, size=(num_rows, num_steps), dtype=np.int32)
    )


def results(
    unroll: Unroll, network: MuZeroNetwork, seed: int, num_rows: int, num_steps: int, *, latents_matter: bool = True
) -> dict[str, np.ndarray[Any, Any]]:
    """Latents, outputs and the gradients of all parameters, copied."""
    latents, outputs = unroll.forward(*windows(seed, num_rows, num_steps))
    found = {"latents": latents.numpy().copy(), "outputs": outputs.numpy().copy()}
    generator = torch.Generator().manual_seed(seed)
    d_latents = torch.randn(latents.shape, generator=generator) if latents_matter else None
    unroll.backward(d_latents, torch.randn(outputs.shape, generator=generator))
    return found | {name: p.grad.numpy().copy() for name, p in network.named_parameters() if p.grad is not None}


def assert_alike(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        size = np.abs(array).max()
        np.testing.assert_allclose(found[name], array, rtol=1e-3, atol=1e-4 * size + 1e-6, err_msg=name)


@settings(max_examples=25)
@given(
    shape=PLAIN,
    seed=st.integers(0, 1000),
    num_rows=st.integers(1, 6),
    num_steps=st.integers(1, 4),
    scale=st.sampled_from([0.0, 0.5, 1.0]),
    latents_matter=st.booleans(),
)
def test_gradients_by_hand_are_autograds(shape, seed, num_rows, num_steps, scale, latents_matter):
    """Of every parameter, whatever is asked of latents and outputs."""
    network = plain_network(seed % 3, **shape)
    by_hand, automatic = (
        results(kind(network, scale), network, seed, num_rows, num_steps, latents_matter=latents_matter)
        for kind in (MlpUnroll, AutogradUnroll)
    )
    assert_alike(by_hand, automatic)


def test_batches_may_change_their_shape():
    """Buffers are made anew for another number of rows or steps, also after an encoding of others."""
    network = plain_network(hidden_norm=True)
    unroll = MlpUnroll(network, 0.5)
    for seed, (num_rows, num_steps) in enumerate([(4, 3), (2, 3), (4, 1), (4, 3)]):
        found = results(unroll, network, seed, num_rows, num_steps)
        assert_alike(found, results(AutogradUnroll(network, 0.5), network, seed, num_rows, num_steps))
        unroll.represent(windows(seed, num_rows + seed % 2, 1)[0])


@pytest.mark.parametrize("kind", [MlpUnroll, AutogradUnroll])
def test_represent_is_the_networks(kind):
    """Latents of observations, without a graph."""
    network = plain_network(observation_scaling="symlog")
    observation, _ = windows(0, 5, 1)
    latent = kind(network, 0.5).represent(observation)
    assert not latent.requires_grad
    torch.testing.assert_close(latent, network.represent(observation).detach(), rtol=1e-4, atol=1e-5)


def test_weights_are_seen_as_they_are_now():
    """Parameters that the optimiser changed in place count at once."""
    network = plain_network()
    unroll = MlpUnroll(network, 0.5)
    results(unroll, network, 0, 3, 2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0.5)
    assert_alike(results(unroll, network, 0, 3, 2), results(AutogradUnroll(network, 0.5), network, 0, 3, 2))


def test_plain_networks_get_gradients_by_hand():
    """MLPs with LayerNorm of the latent; all else is autograd's."""
    assert isinstance(make_unroll(plain_network(), 0.5), MlpUnroll)
    assert isinstance(make_unroll(small_network(latent_scaling="minmax"), 0.5), AutogradUnroll)
    assert isinstance(make_unroll(small_network(body="conv", latent_scaling="layernorm"), 0.5), AutogradUnroll)
