"""The unrolled network with chance, and the way back: as `gradients`, with an afterstate between position and position.

Knows the parts of a network and how a window runs through them; knows nothing of targets, losses or optimisers.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch.nn import functional

from numzero.networks.gradients import scale_gradient
from numzero.networks.network import MuZeroNetwork

__all__ = ["ChanceUnroll", "UnrolledChance"]


class UnrolledChance(NamedTuple):
    """What came of B windows of K steps, rows step by step."""

    latents: torch.Tensor
    """`[(K+1) B, *H]` of positions."""
    outputs: torch.Tensor
    """`[(K+1) B, outputs]` the logits of all heads of positions."""
    afterstates: torch.Tensor
    """`[K B, outputs]` the logits of all heads of afterstates."""
    outcome: torch.Tensor
    """`[K B]` int64 the outcomes that were followed: those given, and codes where none were."""
    codes: torch.Tensor
    """`[K B, M]` what the encoder says; `[0, M]` where outcomes are not learned."""


class ChanceUnroll:
    """Runs windows forward, then back, by autograd. Results are valid until the next call.

    Args:
        network: has chance; each of its parameters has a `grad`.
        gradient_scale: multiplies the gradient where the latent of a position enters the dynamics.
    """

    def __init__(self, network: MuZeroNetwork, gradient_scale: float) -> None:
        self._network = network
        self._scale = gradient_scale

    def forward(self, observation: torch.Tensor, action: torch.Tensor, outcome: torch.Tensor) -> UnrolledChance:
        """See `UnrolledChance`.

        observation: `[B, K+1, *O]` float32, `[B, 1, *O]` where outcomes are not learned. action: `[B, K]` int32.
        outcome: `[B, K]` int32, negative where the encoder is to tell.
        """
        network, given = self._network, outcome.t().reshape(-1).long()  # [K B]
        codes, followed = self._told(observation, given)
        latent = network.represent(observation[:, 0])  # [B, *H]
        latents, afterstates = [latent], []
        for k, edge in enumerate(followed.chunk(action.shape[1])):
            afterstate = network.dynamics(scale_gradient(latent, self._scale), action[:, k])
            latent = network.next_latent(afterstate, edge)
            latents.append(latent)
            afterstates.append(afterstate)
        self._latents = torch.cat(latents)
        self._outputs = network.prediction(self._latents)
        self._afterstates = network.afterstate_outputs(torch.cat(afterstates))
        self._codes = codes
        indices = followed.argmax(dim=1) if followed.is_floating_point() else followed
        results = self._latents, self._outputs, self._afterstates, indices, codes
        return UnrolledChance(*(result.detach() for result in results))

    def _told(self, observation: torch.Tensor, given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes `[K B, M]`, and what to follow: outcomes `[K B]`, or shares of them `[K B, M]` that are 1 and 0.

        The gradient at a share is passed on to the encoder's own share of that code as if this were it
        (straight-through, Bengio et al. 2013; through a softmax as in DreamerV2, Hafner et al. 2021, algorithm 1).
        """
        network = self._network
        if network.chance is None or network.chance.encoder is None:
            return torch.zeros(0, network.num_outcomes), given
        before, after = (x.transpose(0, 1).flatten(0, 1) for x in (observation[:, :-1], observation[:, 1:]))
        codes = network.encode(before, after)  # [K B, M]
        is_told = given < 0
        index = torch.where(is_told, codes.detach().argmax(dim=1), given)
        share = functional.one_hot(index, codes.shape[1]).to(codes.dtype)
        return codes, share + is_told[:, None] * (codes - codes.detach())

    def backward(
        self,
        d_latents: torch.Tensor | None,
        d_outputs: torch.Tensor,
        d_afterstates: torch.Tensor,
        d_codes: torch.Tensor,
    ) -> None:
        """Write into each parameter's `grad` the gradient of what has these gradients at the results of `forward`.

        `d_codes` is that of what looks at the codes themselves; what looks at all else reaches them through the shares.
        """
        for parameter in self._network.parameters():
            cast(torch.Tensor, parameter.grad).zero_()
        results, gradients = [self._outputs, self._afterstates], [d_outputs, d_afterstates]
        if d_latents is not None:
            results, gradients = [*results, self._latents], [*gradients, d_latents]
        if len(self._codes):
            results, gradients = [*results, self._codes], [*gradients, d_codes]
        torch.autograd.backward(results, gradients)
