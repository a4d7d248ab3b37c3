"""From an ONNX graph to plain layers, which kernels run without onnxruntime.

Knows the chains of nodes that numzero exports; knows nothing of sessions or of how layers are computed. Whoever uses
the layers compares them with onnxruntime first: a node's attributes are not looked at.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from numzero.onnx_reader import OnnxGraph, OnnxNode
from numzero.search.dense import (
    DENSE,
    DENSE_ACTION,
    DENSE_RESIDUAL,
    LATENT,
    MINMAX,
    RELU,
    SILU,
    SYMLOG,
    DenseBuilder,
    DenseModel,
)

__all__ = ["plain_layers"]

NORM_EPSILON = 1e-5
"""Of LayerNorm and min-max in exported graphs; a graph with another does not agree and is not run by kernels."""

NO_BINS = np.zeros(0, np.float32)


def plain_layers(graph: OnnxGraph, discount: float) -> DenseModel | None:
    """The layers of `initial.onnx` or `recurrent.onnx` if its nodes are a plain chain; None for any other graph.

    Args:
        graph: from `read_graph`.
        discount: of every edge; the initial function has none.
    """
    try:
        return _Chain(graph).build(discount)
    except (ValueError, KeyError, IndexError):
        return None


class _Chain:
    """Reads a graph's nodes one after another, each of which must use what the one before made."""

    def __init__(self, graph: OnnxGraph) -> None:
        self._weights = graph.initializers
        self._nodes = list(graph.nodes)
        self._builder = DenseBuilder()
        self._x = "observation" if "observation" in self._nodes[0].inputs else "previous_latent"
        self._size = 0
        self._table = ""
        self._symlog = False

    def build(self, discount: float) -> DenseModel:
        """All layers, then the heads; ValueError where the graph is not such a chain."""
        while self._nodes[0].op != "Split":
            self._layer(self._nodes.pop(0))
            if self._x == "latent":
                self._builder.elementwise(LATENT, self._size)
        split, *heads = self._nodes
        names = [node.outputs[0] for node in heads[1::2]]
        if [node.op for node in heads] != ["Softmax", "MatMul"] * len(names) or split.inputs[0] != self._x:
            raise ValueError("heads of another form")
        if names not in (["value"], ["value", "reward"]):
            raise ValueError("heads in another order")
        bins = [self._weight(node.inputs[1]) for node in heads[1::2]]
        return self._builder.finish(bins[0], bins[1] if len(bins) == 2 else NO_BINS, discount, NORM_EPSILON)

    def _layer(self, node: OnnxNode) -> None:
        if node.op == "Gather":
            self._table = node.outputs[0]
            self._table_weights = self._weight(node.inputs[0])
            return
        if node.inputs[0] != self._x:
            raise ValueError(f"{node.op} does not follow what came before")
        if node.op == "Sign":
            self._read_symlog(node)
            return
        if node.op == "Gemm":
            self._product(node)
        elif node.op == "Flatten" and not self._size:
            pass  # of the observation: kernels see it flat
        elif node.op == "Relu":
            self._builder.elementwise(RELU, self._size)
        elif node.op == "LayerNormalization":
            scale, *bias = (self._weight(name) for name in node.inputs[1:])
            self._builder.norm(scale, bias[0] if bias else None)
        elif node.op == "Sigmoid":
            self._silu(node)
            return
        else:
            self._minmax(node)
            return
        self._x = node.outputs[0]

    def _product(self, node: OnnxNode) -> None:
        weight, summand = self._weight(node.inputs[1]), node.inputs[2]
        if self._symlog:  # of the observation, whose size only the first product tells
            self._builder.elementwise(SYMLOG, weight.shape[1])
            self._symlog = False
        if summand == self._table:
            self._builder.product(DENSE_ACTION, weight, self._table_weights)
        elif summand == "previous_latent":
            self._builder.product(DENSE_RESIDUAL, weight, None)
        else:
            self._builder.product(DENSE, weight, self._weight(summand))
        self._size = len(weight)

    def _silu(self, node: OnnxNode) -> None:
        product = self._nodes.pop(0)
        if product.op != "Mul" or set(product.inputs) != {self._x, node.outputs[0]}:
            raise ValueError("Sigmoid outside SiLU")
        self._builder.elementwise(SILU, self._size)
        self._x = product.outputs[0]

    def _read_symlog(self, node: OnnxNode) -> None:
        """Sign, Abs, Add, Log, Mul: sign(x) log(|x| + 1)."""
        magnitude, more, logarithm, product = (self._nodes.pop(0) for _ in range(4))
        if [each.op for each in (magnitude, more, logarithm, product)] != ["Abs", "Add", "Log", "Mul"]:
            raise ValueError("Sign outside symlog")
        if self._size or magnitude.inputs[0] != self._x or self._weight(more.inputs[1]).tolist() != 1.0:
            raise ValueError("not a symlog of the observation")
        self._symlog = True
        self._x = product.outputs[0]

    def _minmax(self, node: OnnxNode) -> None:
        """ReduceMin, ReduceMax, Sub, Sub, Max, Div in the order of export."""
        rest = [self._nodes.pop(0) for _ in range(5)]
        if [node.op, *(other.op for other in rest)] != ["ReduceMin", "ReduceMax", "Sub", "Sub", "Max", "Div"]:
            raise ValueError(f"{node.op} is not a layer")
        self._builder.elementwise(MINMAX, self._size)
        self._x = rest[-1].outputs[0]

    def _weight(self, name: str) -> NDArray[np.float32]:
        return np.asarray(self._weights[name], np.float32)
