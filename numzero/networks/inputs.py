"""What is done to observations before a body sees them: a layer of the network, so that it is in the files too.

Knows numbers; knows nothing of bodies.
"""

from __future__ import annotations

import torch

from numzero.graphs.formulas import Value
from numzero.networks.config import NetworkConfig
from numzero.networks.layers import Chain, Layer, NetworkGraph

__all__ = ["Symlog", "make_inputs"]


class Symlog(Layer):
    """sign(x) log(1 + |x|) (DreamerV3)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape."""
        return x.sign() * x.abs().log1p()

    def emit(self, graph: NetworkGraph, x: Value) -> Value:
        """See `Layer`."""
        return graph.op("Sign", x) * graph.op("Log", graph.op("Abs", x) + 1.0)


def make_inputs(config: NetworkConfig) -> Layer:
    """`[N, *O]` to `[N, *O]`, without parameters."""
    return Symlog() if config.observation_scaling == "symlog" else Chain([])
