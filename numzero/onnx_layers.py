"""From an ONNX graph to plain layers, which kernels run without onnxruntime.

Knows the chains of nodes that numzero exports; knows nothing of sessions or of how layers are computed. The graph may
be a stranger's, and kernels look at no bounds. So every node is held against the chain before it becomes a layer:

- its inputs: the result before it, and constants that the graph itself holds as float32 in raw_data;
- its attributes: those that export writes or their defaults; Gemm with or without transB, nothing else;
- sizes: each weight against what comes in, biases, scales, tables of actions, the residual, the heads' widths and bins
  against each other and against the sizes of observation, latent and actions that the model declares;
- the graph: opset, its inputs and outputs in order, one name for one thing, and no node beside the chain.

The finished program is held against `check_dense`, and whoever uses it compares it with onnxruntime first (newer
weights of a network that was compared are not compared again). What does not fit is no plain network: onnxruntime runs
it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.onnx_reader import OnnxGraph, OnnxNode
from numzero.search import Proposal
from numzero.search.plain.dense import (
    DENSE,
    DENSE_ACTION,
    DENSE_RESIDUAL,
    DENSE_VECTOR,
    LATENT,
    MINMAX,
    RELU,
    SILU,
    SYMLOG,
    DenseBuilder,
    DenseModel,
    check_dense,
)

__all__ = ["NetworkShapes", "plain_layers"]

OPSET = 20
"""The only one whose operators are known to mean what kernels do."""
NORM_EPSILON = 1e-5
"""Of LayerNorm and min-max in exported graphs; a graph with another is not run by kernels."""
SCALARS_OF_STEPS = [["value", "reward"], ["value", "reward", "discount"]]
"""What a recurrent function tells beside latent and policy; the discount where turns vary."""
FORMS = {
    "initial": (["observation"], "policy_logits", [["value"]]),
    "recurrent": (["previous_latent", "action"], "policy_logits", SCALARS_OF_STEPS),
    "afterstate": (["previous_latent", "action"], "outcome_logits", [["value"]]),
    "chance": (["previous_latent", "outcome"], "policy_logits", SCALARS_OF_STEPS),
}
"""Inputs, logits and scalars of each function; the last two are those of a model with chance."""
SYMLOG_OPS = ("Sign", "Abs", "Add", "Log", "Mul")
MINMAX_OPS = ("ReduceMin", "ReduceMax", "Sub", "Sub", "Max", "Div")
TO_FLOAT = 1
"""What Cast calls float32."""
LAST_AXIS = (1, -1)
"""Both name the same axis of `[batch, n]`."""


class NetworkShapes(NamedTuple):
    """What a model declares of its inputs and outputs, without the batch."""

    observation: tuple[int, ...]
    latent: tuple[int, ...]
    num_actions: int
    num_outcomes: int = 0
    """Of chance."""
    proposal: Proposal | None = None
    """What actions are, if they are vectors, whose parameters are told in place of `num_actions` logits."""


def plain_layers(
    graph: OnnxGraph, shapes: NetworkShapes, form: str, discount: float, max_weights: int
) -> DenseModel | None:
    """The layers of a file of a model if its nodes are a plain chain; None for any other graph.

    Args:
        graph: from `read_graph`.
        shapes: of the model.
        form: which of `FORMS` the function must be of.
        discount: of every edge.
        max_weights: most parameters.
    """
    try:
        return _Chain(graph, shapes, form, max_weights).build(discount)
    except (ValueError, KeyError, IndexError):
        return None


class _Chain:
    """Reads a graph's nodes one after another, each of which must use what the one before made."""

    def __init__(self, graph: OnnxGraph, shapes: NetworkShapes, form: str, max_weights: int) -> None:
        inputs, self._logits, known = FORMS[form]
        self._scalars = graph.outputs[2:]
        if (graph.inputs, graph.outputs[:2], graph.opset) != (inputs, ["latent", self._logits], OPSET):
            raise ValueError("not a plain network's inputs and outputs")
        if self._scalars not in known or len(shapes.latent) != 1:
            raise ValueError("not a plain network's outputs")
        edges = shapes.num_actions, shapes.num_outcomes
        if max(math.prod(shapes.observation), *shapes.latent, *edges) > max_weights:
            raise ValueError("wider than kernels are good for")
        self._recurrent = recurrent = form != "initial"
        self._num_inputs = math.prod(shapes.latent if recurrent else shapes.observation)
        self._latent_size, self._edge = shapes.latent[0], inputs[-1]
        self._num_edges = shapes.num_outcomes if self._edge == "outcome" else shapes.num_actions
        self._num_logits = shapes.num_outcomes if self._logits == "outcome_logits" else shapes.num_actions
        self._proposal = shapes.proposal
        self._room = max_weights
        self._weights = graph.initializers
        self._nodes = list(graph.nodes)
        self._builder = DenseBuilder()
        self._x = inputs[0]
        self._size = self._num_inputs
        self._shape = shapes.latent if recurrent else shapes.observation
        """Of what came before, without the batch."""
        self._tables: dict[str, NDArray[np.float32]] = {}
        self._vector = "action"
        """What stands for the action vector."""

    def build(self, discount: float) -> DenseModel:
        """All layers, then the heads; ValueError where the graph is not such a chain."""
        while self._nodes[0].op != "Split":
            self._layer(self._nodes.pop(0))
        proposal = self._proposal if self._recurrent else None
        dense = self._builder.finish(self._heads(), self._num_logits, discount, NORM_EPSILON, proposal)
        check_dense(dense, self._num_inputs, self._latent_size, self._num_edges, self._num_logits)
        return dense

    def _layer(self, node: OnnxNode) -> None:
        if node.op == "Gather":
            (self._table if self._proposal is None else self._choices)(node)
            return
        if node.op == "MatMul":
            self._vector_table(node)
            return
        if node.op == "Sign":
            self._symlog(node)
        elif node.op == "Flatten":
            self._flatten(node)
        elif node.op in ("Sub", "Mul"):
            self._affine(node)
        elif len(self._shape) != 1:
            raise ValueError(f"{node.op} of what is not [batch, n]")
        elif node.op == "Gemm":
            self._product(node)
        elif node.op == "LayerNormalization":
            self._norm(node)
        elif node.op == "Sigmoid":
            self._silu(node)
        elif node.op == "ReduceMin":
            self._minmax(node)
        else:
            self._follow([node], ["Relu"], (self._x,))
            self._builder.elementwise(RELU, self._size)
        if self._x == "latent":
            self._builder.elementwise(LATENT, self._size)

    def _follow(self, nodes: list[OnnxNode], ops: list[str] | tuple[str, ...], *inputs: tuple[str, ...]) -> None:
        """Nodes of these operators, of these inputs, without attributes and with one result; the last goes on."""
        found = [(node.op, node.inputs, node.attributes, len(node.outputs)) for node in nodes]
        if found != [(op, names, {}, 1) for op, names in zip(ops, inputs, strict=True)]:
            raise ValueError(f"{nodes[0].op} is not the layer it looks like")
        self._x = nodes[-1].outputs[0]

    def _attributes(self, node: OnnxNode, **defaults: float) -> dict[str, float | int | None]:
        """All attributes of a node of one result; ValueError if it has others than these."""
        if not node.attributes.keys() <= defaults.keys() or len(node.outputs) != 1:
            raise ValueError(f"{node.op} has attributes or results that are not known")
        return defaults | node.attributes

    def _table(self, node: OnnxNode) -> None:
        """A row of weights for each action, or outcome."""
        table = self._weight(node.inputs[0], 2)
        if not self._recurrent or node.inputs[1:] != (self._edge,) or len(table) != self._num_edges:
            raise ValueError("Gather is not of the edges' rows")
        if self._attributes(node, axis=0) != {"axis": 0}:
            raise ValueError("Gather along another axis")
        self._tables[node.outputs[0]] = table

    def _choices(self, node: OnnxNode) -> None:
        """Gather, Equal, Cast: a 1 for the choice that each factor of the action vector is."""
        proposal, equal, cast = self._proposal, self._nodes.pop(0), self._nodes.pop(0)
        assert proposal is not None, "actions are vectors"
        index, choice = self._weights[node.inputs[1]], self._weight(equal.inputs[1], 1)
        if not proposal.factors or index.dtype != np.int64 or index.tolist() != proposal.factor_of().tolist():
            raise ValueError("Gather of other numbers than the factors'")
        if choice.tolist() != proposal.choice_of().tolist() or self._attributes(cast, to=TO_FLOAT) != {"to": TO_FLOAT}:
            raise ValueError("Equal or Cast of another form")
        if self._attributes(node, axis=0) != {"axis": 1} or not self._recurrent or node.inputs[0] != "action":
            raise ValueError("Gather of something else")
        found = [(equal.op, equal.inputs[0], equal.attributes, len(equal.outputs)), (cast.op, cast.inputs)]
        if found != [("Equal", node.outputs[0], {}, 1), ("Cast", equal.outputs)]:
            raise ValueError("no choices")
        self._vector = cast.outputs[0]

    def _vector_table(self, node: OnnxNode) -> None:
        """What an action vector adds to a layer: its numbers times a table."""
        if not self._recurrent or self._proposal is None or node.inputs[0] != self._vector or node.attributes:
            raise ValueError("MatMul of something else than an action vector")
        if bool(self._proposal.factors) != (self._vector != "action"):
            raise ValueError("MatMul of another kind of action vectors")
        table = self._weight(node.inputs[1], 2)
        if len(table) != self._proposal.num_inputs or len(node.outputs) != 1:
            raise ValueError("a table of other rows than an action vector's")
        self._tables[node.outputs[0]] = table

    def _flatten(self, node: OnnxNode) -> None:
        """Of the observation, or of what is flat already: kernels see it flat."""
        if node.inputs != (self._x,) or self._attributes(node, axis=1) != {"axis": 1}:
            raise ValueError("Flatten of something else")
        self._x, self._shape = node.outputs[0], (self._size,)

    def _product(self, node: OnnxNode) -> None:
        attributes = self._attributes(node, alpha=1.0, beta=1.0, transA=0, transB=0)
        transposed = attributes.pop("transB")
        if attributes != {"alpha": 1.0, "beta": 1.0, "transA": 0} or transposed not in (0, 1):
            raise ValueError("Gemm that is scaled or of something transposed")
        x, name, summand = node.inputs
        weight = self._weight(name, 2)
        weight = weight if transposed else weight.T
        num_outputs = len(weight)
        if x != self._x or weight.shape[1] != self._size:
            raise ValueError("Gemm does not fit what came before")
        if summand in self._tables:
            table = self._tables[summand]
            op = DENSE_ACTION if self._proposal is None else DENSE_VECTOR
            bias = self._fitting(table, (len(table), num_outputs))
        elif summand == "previous_latent" and self._recurrent and num_outputs == self._num_inputs:
            op, bias = DENSE_RESIDUAL, None
        else:
            op, bias = DENSE, self._fitting(self._weight(summand, 1), (num_outputs,))
        self._use(self._builder.product_size(num_outputs, self._size) + (0 if bias is None else bias.size))
        self._builder.product(op, weight, bias)
        self._x, self._size, self._shape = node.outputs[0], num_outputs, (num_outputs,)

    def _use(self, count: int) -> None:
        self._room -= count
        if self._room < 0:
            raise ValueError("more parameters than kernels are good for")

    def _norm(self, node: OnnxNode) -> None:
        attributes = self._attributes(node, axis=-1, epsilon=NORM_EPSILON, stash_type=1)
        if attributes["axis"] not in LAST_AXIS or attributes["stash_type"] != 1:
            raise ValueError("LayerNormalization along another axis")
        if np.float32(attributes["epsilon"]) != np.float32(NORM_EPSILON):
            raise ValueError("LayerNormalization of another epsilon")
        x, *names = node.inputs
        if x != self._x or not 1 <= len(names) <= 2:
            raise ValueError("LayerNormalization does not follow what came before")
        scale, *bias = (self._fitting(self._weight(name, 1), (self._size,)) for name in names)
        self._use(2 * self._size)
        self._builder.norm(scale, bias[0] if bias else None)
        self._x = node.outputs[0]

    def _silu(self, node: OnnxNode) -> None:
        product = self._nodes.pop(0)
        factors = (self._x, node.outputs[0])
        if product.inputs == factors[::-1]:
            factors = product.inputs
        self._follow([node, product], ["Sigmoid", "Mul"], (self._x,), factors)
        self._builder.elementwise(SILU, self._size)

    def _affine(self, node: OnnxNode) -> None:
        """Sub or Mul of a constant, which may stand for many numbers."""
        _, name = node.inputs
        self._follow([node], [node.op], (self._x, name))
        constant = self._weight(name, self._weights[name].ndim)
        array = np.broadcast_to(constant, self._shape).ravel()
        self._use(2 * self._size)
        if node.op == "Sub":
            self._builder.affine(np.ones_like(array), array)
        else:
            self._builder.affine(array, np.zeros_like(array))

    def _symlog(self, node: OnnxNode) -> None:
        """Sign, Abs, Add, Log, Mul: sign(x) log(|x| + 1)."""
        nodes = [node, *(self._nodes.pop(0) for _ in SYMLOG_OPS[1:])]
        sign, magnitude, more, logarithm, _ = (each.outputs[0] for each in nodes)
        one = nodes[2].inputs[1]
        self._number(one, 1.0)
        x = (self._x,)
        self._follow(nodes, SYMLOG_OPS, x, x, (magnitude, one), (more,), (sign, logarithm))
        self._builder.elementwise(SYMLOG, self._size)

    def _minmax(self, node: OnnxNode) -> None:
        """ReduceMin, ReduceMax, Sub, Sub, Max, Div in the order of export."""
        nodes = [node, *(self._nodes.pop(0) for _ in MINMAX_OPS[1:])]
        for reduced in nodes[:2]:
            axes = self._weights[reduced.inputs[1]]
            known = {"keepdims": 1, "noop_with_empty_axes": 0}
            if self._attributes(reduced, **known) != known or axes.dtype != np.int64 or axes.shape != (1,):
                raise ValueError(f"{reduced.op} of another form")
            if axes[0] not in LAST_AXIS:
                raise ValueError(f"{reduced.op} along another axis")
        low, high, spread, above, floored, _ = (each.outputs[0] for each in nodes)
        floor, x = nodes[4].inputs[1], self._x
        self._number(floor, NORM_EPSILON)
        axes_names = [(x, reduced.inputs[1]) for reduced in nodes[:2]]
        bare = [reduced._replace(attributes={}) for reduced in nodes[:2]]
        links = ((high, low), (x, low), (spread, floor), (above, floored))
        self._follow([*bare, *nodes[2:]], MINMAX_OPS, *axes_names, *links)
        self._builder.elementwise(MINMAX, self._size)

    def _heads(self) -> list[NDArray[np.float32]]:
        """Split, then Softmax and MatMul for each scalar; the bins of each."""
        split, *rest = self._nodes
        scalars = self._scalars
        widths = self._split_widths(split)
        if len(rest) != 2 * len(scalars) or not len(scalars) + 1 <= len(widths) == len(split.outputs) <= 4:
            raise ValueError("heads of another form")
        bins = []
        for head, name in enumerate(scalars):
            softmax, product = rest[2 * head : 2 * head + 2]
            values = product.inputs[1]
            if self._attributes(softmax, axis=-1)["axis"] not in LAST_AXIS:
                raise ValueError("Softmax along another axis")
            links = ((split.outputs[head + 1],), (softmax.outputs[0], values))
            self._follow([softmax._replace(attributes={}), product], ["Softmax", "MatMul"], *links)
            bins.append(self._fitting(self._weight(values, 1), (widths[head + 1],)))
            if self._x != name:
                raise ValueError("heads in another order")
        return bins

    def _split_widths(self, split: OnnxNode) -> list[int]:
        """How many logits each head has."""
        x, name = split.inputs
        widths = self._weights[name]
        if x != self._x or split.outputs[0] != self._logits or widths.dtype != np.int64 or widths.ndim != 1:
            raise ValueError("Split of something else")
        if split.attributes.keys() != {"axis"} or split.attributes["axis"] not in LAST_AXIS:
            raise ValueError("Split along another axis")
        if widths.min() < 1 or widths[0] != self._num_logits or sum(widths.tolist()) != self._size:
            raise ValueError("heads that are not as wide as their logits")
        return [int(width) for width in widths]

    def _number(self, name: str, expected: float) -> None:
        found = self._weight(name, 0)
        if found != np.float32(expected):
            raise ValueError(f"a constant of {found} where {expected} belongs")

    def _weight(self, name: str, rank: int) -> NDArray[np.float32]:
        array = self._weights[name]
        if array.dtype != np.float32 or array.ndim != rank:
            raise ValueError(f"{name} is of another type or rank")
        return np.asarray(array, np.float32)

    def _fitting(self, array: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
        if array.shape != shape:
            raise ValueError(f"parameters of shape {array.shape} where {shape} belongs")
        return array
