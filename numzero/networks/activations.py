"""The activations of hidden layers: one entry each, and nothing else to change for a new one.

Knows names of torch's functions and how they look as nodes; imports neither torch nor onnx, so that settings can be
checked without them. What an entry leaves out is done in general ways: gradients by autograd, files by torch's
exporter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from numzero.graphs.formulas import Value

__all__ = ["ACTIVATIONS", "Activation", "Compiled"]


class Compiled(NamedTuple):
    """Operators of torch that fill arrays which are there: out = forward(x, *arguments), and the way back."""

    forward: str
    """Its `out` variant."""
    backward: str
    """Its `grad_input` variant, of (gradient, x, *arguments)."""
    arguments: tuple[float, ...] = ()


class Activation(NamedTuple):
    """One function of the elements."""

    function: str
    """What it is: a function of `torch.nn.functional`."""
    nodes: Callable[[Value], Value] | None = None
    """The same as ONNX nodes. The kernels of the search know relu and silu by theirs (`onnx_layers`)."""
    compiled: Compiled | None = None
    """For gradients by hand."""


ACTIVATIONS = {
    "relu": Activation(
        "relu", lambda x: x.graph.op("Relu", x), Compiled("clamp_min", "threshold_backward", arguments=(0.0,))
    ),
    "silu": Activation("silu", lambda x: x * x.graph.op("Sigmoid", x), Compiled("silu", "silu_backward")),
}
