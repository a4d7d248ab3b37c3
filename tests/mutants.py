"""Mutated ONNX files, and a program that runs many of them with a fence around every array.

`python -m tests.mutants SEED COUNT` makes COUNT pairs of files from exported networks and shipped agents, a few changes
in each: of nodes, attributes, shapes, names, order, constants, inputs, outputs, metadata and bytes. Each is loaded, run
and searched with. It prints what became of them, and ends with an error where anything was written or read beside an
array, kernels disagreed with onnxruntime, or anything but a UserError was raised. A process of its own, as a crash ends
it: the last line says which pair.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.inference import ModelFiles, OnnxModel, sessions
from numzero.networks.config import network_config
from numzero.networks.export import Exporter
from numzero.networks.network import make_network
from numzero.search import RecurrentOutput, Search, SearchConfig
from numzero.search.plain.kernels import evaluate_dense
from tests.shipped import MODELS, SHIPPED

FENCE = 2**14
"""Bytes on either side of an array: more than a misread layer of these networks writes."""
UNTOUCHED = b"\xff" * FENCE
BATCH = 3
TOLERANCE = 2e-3
"""Of kernels and onnxruntime, relative to 1 + the largest number."""
Rng = np.random.Generator
Mutation = Callable[[ModelProto, Rng], ModelProto | bytes | None]


# Files that are whole.


def network_files(
    shape: tuple[int, ...], num_actions: int, turn_gamma: float | None = None, **settings: Any
) -> ModelFiles:
    config = network_config(
        **{"width": 7, "latent_size": 5, "head_scale": 1.0, "latent_scaling": "layernorm"} | settings,
        value={"num_bins": 5, "limit": 2.0},
        reward={"num_bins": 3, "limit": 1.0},
    )
    network = make_network(shape, num_actions, config, seed=0, turn_gamma=turn_gamma)
    return Exporter(network, -0.9).files(network, 3)


@functools.cache
def sources() -> list[ModelFiles]:
    """Small networks of every kind of layer, some with equal sizes so that confusing them fits, and real agents."""
    made = [
        network_files((3,), 4),
        network_files((2, 2, 2), 3, latent_scaling="minmax", activation="silu", observation_scaling="symlog"),
        network_files((6,), 6, width=6, latent_size=6, hidden_norm=True),
        network_files((4,), 2, representation_layers=0, dynamics_layers=2, prediction_layers=2, width=20),
        network_files((5, 1), 9, latent_scaling="minmax", hidden_norm=True, activation="silu"),
        network_files((5,), 2, turn_gamma=0.9),
        network_files((2, 2, 2), 3, observation_scaling="running"),
        network_files((4,), 3, observation_scaling="pictures"),
        network_files((2, 3, 3), 4, body="conv", channels=2, blocks=1, head_channels=1),
    ]
    return made + [Agent.load(MODELS / name).files for name in SHIPPED[:2]]


# Changes.


def pick(rng: Rng, things: Any) -> Any:
    return things[int(rng.integers(len(things)))] if len(things) else None


def any_name(model: ModelProto, rng: Rng) -> str:
    graph = model.graph
    names = [name for node in graph.node for name in (*node.input, *node.output)]
    names += [value.name for value in (*graph.input, *graph.output, *graph.initializer)]
    return str(pick(rng, [*names, "", "nothing", "latent", "action", "previous_latent", "\x1b[31m"]))


ATTRIBUTES: list[tuple[str, list[Any]]] = [
    ("transB", [0, 1, 2, -1]),
    ("transA", [0, 1]),
    ("alpha", [1.0, 0.5, math.nan]),
    ("beta", [1.0, 0.0, 2.0]),
    ("axis", [0, 1, -1, -2, 2, 2**40, -(2**62)]),
    ("epsilon", [1e-5, 1e-3, 0.0]),
    ("stash_type", [1, 0, 10]),
    ("keepdims", [0, 1]),
    ("noop_with_empty_axes", [0, 1]),
    ("num_outputs", [2, 3]),
    ("unknown", [1, "text", [1, 2]]),
]


def change_attribute(model: ModelProto, rng: Rng) -> None:
    node = pick(rng, model.graph.node)
    name, values = pick(rng, ATTRIBUTES)
    if node.attribute and rng.random() < 0.7:
        old = pick(rng, node.attribute)
        known = dict(ATTRIBUTES)
        name, values = old.name, known.get(old.name, [0, 1, 2.0])
        if rng.random() < 0.85:
            node.attribute.remove(old)
    if rng.random() < 0.8:
        node.attribute.append(helper.make_attribute(name, pick(rng, values)))


def change_attribute_type(model: ModelProto, rng: Rng) -> None:
    attribute = pick(rng, [each for node in model.graph.node for each in node.attribute])
    if attribute is not None:
        attribute.type = pick(rng, [AttributeProto.FLOAT, AttributeProto.INT, AttributeProto.INTS])
        attribute.f, attribute.i = 1.0, int(rng.integers(-2, 3))


def remove_node(model: ModelProto, rng: Rng) -> None:
    del model.graph.node[int(rng.integers(len(model.graph.node)))]


def skip_node(model: ModelProto, rng: Rng) -> None:
    """A node goes, and what reads its result reads its first input."""
    at = int(rng.integers(len(model.graph.node)))
    gone = onnx.NodeProto()
    gone.CopyFrom(model.graph.node[at])
    del model.graph.node[at]
    for node in model.graph.node:
        node.input[:] = [gone.input[0] if name == gone.output[0] else name for name in node.input]


def double_node(model: ModelProto, rng: Rng) -> None:
    """A node twice, one after the other: with the same names, or as one more layer."""
    at = int(rng.integers(len(model.graph.node)))
    copy = onnx.NodeProto()
    copy.CopyFrom(model.graph.node[at])
    if rng.random() < 0.7:
        copy.output[0] = f"more_{rng.integers(1000)}"
        copy.input[0] = model.graph.node[at].output[0]
        for node in model.graph.node[at + 1 :]:
            node.input[:] = [copy.output[0] if name == copy.input[0] else name for name in node.input]
    rest = [*model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend([*rest[: at + 1], copy, *rest[at + 1 :]])


def swap_nodes(model: ModelProto, rng: Rng) -> None:
    nodes = [*model.graph.node]
    order = rng.permutation(len(nodes)) if rng.random() < 0.2 else np.arange(len(nodes))
    i, j = rng.integers(len(nodes), size=2)
    order[i], order[j] = order[j], order[i]
    copies = [nodes[at].SerializeToString() for at in order]
    del model.graph.node[:]
    model.graph.node.extend(onnx.NodeProto.FromString(copy) for copy in copies)


OPS = (
    "Gemm",
    "Relu",
    "Sigmoid",
    "Tanh",
    "LayerNormalization",
    "Softmax",
    "Mul",
    "Add",
    "Sub",
    "Div",
    "Max",
    "Min",
    "Neg",
)
OPS += (
    "MatMul",
    "Identity",
    "Flatten",
    "Gather",
    "ReduceMin",
    "ReduceMax",
    "ReduceSum",
    "Sign",
    "Abs",
    "Log",
    "Nonsense",
)


def change_op(model: ModelProto, rng: Rng) -> None:
    pick(rng, model.graph.node).op_type = pick(rng, OPS)


def change_domain(model: ModelProto, rng: Rng) -> None:
    domain = str(pick(rng, ["ai.onnx", "com.microsoft", "mine", "ai.onnx.ml"]))
    pick(rng, model.graph.node).domain = domain
    if rng.random() < 0.5:
        model.opset_import.append(helper.make_opsetid(domain, 1))


def rewire(model: ModelProto, rng: Rng) -> None:
    node = pick(rng, model.graph.node)
    names = node.output if rng.random() < 0.2 else node.input
    if rng.random() < 0.15:
        names.append(any_name(model, rng))
    elif names:
        names[int(rng.integers(len(names)))] = any_name(model, rng)
        if rng.random() < 0.1:
            del names[-1]


def rename_everywhere(model: ModelProto, rng: Rng) -> None:
    """One value under another name wherever it is read or made: the graph means the same, if the name is free."""
    graph = model.graph
    old, new = any_name(model, rng), pick(rng, ["other", any_name(model, rng)])
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for value in (*graph.initializer, *graph.input, *graph.output):
        value.name = new if value.name == old else value.name


def insert_node(model: ModelProto, rng: Rng) -> None:
    node = helper.make_node(pick(rng, OPS), [any_name(model, rng)] * int(rng.integers(1, 3)), ["inserted"])
    rest = [*model.graph.node]
    at = int(rng.integers(len(rest) + 1))
    del model.graph.node[:]
    model.graph.node.extend([*rest[:at], node, *rest[at:]])


def insert_identity(model: ModelProto, rng: Rng) -> None:
    """The result of a node goes through one more, which may be another layer."""
    at = int(rng.integers(len(model.graph.node)))
    made = model.graph.node[at].output[0]
    model.graph.node[at].output[0] = "before"
    node = helper.make_node(pick(rng, ["Identity", "Relu", "Flatten", "Neg", "Sigmoid", "Abs"]), ["before"], [made])
    rest = [*model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend([*rest[: at + 1], node, *rest[at + 1 :]])


def numbers(rng: Rng, shape: Any, kind: Any) -> NDArray[Any]:
    if np.dtype(kind).kind == "i":
        return rng.integers(-1, 9, size=shape).astype(kind)
    scale = float(pick(rng, [1e-3, 1.0, 1.0, 1.0, 30.0]))
    return (rng.normal(size=shape) * scale).astype(kind)


def resize_constant(model: ModelProto, rng: Rng) -> None:
    """Another shape, with as many numbers as it needs: a row fewer, a table too short, a bias too long."""
    tensor = pick(rng, model.graph.initializer)
    old = numpy_helper.to_array(tensor)
    shape = list(old.shape)
    how = rng.integers(6)
    if how == 0:
        shape = shape[::-1]
    elif how == 1 or not shape:
        shape = [*shape, 1] if rng.random() < 0.5 else [1, *shape]
    else:
        at = int(rng.integers(len(shape)))
        shape[at] = int(pick(rng, [0, 1, shape[at] - 1, shape[at] + 1, 2 * shape[at], 16, 300]))
    tensor.CopyFrom(numpy_helper.from_array(numbers(rng, shape, old.dtype), tensor.name))


def transpose_constant(model: ModelProto, rng: Rng) -> None:
    """W and how it is read turn together: the same network, written otherwise."""
    node = pick(rng, [each for each in model.graph.node if each.op_type == "Gemm"])
    tensor = next((each for each in model.graph.initializer if node is not None and each.name == node.input[1]), None)
    if tensor is None:
        return
    turned = np.ascontiguousarray(numpy_helper.to_array(tensor).T)
    tensor.CopyFrom(numpy_helper.from_array(turned, tensor.name))
    if rng.random() < 0.7:
        for attribute in node.attribute:
            attribute.i = 0 if attribute.name == "transB" else attribute.i


def redeclare_constant(model: ModelProto, rng: Rng) -> None:
    """Other dims for the same bytes."""
    dims = pick(rng, model.graph.initializer).dims
    odd = [0, -1, 1, 2, 2**31, 2**32 + 1, 2**62, 2**63 - 1, -(2**63)]
    if dims and rng.random() < 0.7:
        dims[int(rng.integers(len(dims)))] = pick(rng, odd)
    else:
        dims.append(pick(rng, odd))
    if rng.random() < 0.3:
        dims.append(pick(rng, odd))


def retype_constant(model: ModelProto, rng: Rng) -> None:
    tensor = pick(rng, model.graph.initializer)
    if rng.random() < 0.3:
        tensor.data_type = int(rng.integers(0, 24))
        return
    kind = pick(rng, [np.int64, np.float64, np.float16, np.int32, np.float32, np.bool_])
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(kind), tensor.name))


def restore_constant(model: ModelProto, rng: Rng) -> None:
    """Other storage: fields of numbers instead of, or beside, raw bytes; nothing; or sparse."""
    tensor = pick(rng, model.graph.initializer)
    array = numpy_helper.to_array(tensor)
    field = tensor.int64_data if array.dtype == np.int64 else tensor.float_data
    field.extend((array.ravel() * 2).tolist() if rng.random() < 0.3 else array.ravel().tolist())
    if rng.random() < 0.7:
        tensor.ClearField("raw_data")
    if rng.random() < 0.1:
        tensor.raw_data = tensor.raw_data[:-1]


def change_numbers(model: ModelProto, rng: Rng) -> None:
    """The same shapes: an earlier model's layers may be believed."""
    tensor = pick(rng, model.graph.initializer)
    array = numpy_helper.to_array(tensor).copy()
    if array.dtype == np.int64:
        array = array + rng.integers(-1, 2, size=array.shape)
    elif rng.random() < 0.8:
        array = numbers(rng, array.shape, np.float32)
    else:
        array[...] = pick(rng, [np.nan, np.inf, 3e38, 0.0, 1e-40])
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def duplicate_constant(model: ModelProto, rng: Rng) -> None:
    """A name twice, as constant, input or result; or a constant that is an input as well."""
    graph = model.graph
    tensor = pick(rng, graph.initializer)
    if rng.random() < 0.5:
        graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    else:
        copy = graph.initializer.add()
        copy.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 2, tensor.name))
        copy.name = pick(rng, [tensor.name, any_name(model, rng), "unused"])


def remove_constant(model: ModelProto, rng: Rng) -> None:
    del model.graph.initializer[int(rng.integers(len(model.graph.initializer)))]


def shuffle_constants(model: ModelProto, rng: Rng) -> None:
    copies = [tensor.SerializeToString() for tensor in model.graph.initializer]
    del model.graph.initializer[:]
    model.graph.initializer.extend(TensorProto.FromString(copies[at]) for at in rng.permutation(len(copies)))


def redeclare_value(model: ModelProto, rng: Rng) -> None:
    """Other sizes, ranks or element types of inputs and outputs."""
    value = pick(rng, [*model.graph.input, *model.graph.output])
    kind = value.type.tensor_type
    how = rng.integers(7)
    dims = kind.shape.dim
    if how == 0:
        kind.elem_type = int(pick(rng, [0, 1, 6, 7, 8, 9, 10, 11]))
    elif how == 1:
        kind.ClearField("shape")
    elif how == 2:
        dims.add().dim_value = int(pick(rng, [1, 2, 2**40]))
    elif how == 3 and dims:
        del dims[-1]
    elif dims:
        one = dims[int(rng.integers(len(dims)))]
        if how == 4:
            one.dim_param = "free"
        else:
            one.dim_value = int(pick(rng, [0, 1, 2, 3, 5, 64, 2**20, 2**31, 2**40, -1, 2**63 - 1]))


def exchange_values(model: ModelProto, rng: Rng) -> None:
    values = pick(rng, [model.graph.input, model.graph.output])
    i, j = rng.integers(len(values), size=2)
    values[int(i)].name, values[int(j)].name = values[int(j)].name, values[int(i)].name
    if rng.random() < 0.2:
        values.add().CopyFrom(values[int(i)])
    elif rng.random() < 0.2:
        del values[int(j)]


def change_opset(model: ModelProto, rng: Rng) -> None:
    if rng.random() < 0.5:
        model.opset_import[0].version = int(pick(rng, [1, 7, 11, 13, 17, 18, 19, 21, 22, 26, 1000, -1]))
    else:
        model.opset_import.append(helper.make_opsetid(pick(rng, ["", "mine"]), int(pick(rng, [13, 20]))))
    if rng.random() < 0.2:
        model.ir_version = int(pick(rng, [0, 3, 4, 8, 10, 99]))


def change_metadata(model: ModelProto, rng: Rng) -> None:
    odd = ["nan", "inf", "-inf", "1e400", "-1", "2", "-0.9", "", "x", "9" * 5000, "1" * 30, "-7", "1_0", "\x1b[2J", "٣"]
    entries = {entry.key: entry.value for entry in model.metadata_props}
    entries[pick(rng, ["discount", "model_version"])] = pick(rng, odd)
    if rng.random() < 0.2:
        del entries[pick(rng, list(entries))]
    helper.set_model_props(model, entries)


def add_function(model: ModelProto, rng: Rng) -> None:
    """An operator of the model's own, maybe by the name of a known one."""
    op = pick(rng, ["Relu", "Mine", "Sigmoid"])
    body = [helper.make_node("Neg", ["x"], ["y"])]
    model.functions.append(
        helper.make_function(pick(rng, ["", "mine"]), op, ["x"], ["y"], body, [helper.make_opsetid("", 20)])
    )


def make_external(model: ModelProto, rng: Rng) -> None:
    tensor = pick(rng, model.graph.initializer)
    if rng.random() < 0.7:
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", str(pick(rng, ["pyproject.toml", "/etc/passwd", "*/_ORT_MEM_ADDR_/*"]))
    tensor.data_location = TensorProto.EXTERNAL if rng.random() < 0.7 else TensorProto.DEFAULT
    if rng.random() < 0.5:
        tensor.ClearField("raw_data")


def make_sparse(model: ModelProto, rng: Rng) -> None:
    tensor = pick(rng, model.graph.initializer)
    values = numpy_helper.from_array(np.ones(1, np.float32), tensor.name)
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(values)
    sparse.indices.CopyFrom(numpy_helper.from_array(np.zeros(1, np.int64)))
    sparse.dims[:] = list(tensor.dims) or [1]
    model.graph.initializer.remove(tensor)


def nest(model: ModelProto, rng: Rng) -> None:
    """Graphs inside attributes inside graphs."""
    body = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [], [])
    for _ in range(int(pick(rng, [1, 5, 30]))):
        body = helper.make_graph(
            [helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body)][:1], "g", [], []
        )
        if body.ByteSize() > 10_000:
            break
    model.graph.node.append(helper.make_node("If", [any_name(model, rng)], ["nested"], then_branch=body))


def merge(model: ModelProto, rng: Rng) -> bytes:
    """Protobuf joins messages that follow one another: a second graph, a second name, a number in a long form."""
    content = model.SerializeToString()
    more = ModelProto()
    kind = rng.integers(4)
    if kind == 0:
        more.graph.node.add().CopyFrom(pick(rng, model.graph.node))
    elif kind == 1:
        more.graph.initializer.add().CopyFrom(pick(rng, model.graph.initializer))
    elif kind == 2:
        return content + bytes([0xF8, 0x7F, *[0x80] * int(rng.integers(12)), 1])
    else:
        more.opset_import.append(helper.make_opsetid("", 20))
    return bytes(content + more.SerializeToString())


def change_bytes(model: ModelProto, rng: Rng) -> bytes:
    """Some bytes, most likely those between the constants."""
    content = bytearray(model.SerializeToString())
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(content))) if rng.random() < 0.5 else int(rng.integers(min(900, len(content))))
        content[at] = int(rng.integers(256)) if rng.random() < 0.5 else content[at] ^ (1 << int(rng.integers(8)))
    if rng.random() < 0.2:
        del content[int(rng.integers(len(content))) :]
    return bytes(content)


MUTATIONS: list[tuple[Mutation, int]] = [
    (change_attribute, 8),
    (change_attribute_type, 2),
    (remove_node, 1),
    (skip_node, 4),
    (double_node, 4),
    (swap_nodes, 3),
    (change_op, 4),
    (change_domain, 1),
    (rewire, 5),
    (rename_everywhere, 4),
    (insert_node, 3),
    (insert_identity, 3),
    (resize_constant, 7),
    (transpose_constant, 6),
    (redeclare_constant, 2),
    (retype_constant, 3),
    (restore_constant, 2),
    (change_numbers, 6),
    (duplicate_constant, 3),
    (remove_constant, 1),
    (shuffle_constants, 2),
    (redeclare_value, 5),
    (exchange_values, 2),
    (change_opset, 2),
    (change_metadata, 3),
    (add_function, 1),
    (make_external, 2),
    (make_sparse, 1),
    (nest, 1),
    (merge, 2),
    (change_bytes, 4),
]
WEIGHTS = np.array([weight for _, weight in MUTATIONS]) / sum(weight for _, weight in MUTATIONS)


def mutated(content: bytes, rng: Rng) -> tuple[bytes, list[str]]:
    """A file with one to three changes, and their names."""
    names: list[str] = []
    for _ in range(int(pick(rng, [1, 1, 2, 3]))):
        mutation = MUTATIONS[int(rng.choice(len(MUTATIONS), p=WEIGHTS))][0]
        try:
            model = onnx.load_from_string(content)
            result = mutation(model, rng)
            content = result if isinstance(result, bytes) else model.SerializeToString()
            names.append(mutation.__name__)  # type: ignore[attr-defined]
        except Exception as error:  # a change that does not fit the changes before it; onnx has no base class for that
            names.append(f"({mutation.__name__}: {type(error).__name__})")  # type: ignore[attr-defined]
    return content, names


def pair(seed: int, number: int) -> tuple[ModelFiles, ModelFiles, list[str]]:
    """The whole files, the same with changes, and the changes' names."""
    rng = np.random.default_rng([seed, number])
    source = sources()[number % len(sources())]
    which = rng.choice(["initial", "recurrent", "both"], p=[0.45, 0.45, 0.1])
    files, names = source, []
    for name in source._fields if which == "both" else [str(which)]:
        content, changes = mutated(getattr(source, name), rng)
        files = files._replace(**{name: content})
        names += [name, *changes]
    return source, files, names


# Arrays with fences.


class Fences:
    """All arrays that NumPy makes while it is entered lie between two fences of 0xFF, which is NaN as a float."""

    def __init__(self) -> None:
        self._arrays: list[tuple[NDArray[np.uint8], int]] = []
        self._real = {
            name: getattr(np, name) for name in ("zeros", "ones", "empty", "full", "zeros_like", "concatenate")
        }

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        made = {
            "zeros": lambda shape, dtype=float, **_: self._make(shape, dtype, 0),
            "ones": lambda shape, dtype=float, **_: self._make(shape, dtype, 1),
            "empty": lambda shape, dtype=float, **_: self._make(shape, dtype, 0),
            "full": lambda shape, value, dtype=None, **_: self._make(
                shape, np.asarray(value).dtype if dtype is None else dtype, value
            ),
            "zeros_like": lambda like, **_: self._make(np.shape(like), np.asarray(like).dtype, 0),
            "concatenate": self._concatenate,
        }
        try:
            for name, function in made.items():
                setattr(np, name, function)
            yield
        finally:
            for name, function in self._real.items():
                setattr(np, name, function)

    def _concatenate(self, *arguments: Any, **options: Any) -> Any:
        whole = self._real["concatenate"](*arguments, **options)
        return self._make(whole.shape, whole.dtype, whole)

    def _make(self, shape: Any, dtype: Any, value: Any) -> Any:
        dtype = np.dtype(dtype)
        shape = tuple(int(size) for size in np.atleast_1d(shape)) if np.ndim(shape) else (int(shape),)
        if dtype.kind not in "fiub" or math.prod(shape) > 10**7:
            return self._real["full"](shape, value, dtype)
        size = math.prod(shape) * dtype.itemsize
        whole = self._real["full"](size + 2 * FENCE, 0xFF, np.uint8)
        array = whole[FENCE : FENCE + size].view(dtype).reshape(shape)
        array[...] = value
        self._arrays.append((whole, size))
        return array

    def check(self) -> None:
        """Fail if anything was written beside an array; forget them all."""
        for whole, size in self._arrays:
            assert whole[:FENCE].tobytes() == UNTOUCHED, "written before the beginning of an array"
            assert whole[FENCE + size :].tobytes() == UNTOUCHED, "written beyond the end of an array"
        self._arrays.clear()


# What becomes of a pair.


def outcome(source: ModelFiles, files: ModelFiles, fences: Fences) -> tuple[str, str]:
    """kernels, onnxruntime, refused or failed; alone and as newer weights of the whole files."""
    with fences.up():
        try:
            fresh = use(OnnxModel(files), files)
        except UserError as error:
            fresh = "refused" if str(error).isprintable() else f"not printable: {error}"
        try:
            later = use(OnnxModel(files, earlier=whole_model(source)), files)
        except UserError:
            later = "refused"
    fences.check()
    return fresh, later


@functools.cache
def whole_model(source: ModelFiles) -> OnnxModel:
    model = OnnxModel(source)
    model.dense()
    return model


def use(model: OnnxModel, files: ModelFiles) -> str:
    """Run all of it, hold kernels against onnxruntime, and search."""
    rng = np.random.default_rng(1)
    observation = rng.normal(size=(BATCH, *model.observation_shape)).astype(np.float32)
    latent = rng.normal(size=(BATCH, *model.latent_shape)).astype(np.float32)
    action = np.arange(BATCH, dtype=np.int32) % model.num_actions
    dense = model.dense()
    root = [array.copy() for array in model.initial(observation)]
    inside = dense is not None or model._layers.initial is not None
    if inside and largest_number(files) < 1e15:  # beyond, float32 overflows here and there, and not everywhere alike
        slow = OnnxModel(files, kernels=False)
        assert (slow.discount, slow.version) == (model.discount, model.version)
        assert_alike(slow.initial(observation), root)
        expected = slow.recurrent(latent, action)
        if dense is not None:
            found = RecurrentOutput(*(np.zeros_like(array) for array in expected))
            evaluate_dense(dense, latent, action, found)
            assert_alike(expected, found)
    else:
        model.recurrent(latent, action)
    if model.num_actions * math.prod(model.latent_shape) < 10**6:
        search = Search(model, SearchConfig(num_simulations=3), BATCH)
        search.run(observation, np.ones((BATCH, model.num_actions), np.bool_))
    return "kernels" if inside else "onnxruntime"


def largest_number(files: ModelFiles) -> float:
    """Of the constants; infinite for NaN."""
    constants = [tensor for content in files for tensor in onnx.load_from_string(content).graph.initializer]
    arrays = [np.nan_to_num(np.abs(numpy_helper.to_array(each)), nan=np.inf) for each in constants]
    return max(float(array.max(initial=0)) for array in arrays)


def assert_alike(expected: Any, found: Any) -> None:
    """Where onnxruntime says numbers, kernels say the same."""
    for one, other in zip(expected, found, strict=True):
        if np.isfinite(one).all() and np.abs(one).max() < 1e6:
            assert np.isfinite(other).all(), "onnxruntime gives numbers, kernels do not"
            difference = np.abs(one - other).max() / (1.0 + np.abs(one).max())
            assert difference <= TOLERANCE, f"kernels differ by {difference:.2g}"


def main(seed: int, count: int, first: int = 0) -> None:
    started = time.perf_counter()
    fences, seen = Fences(), Counter[str]()
    # A session has no memory: one for each content is enough, and takes most of the time.
    sessions.make_session = functools.lru_cache(64)(sessions.make_session)
    for source in sources():
        whole_model(source)
    for number in range(first, first + count):
        source, files, names = pair(seed, number)
        sys.stdout.write(f"{number} {names}\n")
        sys.stdout.flush()
        fresh, later = outcome(source, files, fences)
        assert fresh in ("kernels", "onnxruntime", "refused"), fresh
        seen.update([fresh, f"later {later}"])
    seconds = round(time.perf_counter() - started)
    sys.stdout.write(json.dumps({"graphs": count, "seconds": seconds, **dict(sorted(seen.items()))}) + "\n")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
