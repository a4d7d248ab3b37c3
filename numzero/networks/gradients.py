"""The unrolled network and the way back: latents and outputs of windows, and the gradient of whatever is made of them.

Knows the parts of a network and how a window runs through them; knows nothing of targets, losses or optimisers.
`AutogradUnroll` differentiates whatever layers do. `ByHandUnroll` is faster where all of them say how (`Layer.stages`),
and is believed only where it gives the same numbers; so is `PlainSplitUnroll`, which has several threads (tried on
whole windows; what goes block by block runs the same kernels). On several threads others are a `SplitUnroll`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, cast

import numpy as np
import torch

from numzero.networks.by_hand import Linear, Stage, backward, forward, sum_rows, write_gradients
from numzero.networks.layers import DynamicsStages
from numzero.networks.network import MuZeroNetwork
from numzero.networks.parts import Parts, SplitUnroll
from numzero.networks.precision import Precision, computed, ordered
from numzero.networks.split import PlainSplitUnroll
from numzero.networks.trials import MAGNITUDES, TRIAL_SCALES, random_weights
from numzero.networks.vectors import VectorDynamics

__all__ = ["AutogradUnroll", "ByHandDynamics", "ByHandUnroll", "Unroll", "close", "make_unroll", "scale_gradient"]


class Unroll(Protocol):
    """Runs windows of B rows and K steps forward, then back. Results are valid until the next call."""

    def represent(self, observation: torch.Tensor) -> torch.Tensor:
        """Latents `[N, *H]` of observations `[N, *O]`, of which no gradient is asked."""

    def forward(self, observation: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents `[(K+1) B, *H]` and outputs `[(K+1) B, policy + value + reward bins]`, rows step by step.

        observation: `[B, *O]` float32, of the first positions. action: `[B, K]` int32, or vectors
        `[B, K, D]` float32.
        """

    def backward(self, d_latents: torch.Tensor | None, d_outputs: torch.Tensor) -> None:
        """Write into each parameter's `grad` the gradient of what has these gradients at the results of `forward`.

        Both may be overwritten. The gradient is scaled wherever a latent enters the dynamics (MuZero, appendix G).
        """


_Unroll = TypeVar("_Unroll", bound=Unroll)


def make_unroll(
    network: MuZeroNetwork, gradient_scale: float, num_threads: int = 1, precision: Precision = "float32"
) -> Unroll:
    """The fastest right way for this network, whose parameters must stay where they are.

    Each has a `grad`, or none has: then `represent` alone may be called.

    Args:
        network: its layers say whether gradients by hand are to be had, and numbers say whether these are right.
        gradient_scale: multiplies the gradient at each dynamics input.
        num_threads: above 1 a batch is split by rows into so many parts; sums are rounded otherwise then.
        precision: of products and convolutions; see `precision.refused`.
    """
    automatic = AutogradUnroll(network, gradient_scale, precision)

    def agreed(unroll: _Unroll | None) -> _Unroll | None:
        return unroll if unroll is not None and _agree(network, unroll, automatic) else None

    is_exact = precision == "float32"
    if is_exact and num_threads > 1 and network.proposal is None:
        split = agreed(PlainSplitUnroll.of(network, gradient_scale, num_threads))
        if split is not None:
            return split
    by_hand = agreed(ByHandUnroll.of(network, gradient_scale)) if is_exact else None

    def of_part(part: MuZeroNetwork) -> Unroll:
        one = None if by_hand is None else ByHandUnroll.of(part, gradient_scale)
        return one or AutogradUnroll(part, gradient_scale, precision)

    return SplitUnroll(Parts(network, num_threads, of_part)) if num_threads > 1 else by_hand or automatic


AGREEMENT = 1e-4
"""Largest difference between gradients by hand and autograd's, and between their outputs, relative to the largest
number of an array. Correct ones differ by some 1e-6; another function, or another constant in one, by more."""
NOTHING = 3e-5
"""A difference that says nothing: where gradients are 0 but for rounding, as behind LayerNorm of two numbers."""
TRIAL_ROWS, TRIAL_STEPS = len(MAGNITUDES), 2


def _agree(network: MuZeroNetwork, by_hand: Unroll, automatic: Unroll) -> bool:
    """Whether both compute the same of random windows, with random weights; some 50 ms for a width of 128."""
    generator, trials = torch.Generator().manual_seed(0), []
    for scale in TRIAL_SCALES:
        with random_weights(network, scale):
            rows = torch.tensor(MAGNITUDES).reshape(-1, *[1] * len(network.observation_shape))
            observation = rows * torch.randn(TRIAL_ROWS, *network.observation_shape, generator=generator)
            size = TRIAL_ROWS, TRIAL_STEPS
            action = torch.randint(network.num_actions, size, generator=generator, dtype=torch.int32)
            if network.proposal is not None:
                action = torch.from_numpy(network.proposal.uniform(np.random.default_rng(0), size))
            found, expected = (_results(network, unroll, observation, action) for unroll in (by_hand, automatic))
        if all(bool(array.isfinite().all()) for array in expected):  # else the network is too deep for such weights
            trials.append(all(map(close, found, expected)))
    return all(trials) and len(trials) > 0


def _results(
    network: MuZeroNetwork, unroll: Unroll, observation: torch.Tensor, action: torch.Tensor
) -> list[torch.Tensor]:
    """Latents, outputs, and the gradients of all parameters for random ones at both; in copies."""
    found = [unroll.represent(observation).clone()]
    if any(parameter.grad is None for parameter in network.parameters()):
        return found
    results = [result.clone() for result in unroll.forward(observation, action)]
    generator = torch.Generator().manual_seed(1)
    unroll.backward(*(torch.randn(result.shape, generator=generator) for result in results))
    return found + results + [cast(torch.Tensor, parameter.grad).clone() for parameter in network.parameters()]


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether both are the same numbers but for rounding."""
    return bool((one - other).abs().max() <= AGREEMENT * other.abs().max() + NOTHING)  # False of NaN


class AutogradUnroll:
    """See `Unroll`; for any body."""

    def __init__(self, network: MuZeroNetwork, gradient_scale: float, precision: Precision = "float32") -> None:
        self._network = network
        self._scale = gradient_scale
        self._precision = precision

    def represent(self, observation: torch.Tensor) -> torch.Tensor:
        """See `Unroll`."""
        with torch.no_grad(), computed(self._precision):
            return self._network.represent(ordered(observation, self._precision)).float()

    def forward(self, observation: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Unroll`."""
        self._latents, self._outputs = self.unrolled(observation, action)
        return self._latents.detach(), self._outputs.detach()

    def unrolled(self, observation: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents and outputs as `forward` has them, with their graphs."""
        with computed(self._precision):
            latent = self._network.represent(ordered(observation, self._precision))  # [B, *H]
            latents = [latent]
            for k in range(action.shape[1]):
                latent = self._network.dynamics(scale_gradient(latent, self._scale), action[:, k])
                latents.append(latent)
            together = torch.cat(latents)  # [(K+1) B, *H]
            outputs = self._network.prediction(together)
        return together.float(), outputs.float()

    def backward(self, d_latents: torch.Tensor | None, d_outputs: torch.Tensor) -> None:
        """See `Unroll`."""
        for parameter in self._network.parameters():
            cast(torch.Tensor, parameter.grad).zero_()
        # The gradient of this sum, exactly; to be given gradients torch would import sympy, which takes 0.7 s.
        total = (self._outputs * d_outputs).sum()
        if d_latents is not None:
            total = total + (self._latents * d_latents).sum()
        torch.autograd.backward([total])


def scale_gradient(x: torch.Tensor, scale: float) -> torch.Tensor:
    """`x` itself, whose gradient is multiplied by `scale` on the way back."""
    alias = x.view_as(x)
    if scale != 1.0 and alias.requires_grad:
        alias.register_hook(lambda gradient: gradient * scale)  # type: ignore[no-untyped-call]
    return alias


class ByHandDynamics:
    """A dynamics that is used at every step, by hand, between rows that lie elsewhere.

    Args:
        dynamics: what it is made of.
        inputs: how actions become shares of the table's rows; None: each is the number of one.
        gradient_scale: multiplies the gradient where a latent enters.
    """

    def __init__(
        self,
        dynamics: DynamicsStages,
        inputs: Callable[[torch.Tensor], torch.Tensor] | None = None,
        gradient_scale: float = 1.0,
    ) -> None:
        self.stages, self._residual, self._table = dynamics
        self._first = cast(Linear, self.stages[0])
        self._inputs, self._scale = inputs, gradient_scale

    def allocate(self, rows: Sequence[torch.Tensor], after: torch.Tensor, d_after: torch.Tensor) -> None:
        """Make room, and fill `after` and find gradients in `d_after` `[K B, size]` from now on.

        rows: what each step begins with, `[B, size]`.
        """
        for stage in self.stages:
            stage.allocate(len(rows), len(rows[0]))
        self.stages[-1].output, self.stages[-1].all_d_outputs = after.chunk(len(rows)), d_after
        self._d_after = d_after.chunk(len(rows))
        self._embedding = torch.empty(len(after), self._first.size)
        self._first.extra, self._residual.extra = self._embedding.chunk(len(rows)), rows

    def follow(self, edge: torch.Tensor) -> None:
        """Take the edges `[K B]`, or vectors `[K B, D]`, of all steps."""
        self._edge = edge if self._inputs is None else self._inputs(edge)  # [K B] or [K B, inputs]
        if self._edge.ndim == 2:
            torch.mm(self._edge, self._table, out=self._embedding)
        else:
            torch.index_select(self._table, 0, self._edge, out=self._embedding)

    def forward(self, k: int, x: torch.Tensor) -> torch.Tensor:
        """Step k."""
        return forward(self.stages, k, x)

    def backward(self, k: int, d_x: torch.Tensor) -> None:
        """Step k; adds to the gradient `d_x` at what it began with."""
        d_first = backward(self.stages, k, self._d_after[k])
        # A latent enters the dynamics twice: into the first layer, and as the residual.
        d_x.add_(self._residual.d_output[k], alpha=self._scale)
        d_x.addmm_(d_first, self._first.weight, alpha=self._scale)

    def write_gradients(self, rows: torch.Tensor) -> None:
        """Of all parameters, from what all steps began with, `[K B, size]`."""
        write_gradients(self.stages, rows)
        d_table = cast(torch.Tensor, self._table.grad)
        if self._edge.ndim == 2:
            torch.mm(self._edge.t(), self._first.all_d_outputs, out=d_table)
        else:
            sum_rows(self._edge.numpy(), self._first.all_d_outputs.numpy(), d_table.numpy())

    def d_shares(self) -> torch.Tensor:
        """`[K B, A]` the gradient at the share that each row of the table had."""
        return self._first.all_d_outputs @ self._table.detach().t()


class ByHandUnroll:
    """See `Unroll`; for latents `[N, size]` of layers that all say how they are computed by hand.

    Each layer keeps what it computed in one array of blocks of B rows, a block for each use. Nothing is allocated in an
    update, and the gradient of a layer's weights is one product over all its uses.

    Args:
        network: whose stages these are.
        stages: of representation and prediction.
        dynamics: those of the dynamics.
        gradient_scale: multiplies the gradient at each dynamics input.
    """

    def __init__(
        self,
        network: MuZeroNetwork,
        stages: tuple[Sequence[Stage], Sequence[Stage]],
        dynamics: DynamicsStages,
        gradient_scale: float,
    ) -> None:
        self._network = network
        self.representation, self.prediction = stages
        inputs = network.dynamics.inputs if isinstance(network.dynamics, VectorDynamics) else None
        self.dynamics = ByHandDynamics(dynamics, inputs, gradient_scale)
        self._shape = (0, 0)
        self._num_represented = 0

    @classmethod
    def of(cls, network: MuZeroNetwork, gradient_scale: float) -> ByHandUnroll | None:
        """That of a network; None where a layer does not say how it is computed."""
        dynamics = network.dynamics.stages()
        representation, prediction = network.representation.stages(), network.prediction.stages()
        if representation is None or dynamics is None or prediction is None or len(network.latent_shape) != 1:
            return None
        return cls(network, (representation, prediction), dynamics, gradient_scale)

    def represent(self, observation: torch.Tensor) -> torch.Tensor:
        """See `Unroll`."""
        if self._num_represented != len(observation):
            self._allocate_representation(len(observation))
        with torch.no_grad():
            self._inputs = self._network.inputs(observation).flatten(1)  # [N, inputs]
            return forward(self.representation, 0, self._inputs)

    def forward(self, observation: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Unroll`."""
        num_rows, num_steps = action.shape[:2]
        if self._shape != (num_rows, num_steps):
            self._allocate(num_rows, num_steps)
        with torch.no_grad():
            self.dynamics.follow(action.transpose(0, 1).flatten(0, 1))
            self.represent(observation)
            for k in range(num_steps):
                self.dynamics.forward(k, self._latent[k])
            return self._latents, forward(self.prediction, 0, self._latents)

    def backward(self, d_latents: torch.Tensor | None, d_outputs: torch.Tensor) -> None:
        """See `Unroll`."""
        with torch.no_grad():
            self.prediction[-1].all_d_outputs = d_outputs
            d_first = backward(self.prediction, 0, d_outputs)
            self.prediction[0].backward(0, self._latents, d_first, self._d_latents)
            if d_latents is not None:
                self._d_latents.add_(d_latents)
            for k in range(self._shape[1] - 1, -1, -1):
                self.dynamics.backward(k, self._d_latent[k])
            backward(self.representation, 0, self._d_latent[0])
            write_gradients(self.representation, self._inputs)
            self.dynamics.write_gradients(self._latents[: -self._shape[0]])
            write_gradients(self.prediction, self._latents)

    def _allocate_representation(self, num_rows: int) -> None:
        self._num_represented, self._shape = num_rows, (0, 0)
        for stage in self.representation:
            stage.allocate(1, num_rows)

    def _allocate(self, num_rows: int, num_steps: int) -> None:
        self._allocate_representation(num_rows)
        self._shape = (num_rows, num_steps)
        self._latents = torch.empty((num_steps + 1) * num_rows, *self._network.latent_shape)
        self._d_latents = torch.empty_like(self._latents)
        self._latent, self._d_latent = (x.chunk(num_steps + 1) for x in (self._latents, self._d_latents))
        self.dynamics.allocate(self._latent[:-1], self._latents[num_rows:], self._d_latents[num_rows:])
        for stage in self.prediction:
            stage.allocate(1, len(self._latents))
        # What comes last fills the latents themselves, and finds its gradients there.
        self.representation[-1].output = self._latent[:1]
        self.representation[-1].all_d_outputs = self._d_latents[:num_rows]
