"""Graphs written as formulas compute the formulas: operators, numbers beside values, loops, models inside models."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from numzero.graphs.formulas import DOUBLE, FLOAT, INT64, Graph, Value, concat, where


def run(graph: Graph, result: Value, **inputs: NDArray[Any]) -> NDArray[Any]:
    model = graph.finish("test", {"result": (result, ["n"])}, {})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["result"], inputs)[0]


@pytest.mark.parametrize(
    "formula",
    [
        lambda x, y: x + y * 2.0 - 1.0,
        lambda x, y: 1.0 - x / (3.0 + y),
        lambda x, y: 1.0 / y - x * y,
    ],
)
def test_operators_mean_what_they_mean_in_numpy(formula):
    """Values beside values and beside numbers, on either side."""
    graph = Graph()
    x, y = graph.input("x", DOUBLE, ["n"]), graph.input("y", DOUBLE, ["n"])
    arrays = {"x": np.array([1.0, -2.0, 0.5]), "y": np.array([4.0, 0.25, -1.0])}
    np.testing.assert_array_equal(run(graph, formula(x, y), **arrays), formula(*arrays.values()))


def test_comparisons_choose():
    """Where, with a number in each place, and comparisons of every kind there is."""
    graph = Graph()
    x = graph.input("x", FLOAT, ["n"])
    chosen = where(x > 1.0, x, where(x <= 0.0, -1.0, 0.5).cast(FLOAT)) + where(x.equals(2.0), 10.0, x * 0.0)
    array = np.array([-3.0, 0.0, 0.5, 1.0, 2.0, 3.0], np.float32)
    assert run(graph, chosen, x=array).tolist() == [-1.0, -1.0, 0.5, 0.5, 12.0, 3.0]


def test_equal_constants_are_stored_once():
    """The same array has one initializer, however often it is used; another type is another array."""
    graph = Graph()
    x = graph.input("x", DOUBLE, ["n"])
    table = np.arange(3.0)
    result = x + graph.constant(table) + graph.constant(table.copy()) + 1.0 + 1.0
    model = graph.finish("test", {"result": (result, [3])}, {})
    assert sorted(tuple(tensor.dims) for tensor in model.graph.initializer) == [(), (3,)]


class Numbers(NamedTuple):
    last: Value
    unused: Value | None
    before: Value
    seen: Value


def test_a_loop_carries_its_state():
    """Fibonacci's numbers: a state of tensors and a list, a part that is not there, one that is passed on unchanged."""
    graph = Graph()
    count = graph.input("count", INT64, [])
    one = graph.constant([1])

    def step(i: Value, state: Numbers) -> Numbers:
        following = state.last + state.before + i * 0
        seen = graph.op("SequenceInsert", state.seen, following)
        return Numbers(last=following, unused=None, before=state.last, seen=seen)

    numbers = graph.loop(count, Numbers(one, None, graph.constant([0]), graph.sequence(one)), step)
    everything = graph.op("ConcatFromSequence", numbers.seen, axis=0)
    assert run(graph, everything, count=np.array(6)).tolist() == [1, 1, 2, 3, 5, 8, 13]


def test_a_model_may_be_put_in_twice():
    """Its nodes get names of their own each time, its weights are shared."""
    inner = Graph()
    x = inner.input("x", DOUBLE, ["n"])
    weight = np.array([2.0, 3.0])
    doubled = inner.finish("inner", {"y": (x * inner.constant(weight) + 1.0, ["n"])}, {})
    outer = Graph()
    z = outer.input("z", DOUBLE, ["n"])
    once = outer.include(doubled, "once", {"x": z})["y"]
    twice = outer.include(doubled, "twice", {"x": once})["y"]
    assert run(outer, concat([once, twice]), z=np.array([1.0, 1.0])).tolist() == [3.0, 4.0, 7.0, 13.0]
    stored = outer.finish("again", {"again": (twice, ["n"])}, {}).graph.initializer
    assert [onnx.numpy_helper.to_array(tensor).tolist() for tensor in stored] == [[2.0, 3.0], 1.0]


def test_what_no_output_needs_is_left_out():
    """Nodes and constants of no use, outside a loop and in its body; what a body reads from outside stays."""
    graph = Graph()
    count = graph.input("count", INT64, [])
    outside = graph.constant([3]) * 2
    graph.op("Neg", outside * graph.constant([100]))

    def step(i: Value, state: Numbers) -> Numbers:
        graph.op("Neg", state.before + 1)
        return state._replace(last=state.last + outside)

    state = Numbers(graph.constant([1]), None, graph.constant([0]), graph.sequence(count))
    last = graph.loop(count, state, step).last
    model = graph.finish("test", {"last": (last, [1])}, {})
    (loop,) = [node for node in model.graph.node if node.op_type == "Loop"]
    assert "Neg" not in {node.op_type for node in [*model.graph.node, *loop.attribute[0].g.node]}
    assert [100] not in [onnx.numpy_helper.to_array(tensor).tolist() for tensor in model.graph.initializer]
    assert run(graph, last, count=np.array(4)).tolist() == [25]


def test_what_only_a_body_reads_lies_in_it():
    """A loop's own weights are stored in its body, shared ones once outside."""
    graph = Graph()
    count = graph.input("count", INT64, [])
    shared, own = np.array([2, 3]), np.array([5, 7])

    def step(i: Value, state: Numbers) -> Numbers:
        return state._replace(last=state.last * graph.constant(own) + graph.constant(shared))

    first = graph.constant(shared) + 1
    state = Numbers(first, None, graph.constant([0]), graph.sequence(first))
    last = graph.loop(count, state, step).last
    model = graph.finish("test", {"last": (last, [2])}, {})
    (loop,) = [node for node in model.graph.node if node.op_type == "Loop"]
    inside = [onnx.numpy_helper.to_array(tensor).tolist() for tensor in loop.attribute[0].g.initializer]
    outside = [onnx.numpy_helper.to_array(tensor).tolist() for tensor in model.graph.initializer]
    assert inside == [[5, 7]]
    assert [2, 3] in outside
    assert run(graph, last, count=np.array(1)).tolist() == [17, 31]
