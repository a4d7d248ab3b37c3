"""What is done to observations before a body sees them: a layer of the network, so that it is in the files too.

Knows numbers; knows nothing of bodies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.graphs.formulas import Value
from numzero.networks.config import NetworkConfig
from numzero.networks.layers import Layer, NetworkGraph

__all__ = ["Inputs", "Pictures", "Running", "Symlog", "make_inputs", "newest_share"]

Kinds = NDArray[np.str_] | None
LINEAR = 5.0
"""`Running` leaves a number nearly as it is up to 1 or 2 spreads from the mean, and shows its logarithm beyond some 5:
1 becomes 0.91, 3 becomes 2.35, 10 becomes 5.5, 1,000 becomes 26."""
MEMORY = 1000
"""Batches: up to here mean and spread are those of all positions seen, later ones forget as a running average does."""
CONSTANT = 1e-6
"""A spread of so small a share of the mean is none: float32 has 7 digits."""
LARGEST, SMALLEST = 1e30, 1e-30
"""Of spreads: what is divided by them shall be float32."""


class Inputs(Layer):
    """Observations `[N, *O]` to what the body sees, `[N, *O]`; as they are unless a kind says otherwise.

    A kind that learns from observations has what it learned as buffers: they are in the files, as weights are.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape."""
        return x

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        return x

    def typical(self, x: torch.Tensor) -> torch.Tensor:
        """Observations as they are found where numbers about 1 in size stand for what the body is to see."""
        return x

    def learn(self, observation: NDArray[np.generic]) -> None:
        """Take a batch `[B, *O]` of training into account."""

    def state(self) -> dict[str, NDArray[Any]]:
        """All that `restore` needs to go on with the same bits; copies."""
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up where `state` was taken.

        Raises:
            UserError: it is that of other observations, or of another kind.
        """

    def take(self, buffers: Mapping[str, NDArray[np.float32]], updates: int) -> None:
        """Go on from what a file holds under the names of our buffers, as if it came of so many batches.

        Raises:
            UserError: it cannot be what was learned.
        """


class Symlog(Inputs):
    """sign(x) log(1 + |x|) (DreamerV3)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape."""
        return x.sign() * x.abs().log1p()

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        return graph.op("Sign", x) * graph.op("Log", graph.op("Abs", x) + 1.0)


class Pictures(Inputs):
    """x / 255: bytes to 0 .. 1.

    Args:
        kinds: `[*O]` of each number; those that are no picture's are left as they are. None: all are.

    Raises:
        UserError: there are no pictures.
    """

    share: torch.Tensor
    """`[]` or `[*O]` float32, 1 / 255 or 1."""

    def __init__(self, kinds: Kinds) -> None:
        super().__init__()
        is_picture = np.array(True) if kinds is None else kinds == "picture"
        if not is_picture.any():
            raise UserError(
                "network.observation_scaling = 'pictures' needs pictures of 0 to 255; this game shows none. Set it to "
                "running."
            )
        share = torch.from_numpy(np.where(is_picture, 1.0 / 255.0, 1.0).astype(np.float32))
        self.register_buffer("share", share.flatten()[0] if is_picture.all() else share)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, *O]` to `[N, *O]`."""
        return x * self.share

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        return x * graph.weight(self.share)

    def typical(self, x: torch.Tensor) -> torch.Tensor:
        """See `Inputs`."""
        return x / self.share


class Running(Inputs):
    """(x - mean) / spread, softly clipped: c symlog(x / c), c = `LINEAR`.

    Mean and spread are those of the positions that training has seen: of each number, and of each channel where
    observations are `[C, H, W]`. One that never varied counts in units of its own size. Before the first batch
    nothing but the clipping happens. One-hots are left as they are.

    Args:
        shape: `*O`.
        kinds: `[*O]` of each number; None: they are numbers.
    """

    mean: torch.Tensor
    """`[*P]` float32, which broadcasts to `*O`."""
    scale: torch.Tensor
    """`[*P]` float32, 1 / (c spread)."""

    def __init__(self, shape: tuple[int, ...], kinds: Kinds = None) -> None:
        super().__init__()
        planes = len(shape) == 3
        self._axes = (0, 2, 3) if planes else (0,)  # of a batch, over which mean and spread are taken
        one_hot = np.zeros(shape, np.bool_) if kinds is None else kinds == "one-hot"
        self._one_hot = one_hot.all((1, 2), keepdims=True) if planes else one_hot
        shape = self._one_hot.shape
        self._symlog = Symlog()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("scale", torch.zeros(shape))
        self._count = np.zeros((), np.int64)
        self._mean, self._variance = np.zeros(shape), np.zeros(shape)
        self._show()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, *O]` to `[N, *O]`."""
        return self._symlog((x - self.mean) * self.scale) * LINEAR

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        x = (x - graph.weight(self.mean)) * graph.weight(self.scale)
        return self._symlog.emit(graph, x) * LINEAR

    def typical(self, x: torch.Tensor) -> torch.Tensor:
        """See `Inputs`."""
        return x / (self.scale * LINEAR) + self.mean

    def learn(self, observation: NDArray[np.generic]) -> None:
        """See `Inputs`."""
        self._count += 1
        share = newest_share(self._count)
        with np.errstate(invalid="ignore", over="ignore"):  # infinite observations end the update, in words
            mean = observation.mean(self._axes, np.float64).reshape(self._mean.shape)
            variance = observation.var(self._axes, np.float64).reshape(self._mean.shape)
        shift = mean - self._mean
        self._variance += share * (variance - self._variance + (1.0 - share) * shift * shift)
        self._mean += share * shift
        self._show()

    def _show(self) -> None:
        """What was learned, to where it is used."""
        spread, size = np.sqrt(self._variance), np.abs(self._mean)
        unit = np.where(spread <= CONSTANT * size, np.where(size == 0.0, 1.0, size), spread)
        scale = np.where(self._one_hot, np.expm1(1.0 / LINEAR), 1.0 / (LINEAR * unit.clip(SMALLEST, LARGEST)))
        self.mean.copy_(torch.as_tensor(np.where(self._one_hot, 0.0, self._mean)))
        self.scale.copy_(torch.as_tensor(scale))

    def state(self) -> dict[str, NDArray[Any]]:
        """See `Inputs`."""
        return {name: array.copy() for name, array in self._arrays().items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `Inputs`."""
        for name, array in self._arrays().items():
            if name not in state or state[name].shape != array.shape or not np.isfinite(state[name]).all():
                raise UserError(
                    f"a learner's state must have {name} of shape {array.shape} and finite, as "
                    "network.observation_scaling = 'running' wants it. Take another checkpoint."
                )
            array[...] = state[name]
        self._show()

    def take(self, buffers: Mapping[str, NDArray[np.float32]], updates: int) -> None:
        """See `Inputs`. A number that had never varied counts as one that did, by its own size."""
        mean, scale = buffers["mean"], buffers["scale"]
        if not (np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0.0).all()):
            raise UserError("what a network knows of observations must be finite, and spreads above 0.")
        self._mean[...] = mean
        self._variance[...] = (LINEAR * scale.astype(np.float64)) ** -2
        self._count[...] = updates
        self._show()

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "observation_count": self._count,
            "observation_mean": self._mean,
            "observation_variance": self._variance,
        }


def newest_share(count: NDArray[np.int64]) -> float:
    """What the newest of `count` batches (`[]`) has in a running mean of them all."""
    return max(1.0 / float(count), 1.0 / MEMORY)


def make_inputs(observation_shape: tuple[int, ...], config: NetworkConfig, kinds: Kinds = None) -> Inputs:
    """`[N, *O]` to `[N, *O]`, without parameters.

    Args:
        observation_shape: `*O`.
        config: says what is done.
        kinds: `[*O]` what each number is part of: "numbers", "one-hot" or "picture"; None where nobody knows.

    Raises:
        UserError: it cannot be done to these observations.
    """
    if config.observation_scaling == "running":
        return Running(observation_shape, kinds)
    if config.observation_scaling == "pictures":
        return Pictures(kinds)
    return Symlog() if config.observation_scaling == "symlog" else Inputs()
