"""The products of an update are those that its layers need, and no others."""

from __future__ import annotations

import pytest
import torch

from numzero.errors import UserError
from numzero.networks.arithmetic import update_products
from tests.reference.agents import NUM_ACTIONS, small_network


@pytest.mark.parametrize("consistency", [False, True])
def test_products_are_those_of_each_layer_forward_and_backward(consistency, monkeypatch):
    """Three for each use of a layer, two where nothing is before it, one for encodings of real observations."""
    network = small_network(representation_layers=1, dynamics_layers=2, prediction_layers=1)
    run = update_products(network, 4, 3, consistency=consistency)
    multiplications = []

    def count(left: torch.Tensor, right: torch.Tensor, *, out: torch.Tensor) -> torch.Tensor:
        multiplications.append(left.shape[0] * left.shape[1] * right.shape[1])
        return out

    monkeypatch.setattr(torch, "mm", count)
    run()
    inputs, width, latent, outputs = 18, 8, 6, NUM_ACTIONS + 7 + 5
    representation = 4 * (2 * inputs * width + 3 * width * latent)
    dynamics = 3 * 4 * 3 * (latent * width + width * width + width * latent)
    prediction = 3 * 16 * (latent * width + width * outputs)
    targets = 12 * (inputs * width + width * latent) if consistency else 0
    assert sum(multiplications) == representation + dynamics + prediction + targets


def test_convolutions_are_refused():
    """Nobody has counted them."""
    with pytest.raises(UserError, match=r"network\.body\.kind = 'mlp' only; got 'conv'"):
        update_products(small_network(body="conv"), 4, 3, consistency=False)
