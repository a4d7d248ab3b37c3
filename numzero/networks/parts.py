"""Batches split by rows over threads: of any unroll, a part of the batch in each, gradients summed part after part.

Knows rows, threads and networks alike; knows nothing of how a part runs forward and back. torch lets go of Python's
lock while it computes, which is where the time of large layers and batches goes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

import torch

from numzero.networks.network import MuZeroNetwork
from numzero.networks.split_kernels import part_bounds
from numzero.networks.team import Team

if TYPE_CHECKING:
    from numzero.networks.gradients import Unroll

__all__ = ["Parts", "SplitUnroll", "joined"]


class _Backward(Protocol):
    """What every unroll has."""

    def backward(self, *gradients: Any) -> None:
        """See `Unroll`."""


_Unroll = TypeVar("_Unroll", bound=_Backward)


class Parts(Generic[_Unroll]):
    """An unroll for each thread, of networks with the same weights, each with gradients of its own.

    Args:
        network: of the first part; its gradients become the sums.
        num_parts: threads.
        make: the unroll of a network.
    """

    def __init__(self, network: MuZeroNetwork, num_parts: int, make: Callable[[MuZeroNetwork], _Unroll]) -> None:
        self._team = Team(num_parts)
        self._networks = [network, *(_alike(network) for _ in range(1, num_parts))]
        self._unrolls = [make(each) for each in self._networks]
        self._rows = [slice(0, 0)]

    def run(self, num_rows: int, work: Callable[[_Unroll, slice], tuple[torch.Tensor, ...]]) -> list[Any]:
        """What `work` gives of each part's rows; parts that have none are left out, then and on the way back."""
        bounds = part_bounds(num_rows, self._team.size).tolist()
        self._rows = [slice(first, end) for first, end in pairwise(bounds) if end > first]
        return self._map(lambda t: work(self._unrolls[t], self._rows[t]))

    def backward(self, *gradients: tuple[torch.Tensor | None, int]) -> None:
        """Have each part go back with its rows of these, each in so many blocks; sum the gradients of parameters."""
        self._map(lambda t: self._unrolls[t].backward(*(self._of_part(t, *each) for each in gradients)))
        with torch.no_grad():
            for parameter, *others in zip(*(each.parameters() for each in self._networks), strict=True):
                for other in others[: len(self._rows) - 1]:
                    cast(torch.Tensor, parameter.grad).add_(cast(torch.Tensor, other.grad))

    def _map(self, work: Callable[[int], Any]) -> list[Any]:
        count = len(self._rows)
        return self._team.map(lambda t: work(t) if t < count else None)[:count]

    def _of_part(self, t: int, rows: torch.Tensor | None, num_blocks: int) -> torch.Tensor | None:
        """Of `[blocks B, ...]` the part's rows of each block."""
        if rows is None:
            return None
        blocks = rows.reshape(num_blocks, len(rows) // num_blocks, *rows.shape[1:])
        return blocks[:, self._rows[t]].flatten(0, 1)


def _alike(network: MuZeroNetwork) -> MuZeroNetwork:
    """A network that is this one but for its gradients, if there are any."""
    alike = copy.deepcopy(network)
    alike.share_numbers(network)
    for parameter, original in zip(alike.parameters(), network.parameters(), strict=True):
        parameter.data = original.data
        parameter.grad = None if original.grad is None else torch.zeros_like(original)
    for buffer, shared in zip(alike.buffers(), network.buffers(), strict=True):
        buffer.data = shared.data
    return alike


def joined(parts: Sequence[torch.Tensor], num_blocks: int) -> torch.Tensor:
    """Rows of parts, block by block, to those of the batch `[blocks B, ...]`."""
    blocks = [part.reshape(num_blocks, len(part) // num_blocks, *part.shape[1:]) for part in parts]
    return torch.cat(blocks, 1).flatten(0, 1)


class SplitUnroll:
    """See `Unroll`; of any kind."""

    def __init__(self, parts: Parts[Unroll]) -> None:
        self._parts = parts

    def represent(self, observation: torch.Tensor) -> torch.Tensor:
        """See `Unroll`."""
        parts = self._parts.run(len(observation), lambda unroll, rows: (unroll.represent(observation[rows]),))
        return torch.cat([latent for (latent,) in parts])

    def forward(self, observation: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Unroll`."""
        self._num_blocks = action.shape[1] + 1
        parts = self._parts.run(len(action), lambda unroll, rows: unroll.forward(observation[rows], action[rows]))
        latents, outputs = (joined(results, self._num_blocks) for results in zip(*parts, strict=True))
        return latents, outputs

    def backward(self, d_latents: torch.Tensor | None, d_outputs: torch.Tensor) -> None:
        """See `Unroll`."""
        self._parts.backward((d_latents, self._num_blocks), (d_outputs, self._num_blocks))
