"""The matrix products of an update and nothing else: what no learner can be faster than.

Knows the shapes that an update of a plain MLP multiplies; knows nothing of losses. `bench learner` compares with it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from numzero.errors import UserError
from numzero.networks.config import MlpConfig
from numzero.networks.layers import Dense
from numzero.networks.network import MuZeroNetwork

__all__ = ["update_products"]


def update_products(network: MuZeroNetwork, num_rows: int, num_steps: int, *, consistency: bool) -> Callable[[], None]:
    """A function that multiplies what an update multiplies, forward and backward, into arrays made beforehand.

    num_rows, num_steps: B windows of K steps. consistency: real observations are encoded too, forward only.

    Raises:
        UserError: the network's body has convolutions.
    """
    body = network.config.body
    if not isinstance(body, MlpConfig):
        kind = body.__struct_config__.tag
        raise UserError(f"The arithmetic is counted for network.body.kind = 'mlp' only; got {kind!r}.")
    representation, dynamics, prediction = (
        [layer.weight for layer in part.modules() if isinstance(layer, Dense)]
        for part in (network.representation, network.dynamics, network.prediction)
    )
    products = []
    for position, weight in enumerate(representation):
        products += _products(weight, num_rows, inputs=position > 0)
    for _ in range(num_steps):
        for weight in dynamics:
            products += _products(weight, num_rows)
    for weight in prediction:
        products += _products(weight, num_rows * (num_steps + 1))
    for weight in representation if consistency else ():
        products += _products(weight, num_rows * num_steps)[:1]

    def run() -> None:
        for left, right, result in products:
            torch.mm(left, right, out=result)

    return run


def _products(
    weight: torch.Tensor, num_rows: int, *, inputs: bool = True
) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Of one use of a layer: forward, for its weights' gradient, and for that of its inputs if asked."""
    weight = weight.detach()
    num_outputs, num_inputs = weight.shape
    x, d_y = torch.randn(num_rows, num_inputs), torch.randn(num_rows, num_outputs)
    products = [(x, weight.t(), torch.empty_like(d_y)), (d_y.t(), x, torch.empty_like(weight))]
    return [*products, (d_y, weight, torch.empty_like(x))] if inputs else products
