"""Networks whose convolutions compute with whole numbers of 8 bits, made of those that compute with float32.

Knows ONNX nodes, ranges of tensors, and how far the result is from what it was made of; knows nothing of torch, of
training and of games. What leads to a latent is quantised, what is read off it (policy, value, reward) is not.

Static quantisation as onnxruntime runs it fast (pairs of QuantizeLinear and DequantizeLinear): activations 0 to 255
with a zero point, by the ranges that they have on given positions; weights -127 to 127, by the largest of each output
channel (Krishnamoorthi 2018, "Quantizing deep convolutional networks for efficient inference", 2.1 and 3.1). Signed
activations, which onnxruntime's pages advise, ran at half the speed of float32.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import llvmlite.binding
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from numzero.graphs.weights import model_bytes
from numzero.inference import ModelFiles, OnnxModel, outputs_of

__all__ = ["LARGEST_DIVERGENCE", "LARGEST_VALUE_CHANGE", "Change", "change_between", "has_convolutions", "in_int8"]
__all__ += ["speedup"]

LARGEST_DIVERGENCE = 0.01
"""Of the policy, in nats, that int8 may cost; with a trained network of Connect Four it is some 0.001."""
LARGEST_VALUE_CHANGE = 0.02
"""As much may a value change, relative to the largest or to 1."""
CALIBRATION_STEPS = 3
"""Random moves behind each position, whose latents count too."""
LARGEST_WEIGHT, LARGEST_ACTIVATION = 127, 255
WITH_VNNI = 2.0
"""Times as fast, at least, with batches of 16 or more."""
TRIALS = 5
_FEATURES = "avx512vnni", "avxvnni"
"""Either: products of 8 bits summed up in one instruction."""
PRECISION = "precision"
"""What the files' metadata call it."""

_Arrays = dict[str, NDArray[Any]]
_Ranges = dict[str, tuple[float, float]]


class Change(NamedTuple):
    """What int8 changes on positions, as means."""

    divergence: float
    """KL from the policy in float32 to that in int8, at positions and one move behind."""
    value: float
    """Absolute difference of values, relative to the largest or to 1."""

    @property
    def is_small(self) -> bool:
        """Whether the networks may stand for those that they were made of."""
        return self.divergence < LARGEST_DIVERGENCE and self.value < LARGEST_VALUE_CHANGE

    def __str__(self) -> str:
        """In words."""
        return (
            f"the policy diverges by {self.divergence:.2g} nats (below {LARGEST_DIVERGENCE:g} is allowed), values "
            f"change by {self.value:.2g} (below {LARGEST_VALUE_CHANGE:g})"
        )


def has_convolutions(files: ModelFiles) -> bool:
    """Whether there is anything that int8 makes faster."""
    graphs = [onnx.load_from_string(content).graph for content in files if content]
    return any(_convolutional(graph) for graph in graphs)


def in_int8(files: ModelFiles, observation: NDArray[np.float32]) -> ModelFiles:
    """The same networks in int8, calibrated on positions `[N, *O]`.

    Graphs without convolutions stay what they are.
    """
    ranges: dict[str, _Ranges] = {}
    for name, tensors in _walk(ModelFiles(*map(_telling, files)), observation, CALIBRATION_STEPS):
        ranges[name] = _widened(ranges.get(name, {}), tensors)
    return ModelFiles(**{name: _quantized(getattr(files, name), ranges[name]) for name in ranges})


def change_between(files: ModelFiles, other: ModelFiles, observation: NDArray[np.float32]) -> Change:
    """What `other` makes of positions `[N, *O]`, and of random moves from there, that `files` does not."""
    one, two = (_told(each, observation) for each in (files, other))
    divergence = np.mean([_divergence(a, b) for a, b in zip(one.logits, two.logits, strict=True)])
    largest = max(1.0, *(float(np.abs(value).max()) for value in one.values))
    value = np.mean([np.abs(a - b).mean() for a, b in zip(one.values, two.values, strict=True)]) / largest
    return Change(float(divergence), float(value))


class _Told(NamedTuple):
    logits: list[NDArray[np.float32]]
    values: list[NDArray[np.float32]]


def _told(files: ModelFiles, observation: NDArray[np.float32]) -> _Told:
    """Of positions, and of one move behind each: both functions, one after the other."""
    found = [tensors for _, tensors in _walk(files, observation, 1)]
    logits = [each["policy_logits"] for each in found if "policy_logits" in each]
    return _Told(logits, [each["value"] for each in found])


def speedup(files: ModelFiles, observation: NDArray[np.float32]) -> float:
    """How many times as fast as float32 int8 is on this processor, one thread, for positions `[N, *O]` at a time.

    Known without a trial where the processor has the instructions for it.
    """
    features = llvmlite.binding.get_host_cpu_features()
    if any(features.get(name) for name in _FEATURES):
        return WITH_VNNI
    seconds = []
    for each in (files, in_int8(files, observation)):
        model, took = OnnxModel(each, kernels=False), []
        for _ in range(TRIALS):
            started = time.perf_counter()
            model.initial(observation)
            took.append(time.perf_counter() - started)
        seconds.append(min(took))
    return seconds[0] / seconds[1]


def _divergence(logits: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Mean KL of `[N, A]`."""
    one, two = (each.astype(np.float64) for each in (logits, other))
    one, two = (each - np.logaddexp.reduce(each, axis=1, keepdims=True) for each in (one, two))
    return float((np.exp(one) * (one - two)).sum(axis=1).mean())


def _walk(files: ModelFiles, observation: NDArray[np.float32], num_steps: int) -> Iterator[tuple[str, _Arrays]]:
    """Each call for positions `[N, *O]`, and for `num_steps` random moves (and outcomes) from there.

    The graph's name; its inputs and outputs, by their names.
    """
    rng = np.random.default_rng(0)

    def call(name: str, inputs: _Arrays) -> _Arrays:
        return inputs | outputs_of(getattr(files, name), name, inputs)

    told = call("initial", {"observation": observation})
    num_actions = told["policy_logits"].shape[1]
    yield "initial", told
    for _ in range(num_steps):
        edge = {"action": _drawn(rng, num_actions, len(observation))}
        if files.has_chance:
            told = call("afterstate", {"previous_latent": told["latent"], **edge})
            yield "afterstate", told
            edge = {"outcome": _drawn(rng, told["outcome_logits"].shape[1], len(observation))}
        told = call("recurrent", {"previous_latent": told["latent"], **edge})
        yield "recurrent", told


def _drawn(rng: np.random.Generator, below: int, count: int) -> NDArray[np.int32]:
    return rng.integers(below, size=count, dtype=np.int32)


# ---------------------------------------------------------------------------------------------------- nodes


def _telling(content: bytes) -> bytes:
    """The same graph, which gives the tensors whose ranges count too; nothing of nothing."""
    if not content:
        return content
    model = onnx.load_from_string(content)
    graph, chosen = model.graph, _convolutional(model.graph)
    names = chosen | {name for node in graph.node if node.output[0] in chosen for name in node.input}
    there = {each.name for each in (*graph.initializer, *graph.input, *graph.output)}
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in sorted(names - there))
    return model_bytes(model)


def _widened(ranges: _Ranges, tensors: Mapping[str, NDArray[Any]]) -> _Ranges:
    """The least and the largest number of each tensor, 0 and those of before among them."""
    ends = {name: ranges.get(name, (0.0, 0.0)) for name in tensors}
    return {
        name: (min(low, float(tensors[name].min())), max(high, float(tensors[name].max())))
        for name, (low, high) in ends.items()
    }


def _quantized(content: bytes, ranges: _Ranges) -> bytes:
    """A graph with its convolutions, and what lies between them, in int8; `ranges` of all that `_telling` tells."""
    model = onnx.load_from_string(content)
    chosen = _convolutional(model.graph)
    if chosen:
        writer = _Writer(model.graph, chosen, dict(ranges))
        nodes = [new for node in model.graph.node for new in writer.rewritten(node)]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        read = {name for node in nodes for name in node.input}
        kept = [each for each in [*model.graph.initializer, *writer.constants] if each.name in read]
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)
        helper.set_model_props(model, {each.key: each.value for each in model.metadata_props} | {PRECISION: "int8"})
    return model_bytes(model)


def _convolutional(graph: onnx.GraphProto) -> set[str]:
    """Outputs of the nodes that compute in int8: convolutions that the latent comes from, and sums of what they give.

    A rectifier behind one is part of it.
    """
    weights = {each.name for each in graph.initializer}
    needed = _behind(graph, "latent")
    chosen: set[str] = set()
    for node in graph.node:
        (output, *_) = node.output
        if output not in needed:
            continue
        is_sum = node.op_type == "Add" and any(name in chosen for name in node.input)
        is_rectifier = node.op_type == "Relu" and node.input[0] in chosen and _readers(graph, node.input[0]) == 1
        if (node.op_type == "Conv" and node.input[1] in weights) or is_sum or is_rectifier:
            chosen.add(output)
    return chosen


def _behind(graph: onnx.GraphProto, output: str) -> set[str]:
    """The names of all that a tensor is made of, itself included."""
    found = {output}
    for node in reversed(graph.node):
        if found & set(node.output):
            found |= set(node.input)
    return found


def _readers(graph: onnx.GraphProto, name: str) -> int:
    readers = [node for node in graph.node if name in node.input] + [each for each in graph.output if each.name == name]
    return len(readers)


class _Writer:
    """Writes the nodes of a graph anew: behind each that was chosen a tensor of 8 bits, and its float32 by its name.

    onnxruntime makes one node of 8 bits of each, where all that it reads was such a tensor.
    """

    def __init__(self, graph: onnx.GraphProto, chosen: set[str], ranges: _Ranges) -> None:
        self._graph, self._chosen, self._ranges = graph, chosen, ranges
        self._weights = {each.name: each for each in graph.initializer}
        self._rounded: dict[str, str] = {}
        """Names of tensors that no chosen node made, as what their 8 bits say."""
        self.constants: list[TensorProto] = []

    def rewritten(self, node: NodeProto) -> list[NodeProto]:
        """What stands in its place."""
        (output, *_) = node.output
        if output not in self._chosen:
            return [node]
        if node.op_type == "Relu":  # what stands before it has its output
            return []
        before: list[NodeProto] = []
        inputs = [self._read(name, before) for name in node.input[:1]]
        if node.op_type == "Conv":
            inputs += self._filters(node, before)
        else:
            inputs += [self._read(name, before) for name in node.input[1:]]
        result = self._result(output)
        raw = f"{result}_float"
        changed = NodeProto()
        changed.CopyFrom(node)
        changed.input[:] = inputs
        changed.output[:] = [raw]
        return [*before, changed, *self._pair(raw, result)]

    def _result(self, output: str) -> str:
        """The tensor that a node's output goes on as: behind its rectifier, if it has one.

        Numbers below 0 are cut off by the range, which begins at 0 there.
        """
        readers = (node for node in self._graph.node if node.op_type == "Relu" and node.output[0] in self._chosen)
        return next((node.output[0] for node in readers if node.input[0] == output), output)

    def _read(self, name: str, before: list[NodeProto]) -> str:
        """A tensor as its 8 bits say."""
        if name in self._chosen:
            return name
        if name not in self._rounded:
            self._rounded[name] = f"{name}_rounded"
            if name in self._weights:
                content = numpy_helper.to_array(self._weights[name])
                self._ranges[name] = min(0.0, float(content.min())), max(0.0, float(content.max()))
            before += self._pair(name, self._rounded[name])
        return self._rounded[name]

    def _pair(self, source: str, target: str) -> list[NodeProto]:
        """To 8 bits and back."""
        scale, zero = _scale(self._ranges[source if target.endswith("_rounded") else target])
        grid = [self._constant(f"{target}_scale", np.float32(scale)), self._constant(f"{target}_zero", np.uint8(zero))]
        return [
            helper.make_node("QuantizeLinear", [source, *grid], [f"{target}_8bit"]),
            helper.make_node("DequantizeLinear", [f"{target}_8bit", *grid], [target]),
        ]

    def _filters(self, node: NodeProto, before: list[NodeProto]) -> list[str]:
        """Weights `[C, ...]` and bias `[C]` of a convolution, as whole numbers with a scale for each channel."""
        result, weight = self._result(node.output[0]), numpy_helper.to_array(self._weights[node.input[1]])
        largest = np.abs(weight).max(axis=tuple(range(1, weight.ndim)))
        scale = np.where(largest > 0.0, largest / LARGEST_WEIGHT, 1.0).astype(np.float32)
        rounded = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8)
        names = [self._whole(f"{result}_weight", rounded, scale, before)]
        if len(node.input) > 2:
            bias = numpy_helper.to_array(self._weights[node.input[2]])
            unit = scale * np.float32(_scale(self._ranges[node.input[0]])[0])
            names.append(self._whole(f"{result}_bias", np.rint(bias / unit).astype(np.int32), unit, before))
        return names

    def _whole(self, name: str, content: NDArray[Any], scale: NDArray[np.float32], before: list[NodeProto]) -> str:
        """Whole numbers that stand for those times their channel's scale."""
        parts = [
            self._constant(f"{name}_whole", content),
            self._constant(f"{name}_scale", scale),
            self._constant(f"{name}_zero", np.zeros(len(scale), content.dtype)),
        ]
        before.append(helper.make_node("DequantizeLinear", parts, [name], axis=0))
        return name

    def _constant(self, name: str, content: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(content), name))
        return name


@functools.cache
def _scale(ends: tuple[float, float]) -> tuple[float, int]:
    """The step between neighbours of the 256 numbers, and which of them is 0."""
    low, high = ends
    scale = (high - low) / LARGEST_ACTIVATION or 1.0
    return scale, round(-low / scale)
