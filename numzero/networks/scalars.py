"""What the categories of value and reward stand for, where that is learned: a layer behind the heads, and in the files.

Knows bins and targets; knows nothing of layers before it, or of losses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from numzero.errors import UserError
from numzero.graphs.formulas import Value
from numzero.networks.config import NetworkConfig
from numzero.networks.heads import Head
from numzero.networks.inputs import newest_share
from numzero.networks.layers import NetworkGraph

__all__ = ["Scalars"]

MARGIN = 2.0
"""The outermost bins stand for so many times the largest target that was seen."""
GROWTH = 1.02
"""Most by which the largest value grows in an update: it rests on the network's own values, which might lift
themselves. Rewards are what they are."""
SMALLEST, LARGEST = 1e-20, 1e30
"""Of targets that bins are fitted to, so that no two are the same in float32 and all are finite."""


class Scalars(nn.Module):
    """Bins that grow with the largest targets that training has seen, all by one factor (`SupportConfig.fitted`).

    Before the first target that is not 0, and where nothing is to be fitted, they are those of the settings. They never
    shrink: what was seen once may come again.

    Args:
        bins: of each head that means a scalar, `[size]` float32; changed in place.
        config: which are fitted.
    """

    def __init__(self, bins: Mapping[str, torch.Tensor], config: NetworkConfig) -> None:
        super().__init__()
        fitted = {"value": config.value.fitted, "reward": config.reward.fitted}
        self._shapes = {name: bins[name].numpy().copy() for name, is_fitted in fitted.items() if is_fitted}
        self._largest = {name: np.zeros(()) for name in self._shapes}
        self._count, self._typical = np.zeros((), np.int64), np.zeros(())
        for name in self._shapes:
            self.register_buffer(name, bins[name])

    def emit(self, graph: NetworkGraph, head: Head) -> Value:
        """The bins of a head, in a file."""
        assert head.bins is not None
        return graph.weight(getattr(self, head.scalar)) if head.scalar in self._shapes else graph.constant(head.bins)

    def learn(self, targets: Mapping[str, NDArray[np.float32]]) -> None:
        """Take the targets of a batch into account; where nothing is known they are 0."""
        if not self._shapes:
            return
        found = {name: float(np.abs(target).max(initial=0.0)) for name, target in targets.items()}
        for name, largest in self._largest.items():
            seen = min(max(found["reward"], self._allowed(found["value"]) if name == "value" else 0.0), LARGEST)
            if seen > max(float(largest), SMALLEST):  # never if it is no number
                largest[...] = seen
                self._show(name)
        self._learn_unit(np.abs(targets["reward"]))

    @property
    def reward_unit(self) -> float:
        """The size of a typical reward: the mean of those that are not 0. 1 where rewards are not fitted, or all 0."""
        return float(self._typical) if "reward" in self._shapes and self._typical > 0.0 else 1.0

    def _learn_unit(self, reward: NDArray[np.float32]) -> None:
        """Take the rewards of a batch into account, if there are any."""
        sizes = reward[(reward > SMALLEST) & (reward <= LARGEST)]
        if sizes.size:
            self._count += 1
            self._typical += newest_share(self._count) * (sizes.mean(dtype=np.float64) - self._typical)

    def _allowed(self, value: float) -> float:
        """What of a value is taken into account at once."""
        largest = float(self._largest["value"])
        return min(value, GROWTH * largest) if largest > 0.0 else value

    def _show(self, name: str) -> None:
        """What was learned, to where it is used."""
        shape, largest = self._shapes[name], float(self._largest[name])
        bins = shape if largest == 0.0 else shape * (MARGIN * largest / float(shape[-1]))
        getattr(self, name).copy_(torch.from_numpy(bins.astype(np.float32)))

    def state(self) -> dict[str, NDArray[Any]]:
        """All that `restore` needs to go on with the same bits; copies."""
        return {name: array.copy() for name, array in self._arrays().items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up where `state` was taken.

        Raises:
            UserError: it is that of a network whose bins are not fitted, or no numbers.
        """
        for name, array in self._arrays().items():
            kept = state.get(name)
            if kept is None or kept.shape != () or kept.dtype.kind not in "if" or not 0.0 <= float(kept) <= LARGEST:
                raise UserError(
                    f"a learner's state must have {name}, a number from 0 to {LARGEST:g}, as network.value.fitted or "
                    "network.reward.fitted wants it. Take another checkpoint."
                )
            array[...] = kept
        for name in self._largest:
            self._show(name)

    def take(self, buffers: Mapping[str, NDArray[np.float32]], reward_unit: float, updates: int) -> None:
        """Go on from bins, and the size of a typical reward, that a file holds, as if they came of so many batches.

        Raises:
            UserError: they cannot be what was learned.
        """
        for name, largest in self._largest.items():
            outermost = float(buffers[name][-1])
            if not 0.0 < outermost <= MARGIN * LARGEST:
                raise UserError(f"the bins of {name} must be finite, the last one above 0; got {outermost}.")
            largest[...] = 0.0 if outermost == float(self._shapes[name][-1]) else outermost / MARGIN
            self._show(name)
        if reward_unit != 1.0:
            self._typical[...], self._count[...] = reward_unit, updates

    def _arrays(self) -> dict[str, NDArray[Any]]:
        largest = {f"largest_{name}": largest for name, largest in self._largest.items()}
        return largest | {"reward_count": self._count, "typical_reward": self._typical} if largest else {}
