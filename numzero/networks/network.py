"""The whole network: inputs, body, heads, and what chance makes of them.

Knows what belongs together; knows nothing of layers, losses, optimisers or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from numzero.errors import UserError
from numzero.networks.bodies import make_body
from numzero.networks.chance import Chance, pairs
from numzero.networks.config import NetworkConfig
from numzero.networks.heads import Heads, afterstate_heads_of, heads_of, num_outputs
from numzero.networks.inputs import make_inputs
from numzero.networks.scalars import Scalars
from numzero.networks.vectors import VectorDynamics
from numzero.search.proposals import Proposal

__all__ = ["MuZeroNetwork", "make_network"]


class MuZeroNetwork(nn.Module):
    """The three networks and their decoding; with chance, those behind an afterstate too.

    Without chance `dynamics` makes the next latent; with chance it makes an afterstate's, and `chance` goes on.
    """

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        num_actions: int,
        config: NetworkConfig,
        turn_gamma: float | None = None,
        kinds: NDArray[np.str_] | None = None,
        num_known: int = 0,
        proposal: Proposal | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.observation_shape = observation_shape
        self.proposal = proposal
        if proposal is not None:
            num_actions = proposal.num_inputs
        self.num_actions = num_actions
        self.heads = heads_of(num_actions if proposal is None else proposal.num_parameters, config, turn_gamma)
        self._bins = {name: torch.from_numpy(head.bins) for name, head in self.heads.items() if head.bins is not None}
        self.scalars = Scalars(self._bins, config)
        self.inputs = make_inputs(observation_shape, config, kinds)
        body = make_body(observation_shape, num_actions, num_outputs(self.heads), config.body)
        self.latent_shape, self.representation, self.dynamics, self.prediction = body
        if proposal is not None:
            if not self.dynamics.takes_shares:
                raise UserError(
                    "actions that are vectors need a body whose dynamics takes shares of actions, as mlp, conv and "
                    "image do; this one's does not. Set network.body to mlp."
                )
            self.dynamics = VectorDynamics(self.dynamics, proposal)
        self.num_outcomes = config.num_outcomes(num_known)
        self.afterstate_heads = afterstate_heads_of(self.num_outcomes, self.heads) if self.num_outcomes else Heads()
        self.chance: Chance | None = None
        if self.num_outcomes:
            learned = config.chance == "learned"
            self.chance = Chance(observation_shape, self.afterstate_heads, config.body, is_learned=learned)

    def stored(self) -> dict[str, torch.Tensor]:
        """All that is learned and lies in the files, by name: parameters, and what is known of numbers in and out."""
        known = dict(self.inputs.named_buffers("inputs")) | dict(self.scalars.named_buffers("scalars"))
        return {**dict(self.named_parameters()), **known}

    def share_numbers(self, other: MuZeroNetwork) -> None:
        """See observations, and mean scalars, as `other` does from now on: what each of them learns, both know."""
        self.inputs, self.scalars = other.inputs, other.scalars
        self.heads, self.afterstate_heads, self._bins = other.heads, other.afterstate_heads, other._bins

    def learned(self) -> dict[str, NDArray[Any]]:
        """What is known of numbers in and out, as `restore_learned` takes it; copies."""
        return self.inputs.state() | self.scalars.state()

    def restore_learned(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up where `learned` was taken.

        Raises:
            UserError: it is that of another network.
        """
        self.inputs.restore(state)
        self.scalars.restore(state)

    def represent(self, observation: torch.Tensor) -> torch.Tensor:
        """Latents `[N, *H]` of observations `[N, *O]` float32."""
        return self.representation(self.inputs(observation))

    def predict(self, latent: torch.Tensor) -> dict[str, torch.Tensor]:
        """The logits `[N, size]` of each head, of latents `[N, *H]`."""
        outputs = self.prediction(latent)  # [N, outputs]
        return {name: outputs[..., head.columns] for name, head in self.heads.items()}

    def next_latent(self, latent: torch.Tensor, outcome: torch.Tensor) -> torch.Tensor:
        """Latents `[N, *H]` behind afterstates `[N, *H]`, of outcomes `[N]` or shares `[N, C]` of them."""
        assert self.chance is not None, "there are no afterstates without chance"
        return self.chance.dynamics(latent, outcome)

    def afterstate_outputs(self, latent: torch.Tensor) -> torch.Tensor:
        """The logits `[N, outputs]` of all heads of afterstates, of their latents `[N, *H]`."""
        assert self.chance is not None, "there are no afterstates without chance"
        return self.chance.prediction(latent)

    def predict_afterstate(self, latent: torch.Tensor) -> dict[str, torch.Tensor]:
        """The logits `[N, size]` of each head of afterstates, of their latents `[N, *H]`."""
        outputs = self.afterstate_outputs(latent)  # [N, outputs]
        return {name: outputs[..., head.columns] for name, head in self.afterstate_heads.items()}

    def encode(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """Shares `[N, M]` of the codes of what lies between observations `[N, *O]` and those that followed."""
        encoder = None if self.chance is None else self.chance.encoder
        assert encoder is not None, "there are no codes where nothing is learned of chance"
        return encoder(pairs(self.inputs(before), self.inputs(after)))

    def decode(self, name: str, logits: torch.Tensor) -> torch.Tensor:
        """What a head's logits `[N, size]` mean: scalars `[N]`, or themselves."""
        bins = self._bins.get(name)
        return logits if bins is None else logits.softmax(-1) @ bins.to(logits.dtype)

    def terms(self, name: str, logits: torch.Tensor) -> torch.Tensor:
        """How large the terms are that `decode` sums, `[N]`: it is exact to their rounding, and they may cancel."""
        bins = self._bins.get(name)
        return logits if bins is None else logits.softmax(-1) @ bins.abs().to(logits.dtype)


def make_network(
    observation_shape: tuple[int, ...],
    num_actions: int,
    config: NetworkConfig,
    seed: int,
    turn_gamma: float | None = None,
    kinds: NDArray[np.str_] | None = None,
    num_known: int = 0,
    proposal: Proposal | None = None,
) -> MuZeroNetwork:
    """A fresh network; its initial weights depend on `seed` alone.

    `turn_gamma`: see `heads_of`. `kinds`: see `make_inputs`. `num_known`: how many outcomes the game reports.
    `proposal`: what actions are, if they are vectors; `num_actions` is not looked at then.

    Raises:
        UserError: a setting is out of range, or the body does not fit the observation, or what is learned of chance.
    """
    if problems := config.check():
        raise UserError(" ".join(problems))
    if config.chance == "auto":
        raise UserError(
            "network.chance = 'auto' is decided when a run begins. Make networks with none, known or learned."
        )
    if config.chance == "known" and num_known == 0:
        raise UserError(
            "network.chance = 'known' needs a game that reports the outcomes of chance; this one reports none. Set it "
            "to learned, or to none."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MuZeroNetwork(observation_shape, num_actions, config, turn_gamma, kinds, num_known, proposal)
