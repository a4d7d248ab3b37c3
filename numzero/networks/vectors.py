"""Dynamics of action vectors, whatever a body's own is.

Knows vectors and what a dynamics takes in place of actions; knows nothing of bodies.
"""

from __future__ import annotations

import torch
from torch import nn

from numzero.graphs.formulas import FLOAT, Value
from numzero.networks.layers import Dynamics, DynamicsStages, NetworkGraph
from numzero.search.proposals import Proposal

__all__ = ["VectorDynamics"]

INPUT_SCALE = 4.0
"""Initial size of what a number of a vector adds to the first layer, times that of an action of a list: a number near 0
is the rule, where an action of a list is always 1."""


class VectorDynamics(Dynamics):
    """g of action vectors: that of a body, which is given the vector's numbers in place of shares of actions."""

    def __init__(self, inner: Dynamics, proposal: Proposal) -> None:
        super().__init__()
        self.inner = inner
        self.proposal = proposal
        if proposal.factors:
            self._factor = torch.from_numpy(proposal.factor_of())
            self._choice = torch.from_numpy(proposal.choice_of())
        elif isinstance(table := getattr(inner, "action", None), nn.Parameter):
            with torch.no_grad():
                table.mul_(INPUT_SCALE)

    def inputs(self, action: torch.Tensor) -> torch.Tensor:
        """`[N, num_inputs]` of vectors `[N, D]`."""
        return (action[:, self._factor] == self._choice).float() if self.proposal.factors else action

    def forward(self, latent: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """`[N, *H]`, `[N, D]` to `[N, *H]`."""
        return self.inner(latent, self.inputs(action))

    def stages(self) -> DynamicsStages | None:
        """See `Layer`; what is added to the first layer is a product with the table, not a row of it."""
        return self.inner.stages()

    def emit(self, graph: NetworkGraph, latent: Value, action: Value) -> Value:
        """See `Layer`."""
        if self.proposal.factors:
            each = action.at(self.proposal.factor_of().tolist(), axis=1)
            action = each.equals(graph.constant(self.proposal.choice_of())).cast(FLOAT)
        return self.inner.emit(graph, latent, action)
