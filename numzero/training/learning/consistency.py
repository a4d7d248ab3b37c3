"""Self-consistency: unrolled latents are to be what the real observations are encoded as.

Knows latents; knows nothing of batches, heads or schedules. `Projection` compares in a space of its own, with weights
that only training has: no file of the network holds them.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from numzero.networks.split_kernels import part_bounds
from numzero.networks.team import Team
from numzero.training.learning.optimizer import AdamW

__all__ = ["MOST_DISTANCE", "Projection", "flat_gradient", "flatten"]

MOST_DISTANCE = 0.01
"""1 - cosine, the mean of a batch. Where latents stay further from what they are to be like, observations follow by
chance; that cannot be learned, and at the weight that a world without chance wants it would drown all else."""

SIZE, NARROW = 128, 64
"""Of projections, and of the predictor's hidden layer, which is to be narrower (Chen & He 2021)."""

_Float32Array = NDArray[np.float32]


class Projection:
    """1 - cosine between a prediction of the projected unrolled latent and an average projection of the real one.

    Bootstrap Your Own Latent (Grill et al. 2020), with the network's average as target, in place of EfficientZero's
    SimSiam (Ye et al. 2021, section 4.1). The plain distance of latents has a cheap answer where observations follow
    each other by chance, one encoding for all; here a predictor stands between, and only directions count.

    Args:
        latent_shape: `*H`.
        weight_decay: AdamW's.
        num_threads: above 1 rows are split into so many parts; sums are rounded otherwise then.
    """

    def __init__(self, latent_shape: tuple[int, ...], weight_decay: float, num_threads: int = 1) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self._project = _layers(math.prod(latent_shape), SIZE, SIZE)
            self._predict = _layers(SIZE, NARROW, SIZE)
        self._average = copy.deepcopy(self._project).requires_grad_(False)
        self._both = nn.ModuleList([self._project, self._predict])
        self._averages = nn.ModuleList([self._average, copy.deepcopy(self._predict).requires_grad_(False)])
        parameters, averages = flatten(self._both), flatten(self._averages)
        self._gradients = flat_gradient(self._both)
        self._optimizer = AdamW(parameters.numpy(), averages.numpy(), weight_decay, num_threads)
        self._team = Team(num_threads) if num_threads > 1 else None

    def loss(self, found: torch.Tensor, wanted: torch.Tensor, count: _Float32Array) -> tuple[float, torch.Tensor]:
        """The weighted sum of distances, and its gradient at `found`; fills the gradient of its own weights.

        found, wanted: `[N, *H]` unrolled latents, and encodings of the real observations. count: `[N]`.
        """
        if self._team is None:
            self._gradients.zero_()
            latent, loss = self._distance(found, wanted, count)
            loss.backward()  # type: ignore[no-untyped-call]
            assert latent.grad is not None
            return float(loss.detach()), latent.grad.view_as(found)
        bounds, both = part_bounds(len(found), self._team.size), list(self._both.parameters())

        def differentiate(t: int) -> tuple[float, tuple[torch.Tensor, ...]]:
            rows = slice(bounds[t], bounds[t + 1])
            latent, loss = self._distance(found[rows], wanted[rows], count[rows])
            return float(loss.detach()), torch.autograd.grad(loss, [latent, *both])

        losses, gradients = zip(*self._team.map(differentiate), strict=True)
        with torch.no_grad():
            sums = [torch.cat([part.reshape(-1) for part in gradient[1:]]) for gradient in gradients]
            self._gradients.copy_(sums[0])
            for part in sums[1:]:
                self._gradients.add_(part)
        return sum(losses), torch.cat([gradient[0] for gradient in gradients]).view_as(found)

    def _distance(
        self, found: torch.Tensor, wanted: torch.Tensor, count: _Float32Array
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents `[N, H]` that ask for a gradient, and their weighted distances' sum."""
        latent = found.detach().flatten(1).requires_grad_()  # [N, H]
        with torch.no_grad():
            goal = self._average(wanted.flatten(1))  # [N, SIZE]
        likeness = functional.cosine_similarity(self._predict(self._project(latent)), goal, dim=1)  # [N]
        return latent, (torch.from_numpy(count) * (1.0 - likeness)).sum()

    def step(self, rate: float, num_done: int, average_decay: float) -> None:
        """Learn from the gradient of the last loss; see `AdamW.step`."""
        self._optimizer.step(self._gradients.numpy(), 1.0, rate, num_done, average_decay)

    def vectors(self) -> dict[str, _Float32Array]:
        """All that is learned, to be kept and restored."""
        held = self._optimizer
        return {
            "projection_parameters": held.parameters,
            "projection_average": held.average,
            "projection_gradient_mean": held.mean,
            "projection_gradient_square": held.square,
        }


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
