"""Gradients by hand are those of autograd, for every shape of plain MLP."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from numzero.networks.activations import ACTIVATIONS, Activation, Compiled
from numzero.networks.bodies.mlp import MlpDynamics, MlpPrediction
from numzero.networks.by_hand import Linear, Norm
from numzero.networks.gradients import AutogradUnroll, ByHandUnroll, Unroll, make_unroll
from numzero.networks.layers import HiddenLayer, LatentScale
from numzero.networks.network import MuZeroNetwork, make_network
from tests.reference.agents import BOARD, NUM_ACTIONS, small_config, small_network

PLAIN = st.fixed_dictionaries(
    {
        "activation": st.sampled_from(sorted(ACTIVATIONS)),
        "hidden_norm": st.booleans(),
        "observation_scaling": st.sampled_from(["none", "symlog", "running"]),
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
        for kind in (ByHandUnroll.of, AutogradUnroll)
    )
    assert_alike(by_hand, automatic)


def test_batches_may_change_their_shape():
    """Buffers are made anew for another number of rows or steps, also after an encoding of others."""
    network = plain_network(hidden_norm=True)
    unroll = ByHandUnroll.of(network, 0.5)
    for seed, (num_rows, num_steps) in enumerate([(4, 3), (2, 3), (4, 1), (4, 3)]):
        found = results(unroll, network, seed, num_rows, num_steps)
        assert_alike(found, results(AutogradUnroll(network, 0.5), network, seed, num_rows, num_steps))
        unroll.represent(windows(seed, num_rows + seed % 2, 1)[0])


@pytest.mark.parametrize("kind", [ByHandUnroll.of, AutogradUnroll])
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
    unroll = ByHandUnroll.of(network, 0.5)
    results(unroll, network, 0, 3, 2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0.5)
    assert_alike(results(unroll, network, 0, 3, 2), results(AutogradUnroll(network, 0.5), network, 0, 3, 2))


def test_plain_networks_get_gradients_by_hand():
    """MLPs with LayerNorm of the latent; of all else no layer says how, and autograd serves."""
    assert isinstance(make_unroll(plain_network(), 0.5), ByHandUnroll)
    assert isinstance(make_unroll(small_network(latent_scaling="minmax"), 0.5), AutogradUnroll)
    assert isinstance(make_unroll(small_network(body="conv", latent_scaling="layernorm"), 0.5), AutogradUnroll)


@settings(max_examples=10)
@given(shape=PLAIN, seed=st.integers(0, 2), head_scale=st.sampled_from([0.0, 1.0]))
def test_gradients_by_hand_are_found_right_whatever_the_weights_are(shape, seed, head_scale):
    """Also of fresh heads, whose weights are 0; of an average network, without gradients, the encoding is compared."""
    network = make_network(
        BOARD, NUM_ACTIONS, small_config(latent_scaling="layernorm", head_scale=head_scale, **shape), 0
    )
    assert isinstance(make_unroll(copy.deepcopy(network).requires_grad_(False), 0.5), ByHandUnroll)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    assert isinstance(make_unroll(network, 0.5), ByHandUnroll)


def test_the_comparison_leaves_no_trace():
    """Weights are what they were, bit for bit, and so is torch's own random state."""
    network, state = plain_network(), torch.get_rng_state()
    before = [parameter.detach().clone() for parameter in network.parameters()]
    make_unroll(network, 0.5)
    for parameter, kept in zip(network.parameters(), before, strict=True):
        assert torch.equal(parameter, kept)
        assert torch.count_nonzero(parameter.grad) == 0
        assert parameter.requires_grad
    assert torch.equal(torch.get_rng_state(), state)


def gelu_layer(self: HiddenLayer, x: torch.Tensor, extra: torch.Tensor | None = None) -> torch.Tensor:
    return functional.gelu(self.dense(x, extra))


def relu6_layer(self: HiddenLayer, x: torch.Tensor, extra: torch.Tensor | None = None) -> torch.Tensor:
    return functional.relu6(self.dense(x, extra))


def softer_norm(self: LatentScale, x: torch.Tensor) -> torch.Tensor:
    return functional.layer_norm(x, self.shape, eps=2e-5)


def clipped(self: MlpPrediction, x: torch.Tensor) -> torch.Tensor:
    return self.output(self.hidden(x)).clamp(-3.0, 3.0)


def detached(self: MlpDynamics, latent: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    x = self.first(latent.detach(), functional.embedding(action, self.action))
    return self.scale(self.output(self.hidden(x), latent))


@pytest.mark.parametrize(
    ("kind", "forward"),
    [
        (HiddenLayer, gelu_layer),
        (HiddenLayer, relu6_layer),
        (LatentScale, softer_norm),
        (MlpPrediction, clipped),
        (MlpDynamics, detached),
    ],
)
def test_a_layer_that_was_changed_is_differentiated_by_autograd(monkeypatch, kind, forward):
    """Another activation, another constant, another output, another way of the gradient alone: the numbers tell."""
    monkeypatch.setattr(kind, "forward", forward)
    network = plain_network()
    assert ByHandUnroll.of(network, 0.5) is not None, "its layers still say how they were computed before"
    assert isinstance(make_unroll(network, 0.5), AutogradUnroll)


@pytest.mark.parametrize("operation", [(Linear, "backward"), (Norm, "backward"), (Norm, "write_gradients")])
def test_stages_that_compute_something_else_are_refused(monkeypatch, operation):
    """A wrong way back is found where the way forward is right."""
    kind, name = operation
    honest = getattr(kind, name)

    def wrong(self: Any, *arguments: Any) -> None:
        honest(self, *arguments)
        array = arguments[-1] if name == "backward" else self.parameters[0].grad
        array *= 1.01

    network = plain_network(hidden_norm=True)
    assert isinstance(make_unroll(network, 0.5), ByHandUnroll)
    if name == "write_gradients":
        monkeypatch.setattr(kind, name, lambda self, *arguments: self.parameters[0] is None or wrong(self, *arguments))
    else:
        monkeypatch.setattr(kind, name, wrong)
    assert isinstance(make_unroll(network, 0.5), AutogradUnroll)


def test_a_subclass_that_says_nothing_new_is_compared_too():
    """A layer that inherits its stages and computes something else."""

    class Squared(HiddenLayer):
        def forward(self, x: torch.Tensor, extra: torch.Tensor | None = None) -> torch.Tensor:
            return functional.relu(self.dense(x, extra)).square()

    network = plain_network()
    network.dynamics.first.__class__ = Squared
    assert isinstance(make_unroll(network, 0.5), AutogradUnroll)


def test_an_activation_is_one_entry(monkeypatch):
    """Its name in torch is enough: gradients by autograd are right; with operators for both ways they are by hand."""
    monkeypatch.setitem(ACTIVATIONS, "elu", Activation("elu"))
    network = plain_network(activation="elu")
    assert isinstance(make_unroll(network, 0.5), AutogradUnroll)
    monkeypatch.setitem(ACTIVATIONS, "leaky", Activation("leaky_relu", compiled=Compiled("relu", "threshold_backward")))
    with pytest.raises(TypeError):  # operators that are called wrongly are a mistake to be shown, not a number
        make_unroll(plain_network(activation="leaky"), 0.5)
    compiled = Compiled("hardtanh", "hardtanh_backward", (-1.0, 1.0))
    monkeypatch.setitem(ACTIVATIONS, "hardtanh", Activation("hardtanh", compiled=compiled))
    assert isinstance(make_unroll(plain_network(activation="hardtanh"), 0.5), ByHandUnroll)
    other = Compiled("hardtanh", "hardtanh_backward", (-2.0, 2.0))
    monkeypatch.setitem(ACTIVATIONS, "hardtanh", Activation("hardtanh", compiled=other))
    assert isinstance(make_unroll(plain_network(activation="hardtanh"), 0.5), AutogradUnroll)
