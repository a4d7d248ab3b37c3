"""The body of rows and columns: what a block computes, and that files and gradients are those of its forward pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from numzero.inference import OnnxModel
from numzero.networks.bodies.axial import LineBlock
from numzero.networks.config import AxialConfig, network_config
from numzero.networks.export import PARITY_TOLERANCE, Exporter, check_parity
from numzero.networks.network import make_network
from tests.reference.agents import small_network

SHAPES = [(2, 4, 4), (3, 2, 5), (1, 6, 1)]


@pytest.mark.parametrize("hidden_norm", [False, True])
@pytest.mark.parametrize(("height", "width"), [(4, 4), (2, 5), (1, 3)])
@torch.no_grad()
def test_a_block_adds_to_each_place_what_its_row_and_its_column_say(height, width, hidden_norm):
    """Line by line, each by itself; all rows by one layer, all columns by another."""
    torch.manual_seed(0)
    block = LineBlock((height, width, 3), AxialConfig(width=7, hidden_norm=hidden_norm))
    x = torch.randn(2, height, width, 3)
    expected = x.clone()
    for n in range(2):
        for i in range(height):
            expected[n, i] += block.row(x[n, i].reshape(1, -1)).view(width, 3)
        for j in range(width):
            expected[n, :, j] += block.column(x[n, :, j].reshape(1, -1)).view(height, 3)
    torch.testing.assert_close(block(x), expected)


@torch.no_grad()
def test_one_block_sees_whole_lines_and_nothing_else():
    """What changes at one place changes what is said of its row and of its column."""
    torch.manual_seed(0)
    block, x = LineBlock((4, 4, 3), AxialConfig(width=32)), torch.randn(1, 4, 4, 3)
    other = x.clone()
    other[0, 1, 2] += 1.0
    changed = ((block(other) - block(x)).abs() > 0).any(dim=3)[0]
    expected = torch.zeros(4, 4, dtype=torch.bool)
    expected[1], expected[:, 2] = True, True
    assert torch.equal(changed, expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("changes", [{}, {"hidden_norm": True, "activation": "silu"}, {"blocks": 0}])
def test_files_are_what_torch_computes(shape, changes):
    """Boards of any sides, with planes in the order of observations."""
    body = {"kind": "axial", "channels": 5, "blocks": 2, "width": 8, "head_scale": 1.0, **changes}
    network = make_network(shape, 3, network_config(body=body), seed=1)
    assert network.latent_shape == (*shape[1:], 5)
    files = Exporter(network, 1.0).files(network, 1)
    assert check_parity(network, files) <= PARITY_TOLERANCE
    board = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    with torch.no_grad():
        expected = network.represent(torch.from_numpy(board))
    np.testing.assert_allclose(OnnxModel(files).initial(board).latent, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_weight_has_a_gradient(shape):
    """From the first place on."""
    network = small_network(observation_shape=shape, body="axial", blocks=2)
    latent = network.represent(torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)))
    network.prediction(network.dynamics(latent, torch.tensor([0, 1]))).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        if not name.startswith("dynamics.action"):  # two actions were played
            assert parameter.grad.abs().max() > 0, name
