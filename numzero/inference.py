"""`OnnxModel`: a `search.Model` on onnxruntime.

Knows sessions, buffers and the two graphs' names; knows nothing of torch, files' folders or games. One thread: actors
are processes. Make the model in the process that uses it.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.onnx_reader import OnnxGraph, OnnxNode, read_graph
from numzero.search import InitialOutput, RecurrentOutput
from numzero.search.dense import (
    DENSE,
    DENSE_ACTION,
    DENSE_RESIDUAL,
    LATENT,
    MINMAX,
    RELU,
    SILU,
    DenseBuilder,
    DenseModel,
)
from numzero.search.steps import evaluate_dense

__all__ = ["FoundMove", "ModelFiles", "OnnxModel", "OnnxSearch", "read_dense", "shared_model"]

NORM_EPSILON = 1e-5
"""Of LayerNorm and min-max in exported graphs; a graph with another does not agree and is not run by kernels."""
DENSE_TOLERANCE = 1e-5
"""Largest difference from onnxruntime, relative to 1 + the largest number of the output."""
DENSE_WEIGHTS_LIMIT = 160_000
"""Larger networks stay with onnxruntime: their weights do not fit a core's own cache. Measured, in us an evaluation at
batches of 1, 64 and 256: 39,000 weights 4.9, 1.47, 1.44 in the kernels and 14.4, 1.71, 1.56 in onnxruntime; 127,000
weights 10.5, 3.6, 3.6 and 19.6, 3.5, 3.3; 450,000 weights 85, 16, 16 and 40, 9.5, 9.4."""


class ModelFiles(NamedTuple):
    """The contents of the two ONNX files of one model."""

    initial: bytes
    recurrent: bytes


class FoundMove(NamedTuple):
    """What `agent.onnx` found for one position; see `search.SearchResult`."""

    action: int
    visit_counts: NDArray[np.int32]
    """`[A]`."""
    q_values: NDArray[np.float32]
    """`[A]`, NaN where unvisited."""
    value: float
    margin: float
    """The smallest lead of any choice, where the graph was built to tell; else NaN."""


class OnnxSearch:
    """`agent.onnx`, the networks and the whole search in one graph: one position at a time.

    Args:
        content: the bytes of the file.

    Raises:
        UserError: onnxruntime refuses the bytes, or their inputs and outputs are not such a graph's.
    """

    def __init__(self, content: bytes) -> None:
        self._session = _make_session(content, "agent")
        inputs = [value.name for value in self._session.get_inputs()]
        outputs = [value.name for value in self._session.get_outputs()]
        known = ["observation", "legal", "num_simulations"]
        if len(inputs) != 4 or inputs[:3] != known or outputs[:4] != list(FoundMove._fields[:4]):
            raise UserError(f"agent.onnx must be a search as `export` writes it; it maps {inputs} to {outputs}.")
        self._noise = inputs[3]
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map

    def run(
        self,
        observation: NDArray[np.generic],
        legal: NDArray[np.bool_],
        num_simulations: int,
        noise: NDArray[np.float32] | None = None,
    ) -> FoundMove:
        """Search one position: `[*O]`, `[A]`; `noise` `[A]` is Gumbel noise, or a draw to mix into the root's prior."""
        inputs = {
            "observation": np.asarray(observation, np.float32)[None],
            "legal": np.asarray(legal, np.bool_)[None],
            "num_simulations": np.array([num_simulations], np.int64),
            self._noise: np.zeros((1, len(legal)), np.float32) if noise is None else noise[None],
        }
        action, visits, q_values, value, *margin = self._session.run(None, inputs)
        lead = float(margin[0][0]) if margin else float("nan")
        return FoundMove(int(action[0]), visits[0], q_values[0], float(value[0]), lead)


class OnnxModel:
    """Evaluates positions with onnxruntime into buffers that are allocated once per batch size.

    Outputs are views of those buffers: the next call of the same function overwrites them. Not thread-safe.

    Args:
        files: the bytes of `initial.onnx` and `recurrent.onnx`.

    Raises:
        UserError: onnxruntime refuses the bytes, or their inputs and outputs are not a MuZero's.
    """

    def __init__(self, files: ModelFiles) -> None:
        self._initial = _session(files.initial, "initial", ["observation"], ["latent", "policy_logits", "value"])
        self._recurrent = _session(
            files.recurrent,
            "recurrent",
            ["previous_latent", "action"],
            ["latent", "policy_logits", "value", "reward"],
        )
        metadata = self._recurrent.get_modelmeta().custom_metadata_map
        if "discount" not in metadata:
            raise UserError("recurrent.onnx must give its discount in its metadata; it has none. Export it again.")
        self.discount = float(metadata["discount"])
        self.version = int(metadata.get("model_version", 0))
        shapes = {value.name: tuple(value.shape[1:]) for value in self._initial.get_outputs()}
        self.latent_shape: tuple[int, ...] = shapes["latent"]
        self.num_actions: int = shapes["policy_logits"][0]
        self.observation_shape: tuple[int, ...] = tuple(self._initial.get_inputs()[0].shape[1:])
        self._files = files
        self._dense: DenseModel | None = None
        self._looked_for_dense = False
        self._initial_calls: dict[int, _InitialCall] = {}
        self._recurrent_calls: dict[int, _RecurrentCall] = {}

    def initial(self, observation: NDArray[np.generic], /) -> InitialOutput:
        """See `search.Model`. `[B, *O]` of any number type."""
        call = self._initial_calls.get(len(observation))
        if call is None:
            call = self._initial_calls[len(observation)] = _InitialCall(self, len(observation))
        np.copyto(call.observation, observation, casting="unsafe")
        self._initial.run_with_iobinding(call.binding)
        return call.output

    def recurrent(self, latent: NDArray[np.float32], action: NDArray[np.int32], /) -> RecurrentOutput:
        """See `search.Model`. Arrays that are passed again and again are bound once and not copied."""
        call = self._recurrent_calls.get(len(action))
        if call is None or call.latent is not latent or call.action is not action:
            call = self._recurrent_calls[len(action)] = _RecurrentCall(self, latent, action)
        self._recurrent.run_with_iobinding(call.binding)
        return call.output

    def dense(self) -> DenseModel | None:
        """The recurrent network as plain layers for kernels, made once; None if it is anything else, or large.

        It must give what onnxruntime gives on random inputs, or it is not used.
        """
        if not self._looked_for_dense:
            self._looked_for_dense = True
            dense = read_dense(self._files.recurrent, self.discount)
            small = dense is not None and dense.weights.size <= DENSE_WEIGHTS_LIMIT
            self._dense = dense if dense is not None and small and self._agrees(dense) else None
        return self._dense

    def _agrees(self, dense: DenseModel) -> bool:
        rng = np.random.default_rng(0)
        latent = rng.normal(size=(4, *self.latent_shape)).astype(np.float32)
        action = rng.integers(self.num_actions, size=4, dtype=np.int32)
        expected = RecurrentOutput(*(array.copy() for array in self.recurrent(latent, action)))
        found = RecurrentOutput(*(np.zeros_like(array) for array in expected))
        evaluate_dense(dense, latent, action, found)
        pairs = zip(expected, found, strict=True)
        return all(np.abs(one - other).max() <= DENSE_TOLERANCE * (1.0 + np.abs(one).max()) for one, other in pairs)

    def _bind(self, session: Any, inputs: dict[str, NDArray[Any]], outputs: dict[str, NDArray[Any]]) -> Any:
        binding = session.io_binding()
        for name, array in inputs.items():
            binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        return binding


@functools.lru_cache(maxsize=1)
def shared_model(files: ModelFiles) -> OnnxModel:
    """The model of `files`, the same object for all who ask in a row: roles of one process, which take turns.

    Making one costs 10 ms and more, a sixth of a run of CartPole's preset when each role made its own of each version.
    """
    return OnnxModel(files)


def read_dense(recurrent: bytes, discount: float) -> DenseModel | None:
    """The layers of a `recurrent.onnx` whose nodes are a plain chain as numzero exports it; None for any other."""
    try:
        graph = read_graph(recurrent)
        return _Chain(graph).build(discount)
    except (ValueError, KeyError, IndexError):
        return None


class _Chain:
    """Reads a graph's nodes one after another, each of which must use what the one before made."""

    def __init__(self, graph: OnnxGraph) -> None:
        self._weights = graph.initializers
        self._nodes = list(graph.nodes)
        self._builder = DenseBuilder()
        self._x = "previous_latent"
        self._size = 0
        self._table = ""

    def build(self, discount: float) -> DenseModel:
        """All layers, then the heads; ValueError where the graph is not such a chain."""
        while self._nodes[0].op != "Split":
            self._layer(self._nodes.pop(0))
            if self._x == "latent":
                self._builder.elementwise(LATENT, self._size)
        ops = [node.op for node in self._nodes]
        if ops != ["Split", "Softmax", "MatMul", "Softmax", "MatMul"] or self._nodes[0].inputs[0] != self._x:
            raise ValueError(f"heads of another form: {ops}")
        value, reward = self._nodes[2], self._nodes[4]
        if (value.outputs, reward.outputs) != (("value",), ("reward",)):
            raise ValueError("heads in another order")
        bins = self._weight(value.inputs[1]), self._weight(reward.inputs[1])
        return self._builder.finish(*bins, discount, NORM_EPSILON)

    def _layer(self, node: OnnxNode) -> None:
        if node.op == "Gather":
            self._table = node.outputs[0]
            self._table_weights = self._weight(node.inputs[0])
            return
        if node.inputs[0] != self._x:
            raise ValueError(f"{node.op} does not follow what came before")
        if node.op == "Gemm":
            self._product(node)
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

    def _minmax(self, node: OnnxNode) -> None:
        """ReduceMin, ReduceMax, Sub, Sub, Max, Div in the order of export."""
        rest = [self._nodes.pop(0) for _ in range(5)]
        if [node.op, *(other.op for other in rest)] != ["ReduceMin", "ReduceMax", "Sub", "Sub", "Max", "Div"]:
            raise ValueError(f"{node.op} is not a layer")
        self._builder.elementwise(MINMAX, self._size)
        self._x = rest[-1].outputs[0]

    def _weight(self, name: str) -> NDArray[np.float32]:
        return np.asarray(self._weights[name], np.float32)


class _InitialCall:
    """Buffers and binding of `initial` at one batch size."""

    def __init__(self, model: OnnxModel, batch_size: int) -> None:
        self.observation = np.zeros((batch_size, *model.observation_shape), np.float32)
        self.output = InitialOutput(
            latent=np.zeros((batch_size, *model.latent_shape), np.float32),
            policy_logits=np.zeros((batch_size, model.num_actions), np.float32),
            value=np.zeros(batch_size, np.float32),
        )
        self.binding = model._bind(model._initial, {"observation": self.observation}, self.output._asdict())


class _RecurrentCall:
    """Buffers and binding of `recurrent` for one pair of input arrays, kept alive here."""

    def __init__(self, model: OnnxModel, latent: NDArray[np.float32], action: NDArray[np.int32]) -> None:
        batch_size = len(action)
        self.latent = np.ascontiguousarray(latent, np.float32)
        self.action = np.ascontiguousarray(action, np.int32)
        self.output = RecurrentOutput(
            latent=np.zeros((batch_size, *model.latent_shape), np.float32),
            reward=np.zeros(batch_size, np.float32),
            discount=np.full(batch_size, model.discount, np.float32),
            policy_logits=np.zeros((batch_size, model.num_actions), np.float32),
            value=np.zeros(batch_size, np.float32),
        )
        outputs = self.output._asdict()
        del outputs["discount"]
        inputs = {"previous_latent": self.latent, "action": self.action}
        self.binding = model._bind(model._recurrent, inputs, outputs)


def _make_session(content: bytes, name: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own for bad bytes, without a public base
        raise UserError(f"{name}.onnx is not a model that onnxruntime can load: {error}") from error


def _session(content: bytes, name: str, inputs: list[str], outputs: list[str]) -> Any:
    session = _make_session(content, name)
    seen = ([value.name for value in session.get_inputs()], [value.name for value in session.get_outputs()])
    if seen != (inputs, outputs):
        raise UserError(f"{name}.onnx must map {inputs} to {outputs}; it maps {seen[0]} to {seen[1]}.")
    return session
