"""What the search needs of a model.

Knows the shapes that pass between search and model; knows nothing of networks, files or games.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from numzero.search.proposals import Proposal

__all__ = ["AfterstateOutput", "ChanceModel", "HasChance", "InitialOutput", "Model", "Proposes", "ProposingModel"]
__all__ += ["RecurrentOutput"]


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


@runtime_checkable
class HasChance(Protocol):
    """A model where chance has its say after every action: nodes of odd depth are afterstates.

    `recurrent` is then given, for the latent of an afterstate, an outcome from 0 to C - 1 in place of an action, and an
    edge into an afterstate has reward 0 and discount 1. All `policy_logits` are `[B, max(A, C)]`: of an afterstate the
    first C are those of its outcomes, of other positions the first A those of the actions. The rest is not read.
    """

    @property
    def num_outcomes(self) -> int:
        """C, the number of outcomes."""
        ...


class AfterstateOutput(NamedTuple):
    """The model's view of B positions after one action each, before it is known what chance makes of it."""

    latent: NDArray[np.float32]
    """`[B, *H]` the hidden state of the afterstate."""
    outcome_logits: NDArray[np.float32]
    """`[B, C]` unnormalised log-probabilities of the outcomes."""
    value: NDArray[np.float32]
    """`[B]` expected return, seen from the player who acted."""


class ChanceModel(Protocol):
    """A model of positions and of afterstates (Antonoglou et al. 2022); `adapters.WithChance` makes a `Model` of it.

    Any number of rows may be asked for at a time.
    """

    @property
    def num_actions(self) -> int:
        """A, the number of actions."""
        ...

    @property
    def num_outcomes(self) -> int:
        """C, the number of outcomes of chance."""
        ...

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """H, the shape of one hidden state, of positions and of afterstates alike."""
        ...

    def initial(self, observation: NDArray[np.generic], /) -> InitialOutput:
        """Representation and prediction of `[B, *O]` observations."""
        ...

    def afterstate(self, latent: NDArray[np.float32], action: NDArray[np.int32], /) -> AfterstateOutput:
        """What `[B]` actions make of `[B, *H]` positions."""
        ...

    def chance(self, latent: NDArray[np.float32], outcome: NDArray[np.int32], /) -> RecurrentOutput:
        """What `[B]` outcomes make of `[B, *H]` afterstates; reward and discount are those of action and outcome."""
        ...


class ProposingModel(Protocol):
    """A model whose actions are vectors `[D]`; `adapters.SampledActions` makes a `Model` of it.

    All `policy_logits` are `[B, P]`: parameters of the distribution that `proposal` says, not logits of actions.
    """

    @property
    def proposal(self) -> Proposal:
        """What a vector is, and how the network says which are likely."""
        ...

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """H, the shape of one hidden state."""
        ...

    def initial(self, observation: NDArray[np.generic], /) -> InitialOutput:
        """Representation and prediction of `[B, *O]` observations."""
        ...

    def recurrent(self, latent: NDArray[np.float32], action: NDArray[np.float32], /) -> RecurrentOutput:
        """Dynamics and prediction: `[B, *H]` hidden states, `[B, D]` action vectors."""
        ...


@runtime_checkable
class Proposes(Protocol):
    """What tells a `ProposingModel` from others."""

    @property
    def proposal(self) -> Proposal:
        """See `ProposingModel`."""
        ...
