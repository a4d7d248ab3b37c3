"""The unrolled network with chance, and the way back: as `gradients`, with an afterstate between position and position.

Knows the parts of a network and how a window runs through them; knows nothing of targets, losses or optimisers.
`AutogradChance` differentiates whatever layers do; `ByHandChance` is faster where all of them say how, and is believed
only where it gives the same numbers.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch.nn import functional

from numzero.networks.by_hand import Stage, backward, forward, write_gradients
from numzero.networks.chance import Encoder, pairs
from numzero.networks.gradients import ByHandDynamics, ByHandUnroll, close, scale_gradient
from numzero.networks.network import MuZeroNetwork
from numzero.networks.parts import Parts, joined
from numzero.networks.precision import Precision, computed, ordered
from numzero.networks.trials import MAGNITUDES, TRIAL_SCALES, random_weights

__all__ = ["AutogradChance", "ByHandChance", "ChanceUnroll", "SplitChance", "UnrolledChance", "make_chance_unroll"]


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


class ChanceUnroll(abc.ABC):
    """Runs windows forward, then back. Results are valid until the next call."""

    @abc.abstractmethod
    def forward(self, observation: torch.Tensor, action: torch.Tensor, outcome: torch.Tensor) -> UnrolledChance:
        """See `UnrolledChance`.

        observation: `[B, K+1, *O]` float32, `[B, 1, *O]` where outcomes are not learned. action: `[B, K]` int32.
        outcome: `[B, K]` int32, negative where the encoder is to tell.
        """

    @abc.abstractmethod
    def backward(
        self,
        d_latents: torch.Tensor | None,
        d_outputs: torch.Tensor,
        d_afterstates: torch.Tensor,
        d_codes: torch.Tensor,
    ) -> None:
        """Write into each parameter's `grad` the gradient of what has these gradients at the results of `forward`.

        All may be overwritten. `d_codes` is that of what looks at the codes themselves; what looks at all else reaches
        them through the shares. The gradient is scaled wherever the latent of a position enters the dynamics.
        """


def make_chance_unroll(
    network: MuZeroNetwork, gradient_scale: float, num_threads: int = 1, precision: Precision = "float32"
) -> ChanceUnroll:
    """The fastest right way for this network, which has chance, and whose parameters must stay where they are.

    Args:
        network: each of its parameters has a `grad`.
        gradient_scale: multiplies the gradient where the latent of a position enters the dynamics.
        num_threads: above 1 a batch is split by rows into so many parts; sums are rounded otherwise then.
        precision: of products and convolutions; see `precision.refused`.
    """
    automatic = AutogradChance(network, gradient_scale, precision)
    by_hand = ByHandChance.of(network, gradient_scale) if precision == "float32" else None
    agrees = by_hand is not None and _agree(network, by_hand, automatic)

    def of_part(part: MuZeroNetwork) -> ChanceUnroll:
        one = ByHandChance.of(part, gradient_scale) if agrees else None
        return one or AutogradChance(part, gradient_scale, precision)

    return SplitChance(Parts(network, num_threads, of_part)) if num_threads > 1 else of_part(network)


TRIAL_STEPS = 2


def _agree(network: MuZeroNetwork, by_hand: ChanceUnroll, automatic: ChanceUnroll) -> bool:
    """Whether both compute the same of random windows, with random weights, of outcomes that are given and told."""
    generator, trials = torch.Generator().manual_seed(0), []
    for scale in TRIAL_SCALES:
        with random_weights(network, scale):
            size = len(MAGNITUDES), TRIAL_STEPS
            shape = size[0], TRIAL_STEPS + 1, *network.observation_shape
            rows = torch.tensor(MAGNITUDES).reshape(-1, *[1] * (len(shape) - 1))
            observation = rows * torch.randn(shape, generator=generator)
            action = torch.randint(network.num_actions, size, generator=generator, dtype=torch.int32)
            least = -1 if _encoder_of(network) is not None else 0
            outcome = torch.randint(least, network.num_outcomes, size, generator=generator, dtype=torch.int32)
            windows = observation, action, outcome
            found, expected = (_results(network, unroll, *windows) for unroll in (by_hand, automatic))
        if all(bool(array.isfinite().all()) for array in expected):
            trials.append(all(map(close, found, expected)))
    return all(trials) and len(trials) > 0


def _results(network: MuZeroNetwork, unroll: ChanceUnroll, *windows: torch.Tensor) -> list[torch.Tensor]:
    """All results, and the gradients of all parameters for random ones at them; in copies."""
    found = unroll.forward(*windows)
    results = [result.clone().float() for result in found]
    generator = torch.Generator().manual_seed(1)
    differentiable = found.latents, found.outputs, found.afterstates, found.codes
    unroll.backward(*(torch.randn(result.shape, generator=generator) for result in differentiable))
    kept = [result for result in results if result.numel()]
    return kept + [cast(torch.Tensor, parameter.grad).clone() for parameter in network.parameters()]


def _encoder_of(network: MuZeroNetwork) -> Encoder | None:
    return None if network.chance is None else network.chance.encoder


class AutogradChance(ChanceUnroll):
    """See `ChanceUnroll`; for any body."""

    def __init__(self, network: MuZeroNetwork, gradient_scale: float, precision: Precision = "float32") -> None:
        self._network = network
        self._scale = gradient_scale
        self._precision = precision

    def forward(self, observation: torch.Tensor, action: torch.Tensor, outcome: torch.Tensor) -> UnrolledChance:
        """See `ChanceUnroll`."""
        with computed(self._precision):
            return self._forward(observation, action, outcome)

    def _forward(self, observation: torch.Tensor, action: torch.Tensor, outcome: torch.Tensor) -> UnrolledChance:
        network, given = self._network, outcome.t().reshape(-1).long()  # [K B]
        codes, followed = self._told(observation, given)
        latent = network.represent(ordered(observation[:, 0], self._precision))  # [B, *H]
        latents, afterstates = [latent], []
        for k, edge in enumerate(followed.chunk(action.shape[1])):
            afterstate = network.dynamics(scale_gradient(latent, self._scale), action[:, k])
            latent = network.next_latent(afterstate, edge)
            latents.append(latent)
            afterstates.append(afterstate)
        together = torch.cat(latents)  # [(K+1) B, *H]
        self._latents = together.float()
        self._outputs = network.prediction(together).float()
        self._afterstates = network.afterstate_outputs(torch.cat(afterstates)).float()
        self._codes = codes = codes.float()
        indices = followed.argmax(dim=1) if followed.is_floating_point() else followed
        results = self._latents, self._outputs, self._afterstates, indices, codes
        return UnrolledChance(*(result.detach() for result in results))

    def _told(self, observation: torch.Tensor, given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes `[K B, M]`, and what to follow: outcomes `[K B]`, or shares of them `[K B, M]` that are 1 and 0.

        The gradient at a share is passed on to the encoder's own share of that code as if this were it
        (straight-through, Bengio et al. 2013; through a softmax as in DreamerV2, Hafner et al. 2021, algorithm 1).
        """
        network = self._network
        if _encoder_of(network) is None:
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
        """See `ChanceUnroll`."""
        for parameter in self._network.parameters():
            cast(torch.Tensor, parameter.grad).zero_()
        results, gradients = [self._outputs, self._afterstates], [d_outputs, d_afterstates]
        if d_latents is not None:
            results, gradients = [*results, self._latents], [*gradients, d_latents]
        if len(self._codes):
            results, gradients = [*results, self._codes], [*gradients, d_codes]
        torch.autograd.backward(results, gradients)


class ByHandChance(ChanceUnroll):
    """See `ChanceUnroll`; for latents `[N, size]` of layers that all say how they are computed by hand.

    As `ByHandUnroll`, which see; of shares that are 1 and 0 the rows that they choose are looked up.
    """

    def __init__(
        self,
        network: MuZeroNetwork,
        stages: tuple[Sequence[Stage], Sequence[Stage], Sequence[Stage]],
        dynamics: tuple[ByHandDynamics, ByHandDynamics],
        encoder: Sequence[Stage],
    ) -> None:
        self._network = network
        self._representation, self._prediction, self._afterstate_prediction = stages
        self._dynamics, self._chance = dynamics
        self._encoder = encoder
        self._shape = (0, 0)

    @classmethod
    def of(cls, network: MuZeroNetwork, gradient_scale: float) -> ByHandChance | None:
        """That of a network; None where a layer does not say how it is computed."""
        chance, encoder = network.chance, _encoder_of(network)
        plain = ByHandUnroll.of(network, gradient_scale)
        if plain is None or chance is None:
            return None
        after, prediction = chance.dynamics.stages(), chance.prediction.stages()
        told = [] if encoder is None else [encoder.representation.stages(), encoder.prediction.stages()]
        if after is None or prediction is None or None in told:
            return None
        stages = plain.representation, plain.prediction, prediction
        return cls(network, stages, (plain.dynamics, ByHandDynamics(after)), [s for each in told for s in each or ()])

    def forward(self, observation: torch.Tensor, action: torch.Tensor, outcome: torch.Tensor) -> UnrolledChance:
        """See `ChanceUnroll`."""
        if self._shape != tuple(action.shape[:2]):
            self._allocate(*action.shape[:2])
        with torch.no_grad():
            self._tell(observation, outcome.t().reshape(-1))
            self._dynamics.follow(action.transpose(0, 1).flatten(0, 1))
            self._chance.follow(self._outcome)
            self._inputs = self._network.inputs(observation[:, 0]).flatten(1)  # [B, inputs]
            forward(self._representation, 0, self._inputs)
            for k in range(self._shape[1]):
                self._chance.forward(k, self._dynamics.forward(k, self._latent[k]))
            outputs = forward(self._prediction, 0, self._latents)
            afterstates = forward(self._afterstate_prediction, 0, self._afterstates)
            return UnrolledChance(self._latents, outputs, afterstates, self._outcome.long(), self._codes)

    def _tell(self, observation: torch.Tensor, given: torch.Tensor) -> None:
        """Codes `[K B, M]`, and the outcomes `[K B]` to follow: those given, or told by the encoder."""
        self._outcome, self._codes = given.contiguous(), torch.zeros(0, self._network.num_outcomes)
        if self._encoder:
            inputs = self._network.inputs
            before, after = (x.transpose(0, 1).flatten(0, 1) for x in (observation[:, :-1], observation[:, 1:]))
            self._pairs = pairs(inputs(before), inputs(after)).flatten(1)  # [K B, 2 inputs]
            self._codes = forward(self._encoder, 0, self._pairs).softmax(dim=1)
            self._is_told = given < 0
            self._outcome = torch.where(self._is_told, self._codes.argmax(dim=1), given).to(given.dtype)

    def backward(
        self,
        d_latents: torch.Tensor | None,
        d_outputs: torch.Tensor,
        d_afterstates: torch.Tensor,
        d_codes: torch.Tensor,
    ) -> None:
        """See `ChanceUnroll`."""
        with torch.no_grad():
            _back(self._prediction, self._latents, d_outputs, self._d_latents)
            _back(self._afterstate_prediction, self._afterstates, d_afterstates, self._d_afterstates)
            if d_latents is not None:
                self._d_latents.add_(d_latents)
            for k in range(self._shape[1] - 1, -1, -1):
                self._chance.backward(k, self._d_afterstate[k])
                self._dynamics.backward(k, self._d_latent[k])
            backward(self._representation, 0, self._d_latent[0])
            write_gradients(self._representation, self._inputs)
            self._dynamics.write_gradients(self._latents[: -self._shape[0]])
            self._chance.write_gradients(self._afterstates)
            if self._encoder:
                self._encode_back(d_codes)

    def _encode_back(self, d_codes: torch.Tensor) -> None:
        """Through the shares (straight-through), the softmax and the encoder."""
        d_codes = d_codes + self._is_told[:, None] * self._chance.d_shares()  # [K B, M]
        level = (d_codes * self._codes).sum(dim=1, keepdim=True)
        d_logits = self._codes * (d_codes - level)
        self._encoder[-1].all_d_outputs = d_logits
        backward(self._encoder, 0, d_logits)
        write_gradients(self._encoder, self._pairs)

    def _allocate(self, num_rows: int, num_steps: int) -> None:
        self._shape = (num_rows, num_steps)
        self._latents = torch.empty((num_steps + 1) * num_rows, *self._network.latent_shape)
        self._afterstates = torch.empty(num_steps * num_rows, *self._network.latent_shape)
        self._d_latents, self._d_afterstates = torch.empty_like(self._latents), torch.empty_like(self._afterstates)
        self._latent, self._d_latent = (x.chunk(num_steps + 1) for x in (self._latents, self._d_latents))
        afterstate, self._d_afterstate = (x.chunk(num_steps) for x in (self._afterstates, self._d_afterstates))
        self._dynamics.allocate(self._latent[:-1], self._afterstates, self._d_afterstates)
        self._chance.allocate(afterstate, self._latents[num_rows:], self._d_latents[num_rows:])
        for stages, rows in (
            (self._representation, num_rows),
            (self._prediction, len(self._latents)),
            (self._afterstate_prediction, len(self._afterstates)),
            (self._encoder, len(self._afterstates)),
        ):
            for stage in stages:
                stage.allocate(1, rows)
        self._representation[-1].output = self._latent[:1]
        self._representation[-1].all_d_outputs = self._d_latents[:num_rows]


class SplitChance(ChanceUnroll):
    """See `ChanceUnroll`; a part of the batch on each thread."""

    def __init__(self, parts: Parts[ChanceUnroll]) -> None:
        self._parts = parts

    def forward(self, observation: torch.Tensor, action: torch.Tensor, outcome: torch.Tensor) -> UnrolledChance:
        """See `ChanceUnroll`."""
        self._num_steps = num_steps = action.shape[1]
        parts = self._parts.run(
            len(action), lambda unroll, rows: unroll.forward(observation[rows], action[rows], outcome[rows])
        )
        blocks = num_steps + 1, num_steps + 1, num_steps, num_steps, num_steps
        return UnrolledChance(*map(joined, zip(*parts, strict=True), blocks))

    def backward(
        self,
        d_latents: torch.Tensor | None,
        d_outputs: torch.Tensor,
        d_afterstates: torch.Tensor,
        d_codes: torch.Tensor,
    ) -> None:
        """See `ChanceUnroll`."""
        num_steps = self._num_steps
        of_positions = (d_latents, num_steps + 1), (d_outputs, num_steps + 1)
        self._parts.backward(*of_positions, (d_afterstates, num_steps), (d_codes, num_steps))


def _back(stages: Sequence[Stage], rows: torch.Tensor, d_outputs: torch.Tensor, d_rows: torch.Tensor) -> None:
    """A prediction's gradients, from those at what it says of `rows`; fills `d_rows`."""
    stages[-1].all_d_outputs = d_outputs
    stages[0].backward(0, rows, backward(stages, 0, d_outputs), d_rows)
    write_gradients(stages, rows)
