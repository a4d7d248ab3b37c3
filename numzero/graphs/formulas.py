"""ONNX nodes written as formulas: a `Value` is a tensor to be, and its operators add nodes to the graph it belongs to.

Knows operators, element types, constants, loops, branches and how one model is put inside another; knows nothing of
what is computed, and needs onnx but not torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

__all__ = ["Graph", "Value", "concat", "where"]

BOOL, FLOAT, DOUBLE, INT32, INT64 = (
    TensorProto.BOOL,
    TensorProto.FLOAT,
    TensorProto.DOUBLE,
    TensorProto.INT32,
    TensorProto.INT64,
)
OPSET = 20
IR_VERSION = 9
TRUTH_OPS = {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Not"}
INDEX_OPS = {"ArgMax", "Shape", "Size"}
State = TypeVar("State", bound=NamedTuple)


class Value:
    """The result of a node, an input or a constant. Numbers beside it take on its element type."""

    def __init__(self, graph: Graph, name: str, kind: int, *, is_sequence: bool = False) -> None:
        self.graph = graph
        self.name = name
        self.kind = kind
        self.is_sequence = is_sequence

    def __add__(self, other: Value | float) -> Value:
        """Sum."""
        return self.graph.op("Add", self, other)

    def __sub__(self, other: Value | float) -> Value:
        """Difference."""
        return self.graph.op("Sub", self, other)

    def __rsub__(self, other: float) -> Value:
        """Difference from a number."""
        return self.graph.op("Sub", other, self)

    def __mul__(self, other: Value | float) -> Value:
        """Product."""
        return self.graph.op("Mul", self, other)

    def __truediv__(self, other: Value | float) -> Value:
        """Quotient; of integers towards zero."""
        return self.graph.op("Div", self, other)

    def __rtruediv__(self, other: float) -> Value:
        """A number divided by it."""
        return self.graph.op("Div", other, self)

    def __gt__(self, other: Value | float) -> Value:
        """Element by element."""
        return self.graph.op("Greater", self, other)

    def __le__(self, other: Value | float) -> Value:
        """Element by element."""
        return self.graph.op("LessOrEqual", self, other)

    def equals(self, other: Value | float) -> Value:
        """Element by element."""
        return self.graph.op("Equal", self, other)

    __radd__ = __add__
    __rmul__ = __mul__

    def cast(self, kind: int) -> Value:
        """As another element type."""
        return self if kind == self.kind else self.graph.op("Cast", self, kind=kind, to=kind)

    def at(self, index: Value | Sequence[int] | int, axis: int = 0) -> Value:
        """What lies at `index` along `axis`; a scalar index takes the axis away."""
        if not isinstance(index, Value):
            index = self.graph.constant(np.asarray(index, np.int64))
        return self.graph.op("Gather", self, index, axis=axis)

    def reduced(self, how: str, *axes: int, keep: bool = True) -> Value:
        """Sum, Min or Max along `axes`; of everything as a scalar where there are none."""
        if not axes:
            return self.graph.op(f"Reduce{how}", self, keepdims=0)
        return self.graph.op(f"Reduce{how}", self, self.graph.constant(axes), keepdims=int(keep))

    def reshaped(self, shape: Value | Sequence[int]) -> Value:
        """With another shape."""
        return self.graph.op("Reshape", self, shape if isinstance(shape, Value) else self.graph.constant(list(shape)))


class Graph:
    """Nodes of one graph and, while the body of a loop or a branch is written, of that body.

    A constant is stored once, however often it is used.
    """

    def __init__(self) -> None:
        self._scopes: list[list[NodeProto]] = [[]]
        self._initializers: dict[str, TensorProto] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._inputs: list[ValueInfoProto] = []
        self._count = 0

    def op(self, op: str, *inputs: Value | float | None, kind: int | None = None, **attributes: Any) -> Value:
        """A node of one output."""
        return self.ops(1, op, *inputs, kind=kind, **attributes)[0]

    def ops(
        self, count: int, op: str, *inputs: Value | float | None, kind: int | None = None, **attributes: Any
    ) -> list[Value]:
        """A node of `count` outputs, of the element type `kind` or else the one that `op` makes of its inputs."""
        of = next(value.kind for value in inputs[1 if op == "Where" else 0 :] if isinstance(value, Value))
        names = [self._input_name(value, of) for value in inputs]
        outputs = [self._new_name(op) for _ in range(count)]
        self._scopes[-1].append(helper.make_node(op, names, outputs, **attributes))
        if kind is None:
            kind = BOOL if op in TRUTH_OPS else INT64 if op in INDEX_OPS else of
        return [Value(self, name, kind, is_sequence=op == "SequenceInsert") for name in outputs]

    def _input_name(self, value: Value | float | None, kind: int) -> str:
        if value is None:
            return ""
        if isinstance(value, Value):
            return value.name
        return self.constant(np.asarray(value, helper.tensor_dtype_to_np_dtype(kind))).name

    def _new_name(self, op: str) -> str:
        self._count += 1
        return f"{op.lower()}_{self._count}"

    def constant(self, array: NDArray[Any] | Sequence[Any] | np.generic | int) -> Value:
        """An array that is part of the file; int64 where Python numbers are given."""
        array = np.array(array, None if isinstance(array, np.ndarray | np.generic) else np.int64, order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = f"constant_{len(self._constants)}"
        return self.stored(self._constants[key], array)

    def stored(self, name: str, array: NDArray[Any]) -> Value:
        """An array that is part of the file under this name, so that another may take its place."""
        if name not in self._initializers:
            self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        return Value(self, name, self._initializers[name].data_type)

    def input(self, name: str, kind: int, shape: Sequence[int | str]) -> Value:
        """An input of the model."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return Value(self, name, kind)

    def sequence(self, first: Value) -> Value:
        """A list of tensors, with one in it."""
        value = self.op("SequenceConstruct", first)
        return Value(self, value.name, value.kind, is_sequence=True)

    def loop(self, count: Value, state: State, body: Callable[[Value, State], State]) -> State:
        """`count` times `state = body(i, state)`, i from 0; `state` is a NamedTuple of values."""
        kinds = [helper.make_tensor_value_info("", INT64, []), helper.make_tensor_value_info("", BOOL, [])]
        kinds += [_value_info(value) for value in state if value is not None]
        names = [self._new_name("loop") for _ in kinds]
        for info, name in zip(kinds, names, strict=True):
            info.name = name
        self._scopes.append([])
        inner = self._like(state, names[2:])
        after = body(Value(self, names[0], INT64), inner)
        results = [value for value in after if value is not None]
        ends = [self.op("Identity", Value(self, names[1], BOOL)), *(self._owned(value, inner) for value in results)]
        nodes = _needed(self._scopes.pop(), (value.name for value in ends))
        graph = helper.make_graph(nodes, "body", kinds, [_value_info(value) for value in ends])
        outputs = [self._new_name("loop") for _ in results]
        inputs = [count.name, "", *(value.name for value in state if value is not None)]
        self._scopes[-1].append(helper.make_node("Loop", inputs, outputs, body=graph))
        return self._like(state, outputs)

    def stacked(self, count: Value, body: Callable[[Value], Mapping[str, Value]]) -> dict[str, Value]:
        """What `body(i)` gives for i from 0 to `count` - 1, by name, as the rows of one tensor."""
        step, going = self._new_name("stacked"), self._new_name("stacked")
        self._scopes.append([])
        results = body(Value(self, step, INT64))
        ends = [self.op("Identity", Value(self, going, BOOL)), *results.values()]
        nodes = _needed(self._scopes.pop(), (value.name for value in ends))
        inputs = [helper.make_tensor_value_info(step, INT64, []), helper.make_tensor_value_info(going, BOOL, [])]
        graph = helper.make_graph(nodes, "row", inputs, [_value_info(value) for value in ends])
        outputs = {key: Value(self, self._new_name("rows"), value.kind) for key, value in results.items()}
        names = [value.name for value in outputs.values()]
        self._scopes[-1].append(helper.make_node("Loop", [count.name, ""], names, body=graph))
        return outputs

    def branch(
        self, condition: Value, one: Callable[[], Mapping[str, Value]], other: Callable[[], Mapping[str, Value]]
    ) -> dict[str, Value]:
        """What `one` gives where the single `condition` holds, else what `other` gives; only that is computed.

        Both give values of the same names and element types, which need not have the same shapes.
        """
        bodies, results = [], []
        for name, write in (("then", one), ("else", other)):
            self._scopes.append([])
            results = [(key, self.op("Identity", value)) for key, value in sorted(write().items())]
            nodes = _needed(self._scopes.pop(), (value.name for _, value in results))
            bodies.append(helper.make_graph(nodes, name, [], [_value_info(value) for _, value in results]))
        outputs = {key: Value(self, self._new_name("if"), value.kind) for key, value in results}
        names = [value.name for value in outputs.values()]
        node = helper.make_node("If", [condition.name], names, then_branch=bodies[0], else_branch=bodies[1])
        self._scopes[-1].append(node)
        return outputs

    def _like(self, state: State, names: Sequence[str]) -> State:
        """`state` of the same kinds under other names; what is None stays None."""
        rest = iter(names)
        values = (value and Value(self, next(rest), value.kind, is_sequence=value.is_sequence) for value in state)
        return state._replace(**dict(zip(state._fields, values, strict=True)))

    def _owned(self, value: Value, inner: NamedTuple) -> Value:
        """A body's output must come from a node of its own."""
        if not any(other and value.name == other.name for other in inner):
            return value
        return Value(self, self.op("Identity", value).name, value.kind, is_sequence=value.is_sequence)

    def include(self, model: onnx.ModelProto, prefix: str, inputs: Mapping[str, Value]) -> dict[str, Value]:
        """Put all nodes of `model` here, its inputs being `inputs`; its outputs by name."""
        graph = model.graph
        names = {output: f"{prefix}/{output}" for node in graph.node for output in node.output}
        names |= {name: value.name for name, value in inputs.items()}
        names |= {tensor.name: self.constant(numpy_helper.to_array(tensor)).name for tensor in graph.initializer}
        self._scopes[-1] += _renamed(graph.node, names)
        return {
            output.name: Value(self, names[output.name], output.type.tensor_type.elem_type) for output in graph.output
        }

    def _settle(self, nodes: Sequence[NodeProto], known: Set[str] = frozenset()) -> set[str]:
        """Store in each body of a loop or a branch what it reads itself; the names that `nodes` read, and `known`.

        onnxruntime arranges a convolution's weights for the processor only where they lie beside it: a search on 32
        channels takes three quarters of the time (test_what_only_a_body_reads_lies_in_it).
        """
        read = {name for node in nodes for name in node.input} | known
        for body in (attribute.g for node in nodes for attribute in node.attribute if attribute.HasField("g")):
            inside = self._settle(body.node, read) - read
            body.initializer.extend(tensor for name, tensor in self._initializers.items() if name in inside)
        return read

    def finish(
        self, name: str, outputs: Mapping[str, tuple[Value, Sequence[int | str]]], metadata: Mapping[str, str]
    ) -> onnx.ModelProto:
        """The checked model, without what no output needs; outputs name -> (value, shape)."""
        nodes = list(self._scopes[0])
        made = {output for node in nodes for output in node.output}
        names: dict[str, str] = {}
        for output, (value, _) in outputs.items():
            if value.name in made and value.name not in names:
                names[value.name] = output
            else:  # an input or a constant, or one value under two names
                nodes.append(helper.make_node("Identity", [value.name], [output]))
        nodes = _needed(_renamed(nodes, names), outputs)
        read = self._settle(nodes)
        graph = helper.make_graph(
            nodes,
            name,
            self._inputs,
            [helper.make_tensor_value_info(n, value.kind, shape) for n, (value, shape) in outputs.items()],
            [tensor for tensor in self._initializers.values() if tensor.name in read],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        model.producer_name = "numzero"
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return model


def _renamed(nodes: Iterable[NodeProto], names: Mapping[str, str]) -> list[NodeProto]:
    """Copies of nodes, and of the bodies in them, whose inputs and outputs have other names."""
    copies = []
    for node in nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [names.get(name, name) for name in node.input]
        copy.output[:] = [names.get(name, name) for name in node.output]
        for attribute in copy.attribute:
            if attribute.HasField("g"):
                body = _renamed(attribute.g.node, names)
                del attribute.g.node[:]
                attribute.g.node.extend(body)
        copies.append(copy)
    return copies


def _needed(nodes: Sequence[NodeProto], outputs: Iterable[str]) -> list[NodeProto]:
    """Those of the nodes that lead to `outputs`, in their order."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted |= _reads(node)
    return kept[::-1]


def _reads(node: NodeProto) -> set[str]:
    """The values that a node, or the bodies in it, look at."""
    bodies = (attribute.g.node for attribute in node.attribute if attribute.HasField("g"))
    return set(node.input).union(*(_reads(inner) for body in bodies for inner in body))


def where(condition: Value, one: Value | float, other: Value | float) -> Value:
    """`one` where `condition` holds, else `other`; one number takes on the other's element type, two are double."""
    if not isinstance(one, Value) and not isinstance(other, Value):
        one = condition.graph.constant(np.float64(one))
    return condition.graph.op("Where", condition, one, other)


def concat(values: Sequence[Value]) -> Value:
    """One after another along the first axis."""
    return values[0].graph.op("Concat", *values, axis=0)


def _value_info(value: Value) -> onnx.ValueInfoProto:
    if value.is_sequence:
        return helper.make_tensor_sequence_value_info(value.name, value.kind, None)
    return helper.make_tensor_value_info(value.name, value.kind, None)
