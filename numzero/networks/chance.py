"""What a network has where chance has its say between an action and the next position.

Stochastic MuZero (Antonoglou et al. 2022, section 4): the dynamics of the body make an afterstate of a position and an
action, and what is here goes on from there. It is made of bodies of the same kind, whatever that is. Knows bodies and
heads; knows nothing of losses, or of where outcomes come from.
"""

from __future__ import annotations

import torch
from torch import nn

from numzero.errors import UserError
from numzero.networks.bodies import make_body
from numzero.networks.config import Body
from numzero.networks.heads import Heads, num_outputs
from numzero.networks.layers import Layer

__all__ = ["Chance", "Encoder", "pairs"]


class Chance(nn.Module):
    """From afterstates to positions, and what there is to say of afterstates.

    Args:
        observation_shape: `*O`, as the network sees it.
        heads: of afterstates.
        config: of the body.
        is_learned: whether an encoder tells outcomes; else they are given.

    Raises:
        UserError: nothing could be learned of outcomes, since the body's dynamics take no shares of them.
    """

    def __init__(self, observation_shape: tuple[int, ...], heads: Heads, config: Body, *, is_learned: bool) -> None:
        super().__init__()
        num_outcomes = heads["outcome"].size
        body = make_body(observation_shape, num_outcomes, num_outputs(heads), config)
        self.dynamics, self.prediction = body.dynamics, body.prediction
        if is_learned and not self.dynamics.takes_shares:
            raise UserError(
                "network.chance = 'learned' needs a body whose dynamics pass gradients on to outcomes, which a body of "
                "your own does not. Set network.chance to known or none, or network.body to one that ships."
            )
        self.encoder = Encoder(observation_shape, num_outcomes, config) if is_learned else None


class Encoder(Layer):
    """e: what was seen before and behind an action, to the shares of the codes that may tell what chance made of it.

    The paper's sees all observations up to the next; two of them, side by side, are enough to see what has changed.
    """

    def __init__(self, observation_shape: tuple[int, ...], num_codes: int, config: Body) -> None:
        super().__init__()
        first, *rest = observation_shape
        body = make_body((2 * first, *rest), 1, num_codes, config)
        self.representation, self.prediction = body.representation, body.prediction

    def forward(self, pair: torch.Tensor) -> torch.Tensor:
        """`[N, 2 O1, ...]` to shares `[N, M]` that sum to 1: bounded, as gradients are, however large logits grow."""
        return self.prediction(self.representation(pair)).softmax(dim=-1)


def pairs(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Two arrays `[N, O1, ...]` side by side, `[N, 2 O1, ...]`."""
    return torch.cat([before, after], dim=1)
