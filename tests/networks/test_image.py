"""The body for pictures: how small they become, and that files and gradients are those of its forward pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from numzero.inference import OnnxModel
from numzero.networks.config import (
    AxialConfig,
    ConvConfig,
    ImageConfig,
    MlpConfig,
    NetworkConfig,
    OutsideConfig,
    network_config,
)
from numzero.networks.export import PARITY_TOLERANCE, Exporter, check_parity
from numzero.networks.layers import Pool
from numzero.networks.network import make_network
from tests.reference.agents import small_network

SIZES = [
    ((12, 96, 96), 4, (6, 6)),
    ((4, 84, 84), 4, (6, 6)),
    ((3, 64, 64), 3, (8, 8)),
    ((3, 24, 24), 2, (6, 6)),
    ((4, 10, 10), 1, (5, 5)),
    ((1, 8, 8), 0, (8, 8)),
    ((3, 7, 7), 0, (7, 7)),
    ((3, 210, 160), 5, (7, 5)),
    ((1, 1, 40), 3, (1, 5)),
]


@pytest.mark.parametrize(("shape", "count", "small"), SIZES)
@torch.no_grad()
def test_pictures_are_halved_as_muzeros(shape, count, small):
    """96x96 and 84x84 to 6x6; the settings alone say what the network makes of them."""
    network = small_network(observation_shape=shape, body="image")
    body = network.config.body
    assert isinstance(body, ImageConfig)
    assert body.num_halvings(shape) == count
    assert body.latent_shape(shape) == network.latent_shape == (3, *small)
    assert network.represent(torch.zeros(2, *shape)).shape == (2, 3, *small)


@settings(max_examples=200)
@given(height=st.integers(1, 300), width=st.integers(1, 300), largest=st.integers(1, 40))
def test_the_larger_side_ends_at_the_largest_or_a_little_below(height, width, largest):
    """Counted one by one, each half rounded up."""
    body, sizes, count = ImageConfig(largest=largest), (height, width), 0
    while max(sizes) > largest:
        sizes, count = ((sizes[0] + 1) // 2, (sizes[1] + 1) // 2), count + 1
    assert (body.num_halvings((3, height, width)), body.latent_shape((3, height, width))) == (count, (32, *sizes))


def test_latent_shapes_are_known_without_a_network():
    """Where they can be."""
    assert MlpConfig(latent_size=7).latent_shape((3, 2)) == (7,)
    assert ConvConfig(channels=5).latent_shape((3, 8, 9)) == (5, 8, 9)
    assert AxialConfig(channels=5).latent_shape((3, 8, 9)) == (8, 9, 5)
    for body in (ConvConfig(), ImageConfig(), AxialConfig(), OutsideConfig(name="mine:Body")):
        assert body.latent_shape((4,)) is None
        assert NetworkConfig(body=body).latent_size((4,)) is None
    assert NetworkConfig(body=ImageConfig(channels=64)).latent_size((4, 84, 84)) == 64 * 6 * 6


@pytest.mark.parametrize("early_blocks", [0, 2])
@pytest.mark.parametrize("shape", [(2, 33, 20), (4, 10, 10), (3, 5, 5)])
def test_files_are_what_torch_computes(shape, early_blocks):
    """Odd sizes, one halving and none; bytes as they come."""
    body = {"kind": "image", "channels": 5, "blocks": 1, "early_blocks": early_blocks, "width": 8, "head_scale": 1.0}
    network = make_network(shape, 3, network_config(body=body, observation_scaling="pictures"), seed=1)
    files = Exporter(network, 1.0).files(network, 1)
    assert check_parity(network, files) <= PARITY_TOLERANCE
    pictures = np.random.default_rng(0).integers(256, size=(3, *shape), dtype=np.uint8)
    with torch.no_grad():
        expected = network.represent(torch.from_numpy(pictures).float())
    np.testing.assert_allclose(OnnxModel(files).initial(pictures).latent, expected, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_a_pool_is_the_mean_of_those_neighbours_that_there_are():
    """Also at the edges, of even and odd sizes."""
    for size in (1, 4, 5):
        x = torch.randn(1, 1, size, size, generator=torch.Generator().manual_seed(0))
        found = Pool()(x)[0, 0]
        for i in range((size + 1) // 2):
            for j in range((size + 1) // 2):
                near = x[0, 0, max(0, 2 * i - 1) : 2 * i + 2, max(0, 2 * j - 1) : 2 * j + 2]
                torch.testing.assert_close(found[i, j], near.mean())


def test_every_weight_of_a_body_for_pictures_has_a_gradient():
    """From the first convolution on."""
    network = small_network(observation_shape=(2, 33, 20), body="image")
    latent = network.represent(torch.randn(2, 2, 33, 20, generator=torch.Generator().manual_seed(0)))
    network.prediction(network.dynamics(latent, torch.tensor([0, 1]))).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
