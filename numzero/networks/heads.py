"""The heads: what the prediction says of a latent, each part a distribution over categories.

The one place that lists them. Sizes, columns of the outputs, losses, what the files give and how it is decoded follow
from an entry. Knows categories and what they stand for; knows nothing of layers or losses, and never imports torch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.networks.config import NetworkConfig
from numzero.networks.support import bin_values

__all__ = ["Head", "Heads", "afterstate_heads_of", "heads_of", "num_outputs"]


class Head(NamedTuple):
    """One part of the outputs `[N, outputs]` of the prediction."""

    name: str
    """The batch has its `<name>_target` and `<name>_mask`, the learner's settings its `<name>_weight`."""
    size: int
    """How many categories."""
    bins: NDArray[np.float32] | None = None
    """`[size]` scalars that the categories stand for, ascending: the head means their expectation. None: the logits
    themselves are wanted."""
    of_step: bool = False
    """It tells of the step that led to the latent, and nothing of a first position; else of the position."""
    begin: int = 0
    """Its first column."""
    meaning: str = ""
    """The head whose bins it has, where that is another: an afterstate's value is a value."""

    @property
    def columns(self) -> slice:
        """Where it stands in the outputs."""
        return slice(self.begin, self.begin + self.size)

    @property
    def output(self) -> str:
        """Its name in the files."""
        return f"{self.name}_logits" if self.bins is None else self.scalar

    @property
    def scalar(self) -> str:
        """The name that its bins go by."""
        return self.meaning or self.name

    def expectation(self, probability: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scalars `[...]` that rows of the outputs `[..., outputs]`, as probabilities, stand for."""
        assert self.bins is not None
        mean: NDArray[np.float32] = np.ascontiguousarray(probability[..., self.columns]) @ self.bins
        return mean


Heads = dict[str, Head]
"""By name, in the order of their columns."""


def heads_of(num_actions: int, config: NetworkConfig, turn_gamma: float | None = None) -> Heads:
    """The heads of a network.

    Args:
        num_actions: A.
        config: gives the bins of value and reward.
        turn_gamma: gamma, if the model is to tell whether the turn passes (see `games.turns`): the discount of an edge
            is a scalar of two categories then, -gamma where it passes and gamma where it stays.
    """
    heads = [
        Head("policy", num_actions),
        Head("value", config.value.num_bins, bin_values(config.value)),
        Head("reward", config.reward.num_bins, bin_values(config.reward), of_step=True),
    ]
    if turn_gamma is not None:
        heads.append(Head("discount", 2, np.array([-turn_gamma, turn_gamma], np.float32), of_step=True))
    return _placed(*heads)


def afterstate_heads_of(num_outcomes: int, heads: Heads) -> Heads:
    """The heads of afterstates, of a network with such `heads` of positions.

    How likely each of C outcomes is, and the value: seen from the player who acted, in the same bins as of positions.
    """
    return _placed(Head("outcome", num_outcomes), heads["value"]._replace(name="afterstate", meaning="value"))


def _placed(*heads: Head) -> Heads:
    """One behind the other."""
    placed, begin = Heads(), 0
    for head in heads:
        placed[head.name] = head._replace(begin=begin)
        begin += head.size
    return placed


def num_outputs(heads: Heads) -> int:
    """Columns of all heads."""
    return sum(head.size for head in heads.values())
