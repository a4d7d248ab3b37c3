"""What the search needs of a model.

Knows the shapes that pass between search and model; knows nothing of networks, files or games.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["InitialOutput", "Model", "RecurrentOutput"]


class InitialOutput(NamedTuple):
    """The model's view of B root positions."""

    latent: NDArray[np.float32]
    """`[B, *H]` the hidden state that the search unrolls from."""
    policy_logits: NDArray[np.float32]
    """`[B, A]` unnormalised log-probabilities of the actions; illegal ones are masked by the search."""
    value: NDArray[np.float32]
    """`[B]` expected return, seen from the player to move."""


class RecurrentOutput(NamedTuple):
    """The model's view of B positions after one action each."""

    latent: NDArray[np.float32]
    """`[B, *H]` the hidden state after the action."""
    reward: NDArray[np.float32]
    """`[B]` reward of the action, seen from the player who took it."""
    discount: NDArray[np.float32]
    """`[B]` what the value behind the edge is multiplied by: gamma, -gamma where the turn passes, 0 at an end."""
    policy_logits: NDArray[np.float32]
    """`[B, A]` unnormalised log-probabilities of the next actions."""
    value: NDArray[np.float32]
    """`[B]` expected return after the action, seen from the player who is then to move."""


class Model(Protocol):
    """A learned or given model of B positions at a time; all floats are float32.

    Outputs may be buffers that the next call overwrites: the search copies what it keeps.
    """

    @property
    def num_actions(self) -> int:
        """A, the number of actions."""
        ...

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """H, the shape of one hidden state."""
        ...

    def initial(self, observation: NDArray[np.generic], /) -> InitialOutput:
        """Representation and prediction of `[B, *O]` observations."""
        ...

    def recurrent(self, latent: NDArray[np.float32], action: NDArray[np.int32], /) -> RecurrentOutput:
        """Dynamics and prediction: `[B, *H]` hidden states, `[B]` actions."""
        ...
