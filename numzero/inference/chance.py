"""`OnnxWithChance`: the `search.Model` of files with an afterstate function too."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero.inference.functions import Function, discount_shape
from numzero.inference.model import ModelFiles, OnnxModel
from numzero.inference.sessions import describe, row_shape, session_of
from numzero.onnx_layers import NetworkShapes
from numzero.search import AfterstateOutput, RecurrentOutput, WithChance
from numzero.search.plain.dense import DenseNetwork

__all__ = ["OnnxChance", "OnnxWithChance"]

AFTERSTATE_OUTPUTS = ["latent", "outcome_logits", "value"]
"""What the afterstate function gives."""


class OnnxChance(OnnxModel):
    """A `search.ChanceModel`: as `OnnxModel`, of files that have an afterstate function too."""

    _edge, _forms = "outcome", ("initial", "chance", "afterstate")

    def _introduce(self) -> None:
        """Load the third graph too."""
        super()._introduce()
        about = describe(self._afterstate_session, "afterstate")
        self.num_outcomes: int = row_shape(about.outputs[1], "afterstate", 1, 1)[0]
        self._require_same([*about.inputs, *about.outputs], "afterstate", self.num_outcomes)

    def _continues(self, earlier: OnnxModel) -> bool:
        self.num_outcomes = earlier.num_outcomes if isinstance(earlier, OnnxChance) else 0
        return super()._continues(earlier)

    def _shapes(self) -> NetworkShapes:
        return super()._shapes()._replace(num_outcomes=self.num_outcomes)

    @functools.cached_property
    def _afterstate(self) -> Function:
        shapes = {"latent": self.latent_shape, "outcome_logits": (self.num_outcomes,), "value": ()}
        return Function(self._afterstate_session, "afterstate", self.latent_shape, "action", shapes)

    @functools.cached_property
    def _chance(self) -> Function:
        shapes = {"latent": self.latent_shape, "policy_logits": (self.num_actions,), "value": (), "reward": ()}
        shapes |= discount_shape(self._recurrent_session)
        return Function(self._recurrent_session, "recurrent", self.latent_shape, "outcome", shapes)

    def network(self) -> DenseNetwork | None:
        """Both functions behind the root as plain layers for kernels, or None."""
        _, outcomes, actions = self._layers.functions
        return None if actions is None or outcomes is None else DenseNetwork(actions, outcomes)

    def _stepped(self, form: str, latent: NDArray[np.float32], edge: NDArray[np.int32]) -> RecurrentOutput:
        if form == "chance":
            return self.chance(latent, edge)
        after = self.afterstate(latent, edge)
        zeros, ones = np.zeros_like(after.value), np.ones_like(after.value)
        return RecurrentOutput(after.latent, zeros, ones, after.outcome_logits, after.value)

    @functools.cached_property
    def _afterstate_session(self) -> Any:
        return session_of(self.files.afterstate, "afterstate", ["previous_latent", "action"], AFTERSTATE_OUTPUTS)

    def afterstate(self, latent: NDArray[np.float32], action: NDArray[np.int32], /) -> AfterstateOutput:
        """See `search.ChanceModel`."""
        return AfterstateOutput(**self._afterstate(latent, action))

    def chance(self, latent: NDArray[np.float32], outcome: NDArray[np.int32], /) -> RecurrentOutput:
        """See `search.ChanceModel`."""
        discount = np.full(len(outcome), self.discount, np.float32)
        return RecurrentOutput(**({"discount": discount} | self._chance(latent, outcome)))


class OnnxWithChance(WithChance):
    """The `search.Model` of files with chance; what it says of itself is what an `OnnxModel` says."""

    model: OnnxChance

    def __init__(self, files: ModelFiles, *, kernels: bool = True, earlier: OnnxWithChance | None = None) -> None:
        super().__init__(OnnxChance(files, kernels=kernels, earlier=None if earlier is None else earlier.model))
        self.files, self.observation_shape = files, self.model.observation_shape
        self.discount, self.version, self.reward_unit = self.model.discount, self.model.version, self.model.reward_unit

    def dense(self) -> DenseNetwork | None:
        """See `OnnxChance.network`; the same object at each call."""
        return self._network

    @functools.cached_property
    def _network(self) -> DenseNetwork | None:
        return self.model.network()
