"""The networks in torch: shapes, ranges, where they start, what they refuse."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from numzero.errors import UserError
from numzero.networks.network import MuZeroNetwork, make_network
from tests.reference.agents import BOARD, NUM_ACTIONS, small_config, small_network

BODIES = ("mlp", "conv", "image", "axial")


def weights_of(network: MuZeroNetwork) -> bytes:
    return b"".join(parameter.detach().numpy().tobytes() for parameter in network.parameters())


def latents(network: MuZeroNetwork, observation: torch.Tensor) -> list[torch.Tensor]:
    """Of the observation, and of three actions after it."""
    found = [network.represent(observation)]
    for action in range(3):
        found.append(network.dynamics(found[-1], torch.full((len(observation),), action)))
    return found


@pytest.mark.parametrize("body", BODIES)
@settings(max_examples=12)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([0.0, 1e-3, 1.0, 1e4]))
@torch.no_grad()
def test_minmax_keeps_latents_in_0_to_1_and_reaches_both(body, seed, scale):
    """Whatever the observations' size, and however often the dynamics runs."""
    network = small_network(seed % 7, body=body, latent_scaling="minmax")
    observation = scale * torch.randn(4, *BOARD, generator=torch.Generator().manual_seed(seed))
    for latent in latents(network, observation):
        flat = latent.flatten(1)
        assert flat.min() == 0.0
        assert flat.max() <= 1.0
        is_constant = (flat == 0.0).all(1)  # every unit dead, as may be where nothing is seen
        assert (is_constant | (flat.amax(1) > 1.0 - 1e-6)).all()  # random weights are far above the least range, 1e-5
        assert scale < 1.0 or not is_constant.any()


@torch.no_grad()
def test_minmax_of_a_constant_latent_is_0_and_finite():
    """Where there is no range there is nothing to divide by."""
    network = small_network()
    assert network.representation.scale(torch.full((2, 6), 3.0)).tolist() == [[0.0] * 6] * 2


@pytest.mark.parametrize("body", BODIES)
@torch.no_grad()
def test_layernorm_gives_latents_mean_0_and_variance_1(body):
    """Over all elements of a latent, for each row by itself."""
    network = small_network(body=body, latent_scaling="layernorm")
    for latent in latents(network, torch.randn(4, *BOARD, generator=torch.Generator().manual_seed(0))):
        flat = latent.flatten(1)
        np.testing.assert_allclose(flat.mean(1), 0.0, atol=1e-5)
        np.testing.assert_allclose(flat.var(1, correction=0), 1.0, rtol=1e-2)


@pytest.mark.parametrize(
    ("body", "latent_shape"), [("mlp", (6,)), ("conv", (3, 3, 3)), ("image", (3, 3, 3)), ("axial", (3, 3, 3))]
)
@torch.no_grad()
def test_outputs_have_the_documented_shapes(body, latent_shape):
    """[N, *H], [N, A], [N, bins] twice, [N]."""
    network = small_network(body=body)
    assert network.latent_shape == latent_shape
    latent = network.represent(torch.zeros(4, *BOARD))
    assert latent.shape == (4, *latent_shape)
    assert network.dynamics(latent, torch.zeros(4, dtype=torch.int32)).shape == latent.shape
    heads = network.predict(latent)
    assert [tuple(logits.shape) for logits in heads.values()] == [(4, NUM_ACTIONS), (4, 7), (4, 5)]
    assert network.decode("value", heads["value"]).shape == (4,)


@pytest.mark.parametrize("body", BODIES)
@torch.no_grad()
def test_head_scale_0_starts_with_a_uniform_policy_and_nothing_expected(body):
    """The first games are then played by search alone."""
    network = make_network(BOARD, NUM_ACTIONS, small_config(body=body, head_scale=0.0), seed=3)
    heads = network.predict(network.represent(torch.randn(4, *BOARD)))
    np.testing.assert_array_equal(heads["policy"].softmax(-1), np.full((4, NUM_ACTIONS), 0.2, np.float32))
    np.testing.assert_allclose(network.decode("value", heads["value"]), 0.0, atol=1e-6)
    np.testing.assert_allclose(network.decode("reward", heads["reward"]), 0.0, atol=1e-6)


@pytest.mark.parametrize("body", BODIES)
@torch.no_grad()
def test_actions_lead_to_different_latents(body):
    """The dynamics looks at the action, at every one of them."""
    network = small_network(body=body)
    latent = network.represent(torch.ones(1, *BOARD)).expand(NUM_ACTIONS, *network.latent_shape)
    after = network.dynamics(latent, torch.arange(NUM_ACTIONS)).flatten(1)
    for one, other in itertools.combinations(after, 2):
        assert (one - other).abs().max() > 1e-3


@torch.no_grad()
def test_symlog_is_sign_times_log_of_1_plus_size():
    """The network sees the logarithm, its sign kept."""
    observation = torch.tensor([[0.0, 1.0, -1.0, 1e4, -1e4, 0.5]])
    plain = small_network(observation_shape=(6,))
    symlog = small_network(observation_shape=(6,), observation_scaling="symlog")
    x = observation.numpy()
    expected = torch.from_numpy(np.sign(x) * np.log(1.0 + np.abs(x)))
    torch.testing.assert_close(symlog.represent(observation), plain.represent(expected))


@pytest.mark.parametrize("body", BODIES)
def test_make_network_depends_on_its_seed_alone(body):
    """Not on what was drawn before; another seed gives other weights."""
    made = []
    for disturbance, seed in ((1, 5), (2, 5), (2, 6)):
        torch.manual_seed(disturbance)
        made.append(weights_of(make_network(BOARD, NUM_ACTIONS, small_config(body=body), seed)))
    assert made[0] == made[1]
    assert made[1] != made[2]


def test_make_network_leaves_torchs_random_state_alone():
    """Whoever draws from torch afterwards gets what they would have got."""
    before = torch.get_rng_state()
    make_network(BOARD, NUM_ACTIONS, small_config(), seed=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("body", ["conv", "image", "axial"])
@pytest.mark.parametrize("shape", [(4,), (3, 3), (1, 2, 3, 3)])
def test_convolutions_refuse_observations_that_are_no_images(body, shape):
    """One sentence with the shape seen and the way out."""
    message = (
        rf"needs observations \[channels, height, width\].*are \[{str(list(shape))[1:-1]}\]. Set network.body to mlp"
    )
    with pytest.raises(UserError, match=message):
        make_network(shape, 2, small_config(body=body), seed=0)


def test_bad_settings_are_refused_before_anything_is_built():
    """All problems, in one error."""
    with pytest.raises(UserError, match=r"network.body.width must be .*; got 0. network.value.num_bins must be"):
        make_network(BOARD, 2, small_config(width=0, value={"num_bins": 1}), seed=0)
