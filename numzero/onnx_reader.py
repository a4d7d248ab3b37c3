"""Reads an ONNX file's nodes and initializers, without the onnx package: embedding needs neither it nor protobuf.

Knows the few fields of ONNX's protobuf schema that a plain network uses, and which fields lead to tensors; knows
nothing of what nodes compute. The bytes may be a stranger's. A field that plain networks lack ends `read_graph`, as it
may change what a graph means; `external_tensor` looks at everything that may hold a tensor, however deep.
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["OnnxGraph", "OnnxNode", "external_tensor", "read_graph", "read_metadata"]

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
FLOAT, INT64 = 1, 7
DTYPES: dict[int, np.dtype[np.generic]] = {FLOAT: np.dtype("<f4"), INT64: np.dtype("<i8")}
FLOAT_ATTRIBUTE, INT_ATTRIBUTE = 1, 2
ORT_FORMAT = b"ORTM"
"""From its fifth byte, a file is in onnxruntime's own format: onnxruntime asks this before it thinks of ONNX."""
MAX_RANK = 8

Value = int | float | memoryview
"""Of a field: an integer, a number of 4 or 8 bytes, or anything that says its length."""

INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
}
"""Which fields of a message hold messages that may hold tensors."""


class OnnxNode(NamedTuple):
    """One operator of ONNX's own domain."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, float | int | None]
    """Numbers; None stands for any other kind of attribute."""


class OnnxGraph(NamedTuple):
    """Nodes in the order of computation; float32 and int64 constants by name."""

    nodes: list[OnnxNode]
    inputs: list[str]
    outputs: list[str]
    initializers: dict[str, NDArray[np.generic]]
    opset: int
    """Version of ONNX's own operators, the only ones there are."""
    structure: str
    """All of the model but its metadata and the numbers in its float32 constants: equal where only weights differ."""
    metadata: dict[str, str]
    """What its maker noted beside the graph."""


def read_graph(content: bytes) -> OnnxGraph:
    """The graph of an ONNX model that holds what plain networks hold.

    Raises:
        ValueError: the bytes are not protobuf as ONNX writes it, or hold something else: operators of other domains,
            functions, sparse tensors, two things of one name.
    """
    try:
        return _graph(content)
    except (IndexError, TypeError, ValueError, struct.error) as error:
        raise ValueError(f"not an ONNX model of a plain network: {error!r}") from error


def read_metadata(content: bytes) -> dict[str, str]:
    """What a model's maker noted beside its graph, which is not looked at.

    Raises:
        ValueError: the bytes are not protobuf as ONNX writes it.
    """
    try:
        return dict(_entry(_message(value)) for field, value in _fields(memoryview(content)) if field == 14)
    except (IndexError, TypeError, ValueError, struct.error) as error:
        raise ValueError(f"not an ONNX model: {error!r}") from error


def external_tensor(content: bytes) -> str | None:
    """The name of a tensor that says that its numbers lie elsewhere, or None: in the graph, in bodies, in functions.

    Raises:
        ValueError: the bytes are not protobuf as ONNX writes it.
    """
    if content[4:8] == ORT_FORMAT:
        raise ValueError("not an ONNX model but one in onnxruntime's own format")
    rest = [("model", memoryview(content))]
    try:
        while rest:
            kind, message = rest.pop()
            if kind == "tensor":
                if _is_external(message):
                    return _tensor_name(message)
                continue
            inside = INSIDE[kind]
            rest += [(inside[field], _message(value)) for field, value in _fields(message) if field in inside]
    except (IndexError, TypeError, struct.error) as error:
        raise ValueError(f"not an ONNX model: {error!r}") from error
    return None


def _is_external(tensor: memoryview) -> bool:
    """TensorProto: external_data 13, data_location 14."""
    return any(field == 13 or (field == 14 and value != 0) for field, value in _fields(tensor))


def _tensor_name(tensor: memoryview) -> str:
    names = [value for field, value in _fields(tensor) if field == 8]
    return bytes(_message(names[-1])).decode(errors="replace") if names else ""


def _graph(content: bytes) -> OnnxGraph:
    """ModelProto: graph 7, opset_import 8, metadata_props 14; 1 to 6 are versions and notes of its maker.

    GraphProto: node 1, name 2, initializer 5, doc_string 10, input 11, output 12, value_info 13.
    """
    model = _fields(memoryview(content))
    _only({1, 2, 3, 4, 5, 6, 7, 8, 14}, model)
    fields = _fields(_one(7, model))
    _only({1, 2, 5, 10, 11, 12, 13}, fields)
    nodes = [_node(_message(value)) for field, value in fields if field == 1]
    tensors = [_tensor(_message(value)) for field, value in fields if field == 5]
    inputs, outputs = (
        [_value_name(_message(value)) for field, value in fields if field == wanted] for wanted in (11, 12)
    )
    made = [name for node in nodes for name in node.outputs]
    names = [*inputs, *made, *(name for name, _ in tensors)]
    if len(set(names)) != len(names) or "" in names or len(set(outputs)) != len(outputs):
        raise ValueError("every input, constant and result must have a name of its own")
    return OnnxGraph(
        nodes=nodes,
        inputs=inputs,
        outputs=outputs,
        initializers={name: array for name, array in tensors if array is not None},
        opset=_opset(_one(8, model)),
        structure=repr(
            [_copied(*field) for field in model if field[0] not in (7, 14)]
            + [_copied(*field) for field in fields if field[0] != 5]
            + [_shape(*tensor) for tensor in tensors]
        ),
        metadata=dict(_entry(_message(value)) for field, value in model if field == 14),
    )


def _copied(field: int, value: Value) -> tuple[int, float | bytes]:
    return field, bytes(value) if isinstance(value, memoryview) else value


def _shape(name: str, array: NDArray[np.generic] | None) -> tuple[object, ...]:
    """What a constant adds to the structure: a float32 array its shape, another its numbers too."""
    if array is None or array.dtype == np.float32:
        return name, None if array is None else array.shape
    return name, array.shape, array.tobytes()


def _opset(content: memoryview) -> int:
    """OperatorSetIdProto: domain 1, version 2."""
    fields = _fields(content)
    _only({1, 2}, fields)
    if any(len(_message(value)) for field, value in fields if field == 1):
        raise ValueError("operators of another domain")
    versions = [value for field, value in fields if field == 2]
    if len(versions) != 1 or not isinstance(versions[0], int):
        raise ValueError("operators of no version")
    return versions[0]


def _entry(content: memoryview) -> tuple[str, str]:
    """StringStringEntryProto: key 1, value 2."""
    texts = {field: _text(value) for field, value in _fields(content)}
    return texts.get(1, ""), texts.get(2, "")


def _value_name(content: memoryview) -> str:
    """ValueInfoProto: name 1."""
    return _text(_one(1, _fields(content)))


def _node(content: memoryview) -> OnnxNode:
    """NodeProto: input 1, output 2, name 3, op_type 4, attribute 5, doc_string 6, domain 7."""
    fields = _fields(content)
    _only({1, 2, 3, 4, 5, 6, 7}, fields)
    if any(len(_message(value)) for field, value in fields if field == 7):
        raise ValueError("an operator of another domain")
    attributes = [_attribute(_message(value)) for field, value in fields if field == 5]
    if len({name for name, _ in attributes}) != len(attributes):
        raise ValueError("two attributes of one name")
    inputs, outputs = (tuple(_text(value) for field, value in fields if field == wanted) for wanted in (1, 2))
    return OnnxNode(_text(_one(4, fields)), inputs, outputs, dict(attributes))


def _attribute(content: memoryview) -> tuple[str, float | int | None]:
    """AttributeProto: name 1, f 2, i 3, type 20; with any other field it is no number."""
    found = _fields(content)
    fields, name = dict(found), _text(_one(1, found))
    if len(fields) != len(found):  # a list, or protobuf would take the last
        return name, None
    kind = fields.pop(20, None)
    del fields[1]
    number = fields.popitem()[1] if kind in (FLOAT_ATTRIBUTE, INT_ATTRIBUTE) and list(fields) == [kind + 1] else None
    if kind == INT_ATTRIBUTE and isinstance(number, int):
        return name, _signed(number)
    return name, number if kind == FLOAT_ATTRIBUTE and isinstance(number, float) else None


def _tensor(content: memoryview) -> tuple[str, NDArray[np.generic] | None]:
    """TensorProto: dims 1, data_type 2, name 8, raw_data 9, doc_string 12.

    None for types and storage that plain networks lack.
    """
    fields = _fields(content)
    name = _text(_one(8, fields))
    once = [field for field, _ in fields if field != 1]
    if not {2, 9} <= set(once) <= {2, 8, 9, 12} or len(set(once)) != len(once):
        return name, None
    values = dict(fields)
    kind, raw = values[2], _message(values[9])
    dims = [dim for field, value in fields if field == 1 for dim in _numbers(value)]
    if not isinstance(kind, int) or kind not in DTYPES or len(dims) > MAX_RANK:
        return name, None
    # Exact, because Python's numbers do not wrap around.
    if min(dims, default=1) < 1 or math.prod(dims) * DTYPES[kind].itemsize != len(raw):
        return name, None
    return name, np.frombuffer(bytes(raw), DTYPES[kind]).reshape(dims)


def _only(known: set[int], fields: list[tuple[int, Value]]) -> None:
    if unknown := {field for field, _ in fields} - known:
        raise ValueError(f"fields {sorted(unknown)} are not a plain network's")


def _one(wanted: int, fields: list[tuple[int, Value]]) -> memoryview:
    """The field that must be there once: protobuf would merge two."""
    found = [value for field, value in fields if field == wanted]
    if len(found) != 1:
        raise ValueError(f"field {wanted} is there {len(found)} times")
    return _message(found[0])


def _message(value: Value) -> memoryview:
    if not isinstance(value, memoryview):
        raise TypeError("a number where a message belongs")
    return value


def _text(value: Value) -> str:
    return bytes(_message(value)).decode()


def _signed(number: int) -> int:
    """An int64 from the 64 bits that protobuf writes."""
    return number - (1 << 64) if number >> 63 else number


def _numbers(value: Value) -> list[int]:
    """One number, or packed ones."""
    if isinstance(value, int):
        return [_signed(value)]
    packed = _message(value)
    numbers, at = [], 0
    while at < len(packed):
        number, at = _varint(packed, at)
        numbers.append(_signed(number))
    return numbers


def _fields(content: memoryview) -> list[tuple[int, Value]]:
    """The fields of a message, one after another."""
    fields: list[tuple[int, Value]] = []
    at, end = 0, len(content)
    while at < end:
        key, at = (content[at], at + 1) if content[at] < 0x80 else _varint(content, at)
        field, kind = key >> 3, key & 7
        if field == 0 or key >> 32:  # protobuf's own readers refuse the one and shorten the other
            raise TypeError(f"field {field}")
        if kind == LENGTH:
            size, at = (content[at], at + 1) if content[at] < 0x80 else _varint(content, at)
            if at + size > end:
                raise IndexError("a field reaches beyond its message")
            fields.append((field, content[at : at + size]))
            at += size
        elif kind == VARINT:
            number, at = _varint(content, at)
            fields.append((field, number))
        elif kind in (FIXED32, FIXED64):
            form = "<f" if kind == FIXED32 else "<d"
            fields.append((field, float(struct.unpack_from(form, content, at)[0])))
            at += struct.calcsize(form)
        else:
            raise TypeError(f"wire type {kind}")
    return fields


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    """The number that begins at `at`, of 64 bits in ten bytes at most, and where it ends."""
    number = content[at]
    at += 1
    if number < 0x80:
        return number, at
    number &= 0x7F
    for shift in range(7, 70, 7):
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, at
    raise IndexError("a number of more than ten bytes")
