"""A network's graph: its weights keep the names of their parameters.

Knows parameters; knows nothing of layers. Graphs are written by hand rather than traced: every node costs a small
network more than its arithmetic.
"""

from __future__ import annotations

import torch

from numzero.graphs.formulas import Graph, Value

__all__ = ["NetworkGraph"]


class NetworkGraph(Graph):
    """A graph of a module, whose parameters are stored under its own names."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self._names = {id(parameter): name for name, parameter in module.named_parameters()}

    def weight(self, parameter: torch.Tensor) -> Value:
        """A parameter of the module."""
        return self.stored(self._names[id(parameter)], parameter.detach().numpy())
