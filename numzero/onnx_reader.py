"""Reads an ONNX file's nodes and initializers, without the onnx package: embedding needs neither it nor protobuf.

Knows the few fields of ONNX's protobuf schema that a plain network uses; knows nothing of what they compute.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["OnnxGraph", "OnnxNode", "read_graph"]

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
FLOAT, INT64 = 1, 7
DTYPES: dict[int, np.dtype[np.generic]] = {FLOAT: np.dtype("<f4"), INT64: np.dtype("<i8")}


class OnnxNode(NamedTuple):
    """One operator."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    num_attributes: int


class OnnxGraph(NamedTuple):
    """Nodes in the order of computation; float32 and int64 constants by name."""

    nodes: list[OnnxNode]
    initializers: dict[str, NDArray[np.generic]]
    structure: str
    """All of the graph but the numbers in its float32 constants: equal where only weights differ."""
    metadata: dict[str, str]
    """What its maker noted beside the graph."""


def read_graph(content: bytes) -> OnnxGraph:
    """The graph of an ONNX model.

    Raises:
        ValueError: the bytes are not protobuf as ONNX writes it.
    """
    try:
        model = list(_fields(content))
        fields = list(_fields(_bytes(next(value for field, value in model if field == 7))))
        metadata = dict(_entry(value) for field, value in model if field == 14)
        nodes = [_node(value) for field, value in fields if field == 1]
        tensors = [_tensor(value) for field, value in fields if field == 5]
    except (IndexError, StopIteration, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"not an ONNX model: {error!r}") from error
    structure = repr([value for field, value in fields if field != 5] + [_shape(*tensor) for tensor in tensors])
    return OnnxGraph(nodes, {name: array for name, array in tensors if array is not None}, structure, metadata)


def _shape(name: str, array: NDArray[np.generic] | None) -> tuple[object, ...]:
    """What a constant adds to the structure: a float32 array its shape, another its numbers too."""
    if array is None or array.dtype == np.float32:
        return name, None if array is None else array.shape
    return name, array.shape, array.tobytes()


def _entry(content: int | bytes) -> tuple[str, str]:
    """StringStringEntryProto: key 1, value 2."""
    texts = {field: _bytes(value).decode() for field, value in _fields(_bytes(content))}
    return texts.get(1, ""), texts.get(2, "")


def _node(content: int | bytes) -> OnnxNode:
    """NodeProto: input 1, output 2, op_type 4, attribute 5."""
    inputs, outputs, op, num_attributes = [], [], "", 0
    for field, value in _fields(_bytes(content)):
        if field == 1:
            inputs.append(_bytes(value).decode())
        elif field == 2:
            outputs.append(_bytes(value).decode())
        elif field == 4:
            op = _bytes(value).decode()
        num_attributes += field == 5
    return OnnxNode(op, tuple(inputs), tuple(outputs), num_attributes)


def _tensor(content: int | bytes) -> tuple[str, NDArray[np.generic] | None]:
    """TensorProto: dims 1, data_type 2, name 8, raw_data 9; None for types and storage that plain networks lack."""
    dims: list[int] = []
    name, kind, raw = "", 0, None
    for field, value in _fields(_bytes(content)):
        if field == 1:
            dims += [value] if isinstance(value, int) else _packed(value)
        elif field == 2:
            kind = value if isinstance(value, int) else 0
        elif field == 8:
            name = _bytes(value).decode()
        elif field == 9:
            raw = _bytes(value)
    if raw is None or kind not in DTYPES or len(raw) != int(np.prod(dims, dtype=np.int64)) * DTYPES[kind].itemsize:
        return name, None
    return name, np.frombuffer(raw, DTYPES[kind]).reshape(dims)


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise TypeError("a number where a message belongs")
    return value


def _packed(content: bytes) -> list[int]:
    numbers, at = [], 0
    while at < len(content):
        number, at = _varint(content, at)
        numbers.append(number)
    return numbers


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of a message; numbers as int, everything else as bytes."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        field, kind = key >> 3, key & 7
        if kind == VARINT:
            number, at = _varint(content, at)
            yield field, number
            continue
        if kind == LENGTH:
            size, at = _varint(content, at)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise TypeError(f"wire type {kind}")
        if at + size > len(content):
            raise IndexError("a field reaches beyond its message")
        yield field, content[at : at + size]
        at += size


def _varint(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = content[at]
        number |= (byte & 0x7F) << shift
        at += 1
        shift += 7
        if byte < 0x80:
            return number, at
