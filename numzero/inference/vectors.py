"""`OnnxVectors`: the `search.ProposingModel` of files whose actions are vectors."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.inference.fenced import agree, try_out
from numzero.inference.functions import Function, discount_shape
from numzero.inference.model import TRIALS, ModelFiles, OnnxModel
from numzero.onnx_layers import NetworkShapes
from numzero.onnx_reader import read_metadata
from numzero.search import Proposal, RecurrentOutput
from numzero.search.plain.dense import DenseModel

__all__ = ["PROPOSAL", "OnnxVectors", "takes_vectors"]

PROPOSAL = "proposal"
"""In the metadata of a recurrent function that takes action vectors: what these are, as `search.Proposal` says it."""


class OnnxVectors(OnnxModel):
    """A `search.ProposingModel`: as `OnnxModel`, of files whose actions are vectors."""

    _types: Mapping[str, str] = {}

    def _introduce(self) -> None:
        """Read first what actions are."""
        self._use(_proposal(self.files))
        super()._introduce()
        if self.num_actions != self.proposal.num_parameters:
            raise UserError(
                f"recurrent.onnx must give {self.proposal.num_parameters} parameters for its action vectors; it gives "
                f"{self.num_actions}. Export it again."
            )

    def _use(self, proposal: Proposal) -> None:
        self.proposal = proposal
        self._action_shape = (proposal.size,)

    def _continues(self, earlier: OnnxModel) -> bool:
        if not isinstance(earlier, OnnxVectors) or _proposal(self.files) != earlier.proposal:
            return False
        self._use(earlier.proposal)
        return super()._continues(earlier)

    def _shapes(self) -> NetworkShapes:
        return super()._shapes()._replace(proposal=self.proposal)

    @functools.cached_property
    def _function(self) -> Function:
        session, latent = self._recurrent_session, self.latent_shape
        shapes = {"latent": latent, "policy_logits": (self.num_actions,), "value": (), "reward": ()}
        return Function(session, "recurrent", latent, "action", shapes | discount_shape(session), self._action_shape)

    def recurrent(self, latent: NDArray[np.float32], action: NDArray[Any], /) -> RecurrentOutput:
        """See `search.ProposingModel`."""
        discount = np.full(len(action), self.discount, np.float32)
        return RecurrentOutput(**({"discount": discount} | self._function(latent, action)))

    def _step_agrees(self, form: str, dense: DenseModel) -> bool:
        """Kernels are given vectors behind latents, and which of them."""
        rng = np.random.default_rng(0)
        latent = rng.normal(size=(TRIALS, *self.latent_shape)).astype(np.float32)
        vectors = self.proposal.uniform(rng, (TRIALS, TRIALS))
        which = rng.integers(TRIALS, size=TRIALS, dtype=np.int32)
        expected = self.recurrent(latent, vectors[np.arange(TRIALS), which])
        found = try_out(dense, np.concatenate([latent, vectors.reshape(TRIALS, -1)], axis=1), which, expected)
        return found is not None and agree(expected, found)


def _proposal(files: ModelFiles) -> Proposal:
    """What the action vectors of these files are."""
    try:
        return Proposal.parsed(read_metadata(files.recurrent).get(PROPOSAL, ""))
    except ValueError as error:
        raise UserError(
            f"recurrent.onnx must say in its metadata what actions are: {error}. Export it again."
        ) from error


def takes_vectors(files: ModelFiles) -> bool:
    """Whether actions of these networks are vectors."""
    try:
        return PROPOSAL in read_metadata(files.recurrent)
    except ValueError:  # which is said where they are loaded
        return False
