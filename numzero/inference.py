"""`OnnxModel`: a `search.Model` on onnxruntime.

Knows sessions, buffers and the two graphs' names; knows nothing of torch, files' folders or games. One thread: actors
are processes. Make the model in the process that uses it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.onnx_layers import plain_layers
from numzero.onnx_reader import read_graph
from numzero.search import InitialOutput, RecurrentOutput
from numzero.search.dense import DenseModel
from numzero.search.steps import evaluate_dense

__all__ = ["FoundMove", "ModelFiles", "OnnxModel", "OnnxSearch", "shared_model"]

DENSE_TOLERANCE = 1e-4
"""Largest difference from onnxruntime, relative to 1 + the largest number of the output."""
TRIALS = 4
"""Random inputs that kernels and onnxruntime are compared on."""
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


class _Layers(NamedTuple):
    """What kernels run in place of onnxruntime."""

    initial: DenseModel | None
    recurrent: DenseModel | None
    structure: tuple[str, ...]
    """Of the two graphs, where both can be read."""


class OnnxModel:
    """Evaluates positions into buffers that are allocated once per batch size.

    A graph that is a chain of plain layers runs in kernels, if they give what onnxruntime gives on random inputs; any
    other runs in onnxruntime. Outputs are views of the buffers: the next call of the same function overwrites them.
    Not thread-safe.

    Args:
        files: the bytes of `initial.onnx` and `recurrent.onnx`.
        kernels: whether kernels may run anything.
        earlier: a model that is most likely the same network with other weights. If it is, and kernels run all of it,
            they are not compared again and onnxruntime does not load the new weights at all. An actor gets weights
            five times a second; two sessions take it 5 ms to make, and each leaves some hundred bytes behind for ever.

    Raises:
        UserError: onnxruntime refuses the bytes, or their inputs and outputs are not a MuZero's.
    """

    def __init__(self, files: ModelFiles, *, kernels: bool = True, earlier: OnnxModel | None = None) -> None:
        self.files = files
        self._kernels = kernels
        self._initial_calls: dict[int, _InitialCall] = {}
        self._recurrent_calls: dict[int, _RecurrentCall] = {}
        if earlier is None or not self._continues(earlier):
            self._introduce()

    def _introduce(self) -> None:
        """Have onnxruntime load both graphs, and ask it what this network is."""
        shapes = {value.name: tuple(value.shape[1:]) for value in self._initial_session.get_outputs()}
        self.latent_shape: tuple[int, ...] = shapes["latent"]
        self.num_actions: int = shapes["policy_logits"][0]
        self.observation_shape: tuple[int, ...] = tuple(self._initial_session.get_inputs()[0].shape[1:])
        metadata = self._recurrent_session.get_modelmeta().custom_metadata_map
        if "discount" not in metadata:
            raise UserError("recurrent.onnx must give its discount in its metadata; it has none. Export it again.")
        self.discount = float(metadata["discount"])
        self.version = int(metadata.get("model_version", 0))

    def _continues(self, earlier: OnnxModel) -> bool:
        """Take over all but weights and version from `earlier`, if nothing else is different."""
        known = earlier._layers
        if known.initial is None or known.recurrent is None:
            return False
        try:
            initial, recurrent = (read_graph(content) for content in self.files)
        except ValueError:
            return False
        discount, version = (recurrent.metadata.get(name, "") for name in ("discount", "model_version"))
        if (initial.structure, recurrent.structure) != known.structure or discount != repr(earlier.discount):
            return False
        self.latent_shape, self.num_actions = earlier.latent_shape, earlier.num_actions
        self.observation_shape, self.discount = earlier.observation_shape, earlier.discount
        self.version = int(version or 0)
        layers = plain_layers(initial, 0.0), plain_layers(recurrent, self.discount)
        self._layers = _Layers(*layers, known.structure)
        return True

    @functools.cached_property
    def _layers(self) -> _Layers:
        try:
            graphs = [read_graph(content) for content in self.files] if self._kernels else []
        except ValueError:
            graphs = []
        if not graphs:
            return _Layers(None, None, ())
        found = [plain_layers(graph, discount) for graph, discount in zip(graphs, (0.0, self.discount), strict=True)]
        small = [None if each is None or each.weights.size > DENSE_WEIGHTS_LIMIT else each for each in found]
        initial = small[0] if small[0] is not None and self._initial_agrees(small[0]) else None
        recurrent = small[1] if small[1] is not None and self._recurrent_agrees(small[1]) else None
        return _Layers(initial, recurrent, tuple(graph.structure for graph in graphs))

    @functools.cached_property
    def _initial_session(self) -> Any:
        return _session(self.files.initial, "initial", ["observation"], ["latent", "policy_logits", "value"])

    @functools.cached_property
    def _recurrent_session(self) -> Any:
        outputs = ["latent", "policy_logits", "value", "reward"]
        return _session(self.files.recurrent, "recurrent", ["previous_latent", "action"], outputs)

    def initial(self, observation: NDArray[np.generic], /) -> InitialOutput:
        """See `search.Model`. `[B, *O]` of any number type."""
        call = self._initial_calls.get(len(observation))
        if call is None:
            call = self._initial_calls[len(observation)] = _InitialCall(self, len(observation))
        np.copyto(call.observation, observation, casting="unsafe")
        self._run_initial(call, self._layers.initial)
        return call.output

    def _run_initial(self, call: _InitialCall, dense: DenseModel | None) -> None:
        """By kernels, or by onnxruntime."""
        if dense is not None:
            evaluate_dense(dense, call.flat, call.no_action, call.filled)
            return
        if call.binding is None:
            inputs, outputs = {"observation": call.observation}, call.output._asdict()
            call.binding = _bind(self._initial_session, inputs, outputs)
        self._initial_session.run_with_iobinding(call.binding)

    def recurrent(self, latent: NDArray[np.float32], action: NDArray[np.int32], /) -> RecurrentOutput:
        """See `search.Model`. Arrays that are passed again and again are bound once and not copied."""
        call = self._recurrent_calls.get(len(action))
        if call is None or call.latent is not latent or call.action is not action:
            call = self._recurrent_calls[len(action)] = _RecurrentCall(self, latent, action)
        self._recurrent_session.run_with_iobinding(call.binding)
        return call.output

    def dense(self) -> DenseModel | None:
        """The recurrent network as plain layers for kernels; None if it is anything else, or large."""
        return self._layers.recurrent

    def _initial_agrees(self, dense: DenseModel) -> bool:
        call = _InitialCall(self, TRIALS)
        call.observation[:] = np.random.default_rng(0).normal(size=call.observation.shape)
        self._run_initial(call, None)
        expected = [array.copy() for array in call.output]
        self._run_initial(call, dense)
        return _agree(expected, call.output)

    def _recurrent_agrees(self, dense: DenseModel) -> bool:
        rng = np.random.default_rng(0)
        latent = rng.normal(size=(TRIALS, *self.latent_shape)).astype(np.float32)
        action = rng.integers(self.num_actions, size=TRIALS, dtype=np.int32)
        expected = self.recurrent(latent, action)
        found = RecurrentOutput(*(np.zeros_like(array) for array in expected))
        evaluate_dense(dense, latent, action, found)
        return _agree(expected, found)


def _agree(expected: Iterable[NDArray[np.float32]], found: Iterable[NDArray[np.float32]]) -> bool:
    pairs = zip(expected, found, strict=True)
    return all(np.abs(one - other).max() <= DENSE_TOLERANCE * (1.0 + np.abs(one).max()) for one, other in pairs)


def shared_model(files: ModelFiles) -> OnnxModel:
    """The model of `files`, the same object for all who ask in a row: roles of one process, which take turns."""
    earlier = _shared[-1] if _shared else None
    if earlier is None or earlier.files != files:
        _shared[:] = [OnnxModel(files, earlier=earlier)]
    return _shared[-1]


_shared: list[OnnxModel] = []
"""What `shared_model` gave last, if anything."""


class _InitialCall:
    """Buffers of `initial` at one batch size."""

    def __init__(self, model: OnnxModel, batch_size: int) -> None:
        self.observation = np.zeros((batch_size, *model.observation_shape), np.float32)
        self.output = InitialOutput(
            latent=np.zeros((batch_size, *model.latent_shape), np.float32),
            policy_logits=np.zeros((batch_size, model.num_actions), np.float32),
            value=np.zeros(batch_size, np.float32),
        )
        self.binding: Any = None
        """For onnxruntime, once it is used."""
        self.flat = self.observation.reshape(batch_size, -1)
        self.no_action = np.zeros(batch_size, np.int32)
        reward, discount = np.zeros((2, batch_size), np.float32)
        latent, logits, value = self.output
        self.filled = RecurrentOutput(latent, reward, discount, logits, value)
        """What kernels write: the output, and two columns that the initial function has no use for."""


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
        self.binding = _bind(model._recurrent_session, inputs, outputs)


def _bind(session: Any, inputs: dict[str, NDArray[Any]], outputs: dict[str, NDArray[Any]]) -> Any:
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
    for name, array in outputs.items():
        binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
    return binding


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
