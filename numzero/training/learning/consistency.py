"""Self-consistency: unrolled latents are to be what the real observations are encoded as, or to tell what these are.

Knows latents and observations; knows nothing of batches, heads or schedules. A `Comparison` has weights that only
training has: no file of the network holds them. `Projection` compares with encodings, in a space of its own;
`Reconstruction` reads observations off the latents.
"""

from __future__ import annotations

import abc
import copy
import math
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from numzero.errors import UserError
from numzero.networks.split_kernels import part_bounds
from numzero.networks.team import Team
from numzero.training.learning.optimizer import AdamW

__all__ = ["Comparison", "Projection", "Reconstruction", "flat_gradient", "flatten", "make_comparison"]

MOST_DISTANCE = 0.01
"""1 - cosine, the mean of a batch. Where latents stay further from what they are to be like, observations follow by
chance; that cannot be learned, and at the weight that a world without chance wants it would drown all else."""

SIZE, NARROW = 128, 64
"""Of projections, and of the predictor's hidden layer, which is to be narrower (Chen & He 2021)."""

MOST_WEIGHTS = 2**24
"""Of a reconstruction's layer, which with its average, gradient and optimiser's state takes 20 bytes for each."""

_Float32Array = NDArray[np.float32]


class Comparison(abc.ABC):
    """How far unrolled latents are from what they are to be like or to tell, by layers that learn with the network.

    Args:
        layers: that learn.
        weight_decay: AdamW's.
        num_threads: above 1 rows are split into so many parts; sums are rounded otherwise then.
    """

    name: str
    """Of its vectors in checkpoints."""
    tells_observations: bool = False
    """Whether latents are compared with the real observations; else with encodings of them."""

    def __init__(self, layers: nn.Module, weight_decay: float, num_threads: int) -> None:
        self._layers = layers
        self._averages = copy.deepcopy(layers).requires_grad_(False)
        parameters, averages = flatten(self._layers), flatten(self._averages)
        self._gradients = flat_gradient(self._layers)
        self._optimizer = AdamW(parameters.numpy(), averages.numpy(), weight_decay, num_threads)
        self._team = Team(num_threads) if num_threads > 1 else None

    @abc.abstractmethod
    def distances(self, latent: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """`[N]` how far latents `[N, H]` are from `wanted` `[N, W]`."""

    def bounded(self, loss: float, count: float) -> float:
        """What is to become of a sum of distances whose weights sum up to `count`."""
        return loss

    def loss(self, found: torch.Tensor, wanted: torch.Tensor, count: _Float32Array) -> tuple[float, torch.Tensor]:
        """The weighted sum of distances, and its gradient at `found`; fills the gradient of its own weights.

        found: `[N, *H]` unrolled latents. wanted: `[N, ...]` encodings of the real observations, or these. count:
        `[N]`.
        """
        if self._team is None:
            self._gradients.zero_()
            latent, loss = self._weighted(found, wanted, count)
            loss.backward()  # type: ignore[no-untyped-call]
            assert latent.grad is not None
            return self._within(float(loss.detach()), latent.grad.view_as(found), count)
        bounds, learned = part_bounds(len(found), self._team.size), list(self._layers.parameters())

        def differentiate(t: int) -> tuple[float, tuple[torch.Tensor, ...]]:
            rows = slice(bounds[t], bounds[t + 1])
            latent, loss = self._weighted(found[rows], wanted[rows], count[rows])
            return float(loss.detach()), torch.autograd.grad(loss, [latent, *learned])

        losses, gradients = zip(*self._team.map(differentiate), strict=True)
        with torch.no_grad():
            sums = [torch.cat([part.reshape(-1) for part in gradient[1:]]) for gradient in gradients]
            self._gradients.copy_(sums[0])
            for part in sums[1:]:
                self._gradients.add_(part)
        return self._within(sum(losses), torch.cat([gradient[0] for gradient in gradients]).view_as(found), count)

    def _weighted(
        self, found: torch.Tensor, wanted: torch.Tensor, count: _Float32Array
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents `[N, H]` that ask for a gradient, and their weighted distances' sum."""
        latent = found.detach().flatten(1).requires_grad_()  # [N, H]
        return latent, (torch.from_numpy(count) * self.distances(latent, wanted.flatten(1))).sum()

    def _within(self, loss: float, gradient: torch.Tensor, count: _Float32Array) -> tuple[float, torch.Tensor]:
        bounded = self.bounded(loss, float(count.sum()))
        return bounded, gradient if bounded == loss else gradient.mul_(bounded / loss)

    def step(self, rate: float, num_done: int, average_decay: float) -> None:
        """Learn from the gradient of the last loss; see `AdamW.step`."""
        self._optimizer.step(self._gradients.numpy(), 1.0, rate, num_done, average_decay)

    def vectors(self) -> dict[str, _Float32Array]:
        """All that is learned, to be kept and restored."""
        held = self._optimizer
        return {
            f"{self.name}_parameters": held.parameters,
            f"{self.name}_average": held.average,
            f"{self.name}_gradient_mean": held.mean,
            f"{self.name}_gradient_square": held.square,
        }


def make_comparison(
    kind: str, latent_shape: tuple[int, ...], observation_shape: tuple[int, ...], weight_decay: float, num_threads: int
) -> Comparison | None:
    """That of `learner.consistency`; None where latents are compared as they are.

    Raises:
        UserError: observations are too large to be told.
    """
    if kind == "squared":
        return None
    size = math.prod(latent_shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == "projected":
            return Projection(size, weight_decay, num_threads)
        seen = math.prod(observation_shape)
        if size * seen > MOST_WEIGHTS:
            raise UserError(
                f"learner.consistency = 'reconstruction' is for small observations: to read {seen:,} numbers off a "
                f"latent of {size:,} takes {size * seen:,} weights, and {MOST_WEIGHTS:,} are the most. Set it to "
                "projected."
            )
        return Reconstruction(size, seen, weight_decay, num_threads)


class Projection(Comparison):
    """1 - cosine between a prediction of the projected unrolled latent and an average projection of the real one.

    Bootstrap Your Own Latent (Grill et al. 2020), with the network's average as target, in place of EfficientZero's
    SimSiam (Ye et al. 2021, section 4.1). The plain distance of latents has a cheap answer where observations follow
    each other by chance, one encoding for all; here a predictor stands between, and only directions count.
    """

    name = "projection"

    def __init__(self, latent_size: int, weight_decay: float, num_threads: int) -> None:
        both = nn.ModuleList([_layers(latent_size, SIZE, SIZE), _layers(SIZE, NARROW, SIZE)])
        super().__init__(both, weight_decay, num_threads)

    def distances(self, latent: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """See `Comparison`; `wanted` `[N, H]` latents."""
        project, predict = cast(nn.ModuleList, self._layers)
        with torch.no_grad():
            goal = cast(nn.ModuleList, self._averages)[0](wanted)  # [N, SIZE]
        return 1.0 - functional.cosine_similarity(predict(project(latent)), goal, dim=1)

    def bounded(self, loss: float, count: float) -> float:
        """No more than MOST_DISTANCE in the mean."""
        return min(loss, MOST_DISTANCE * count)


class Reconstruction(Comparison):
    """Squared distance between the observation that a linear layer reads off an unrolled latent and the real one.

    What is seen next is taught number by number, where reward and value tell of it by two numbers and late (compared
    with other ways to that end by Anand et al. 2022, section 3).
    """

    name = "reconstruction"
    tells_observations = True

    def __init__(self, latent_size: int, observation_size: int, weight_decay: float, num_threads: int) -> None:
        super().__init__(nn.Linear(latent_size, observation_size), weight_decay, num_threads)

    def distances(self, latent: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """See `Comparison`; `wanted` `[N, O]` observations as the body sees them."""
        told = cast(torch.Tensor, self._layers(latent))
        return (told - wanted).square().sum(dim=1)


def _layers(size: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def flatten(module: nn.Module) -> torch.Tensor:
    """Make every parameter a view of one vector, and return the vector."""
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in module.parameters()])
    for parameter, view in zip(module.parameters(), _views(flat, module), strict=True):
        parameter.data = view
    return flat


def flat_gradient(module: nn.Module) -> torch.Tensor:
    """One vector of zeros, of which every parameter's gradient becomes a view."""
    flat = torch.zeros(sum(parameter.numel() for parameter in module.parameters()))
    for parameter, view in zip(module.parameters(), _views(flat, module), strict=True):
        parameter.grad = view
    return flat


def _views(flat: torch.Tensor, module: nn.Module) -> list[torch.Tensor]:
    """The pieces of a flat vector in the shapes of the parameters."""
    pieces = torch.split(flat, [parameter.numel() for parameter in module.parameters()])
    return [piece.view_as(parameter) for piece, parameter in zip(pieces, module.parameters(), strict=True)]
