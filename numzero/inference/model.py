"""`OnnxModel`: a `search.Model` of two graphs, in kernels where they are plain layers, else in onnxruntime."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.inference.fenced import agree, try_out
from numzero.inference.metadata import discount_of, reward_unit, version_of
from numzero.inference.sessions import (
    NETWORK_TYPES,
    Tensor,
    bind,
    describe,
    refuse_shape,
    row_shape,
    run_graph,
    session_of,
)
from numzero.onnx_layers import NetworkShapes, plain_layers
from numzero.onnx_reader import OnnxGraph, read_graph
from numzero.search import InitialOutput, RecurrentOutput
from numzero.search.plain.dense import DenseModel
from numzero.search.plain.kernels import evaluate_dense

__all__ = ["AFTERSTATE", "INITIAL", "RECURRENT", "TRIALS", "ModelFiles", "OnnxModel"]

TRIALS = 4
"""Random inputs that kernels and onnxruntime are compared on."""
DENSE_WEIGHTS_LIMIT = 160_000
"""Larger networks stay with onnxruntime: their weights do not fit a core's own cache. Measured, in us an evaluation at
batches of 1, 64 and 256: 39,000 weights 4.9, 1.47, 1.44 in the kernels and 14.4, 1.71, 1.56 in onnxruntime; 127,000
weights 10.5, 3.6, 3.6 and 19.6, 3.5, 3.3; 450,000 weights 85, 16, 16 and 40, 9.5, 9.4."""
MAX_RANK = 8
"""Most dimensions of an observation or a latent."""
RECURRENT_OUTPUTS = [[*("latent", "policy_logits", "value", "reward"), *more] for more in ((), ("discount",))]
"""What the recurrent function gives; the discount of an edge where it is not the same for all."""
INITIAL, RECURRENT, AFTERSTATE = "initial.onnx", "recurrent.onnx", "afterstate.onnx"


class ModelFiles(NamedTuple):
    """The contents of the ONNX files of one model; `networks.export` says what is in them."""

    initial: bytes
    recurrent: bytes
    afterstate: bytes = b""
    """Of a model with chance, else nothing."""

    @property
    def has_chance(self) -> bool:
        """Whether the recurrent function goes from afterstates, by outcomes of chance, and not by actions."""
        return self.afterstate != b""

    @classmethod
    def among(cls, files: Mapping[str, bytes]) -> ModelFiles:
        """Those among the files of a folder, by name; KeyError where one is missing."""
        return cls(files[INITIAL], files[RECURRENT], files.get(AFTERSTATE, b""))

    def by_name(self) -> dict[str, bytes]:
        """As they stand in folders."""
        named = {INITIAL: self.initial, RECURRENT: self.recurrent}
        return named | ({AFTERSTATE: self.afterstate} if self.has_chance else {})


class _Layers(NamedTuple):
    """What kernels run in place of onnxruntime."""

    functions: tuple[DenseModel | None, ...]
    """In the order of the files."""
    structure: tuple[str, ...]
    """Of the graphs, where all can be read."""

    @property
    def initial(self) -> DenseModel | None:
        """Of observations."""
        return self.functions[0]

    @property
    def recurrent(self) -> DenseModel | None:
        """Of latents and what is followed."""
        return self.functions[1]


class OnnxModel:
    """A `search.Model` that evaluates positions into buffers that are allocated once per batch size.

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

    _edge = "action"
    """What the recurrent function takes beside a latent."""
    _types: Mapping[str, str] = NETWORK_TYPES
    _action_shape: tuple[int, ...] = ()
    _forms: tuple[str, ...] = ("initial", "recurrent")
    """What each file's function is to kernels."""

    def __init__(self, files: ModelFiles, *, kernels: bool = True, earlier: OnnxModel | None = None) -> None:
        self.files = files
        self._kernels = kernels
        self._initial_calls: dict[int, _InitialCall] = {}
        self._recurrent_calls: dict[int, _RecurrentCall] = {}
        if earlier is None or not self._continues(earlier):
            self._introduce()

    def _introduce(self) -> None:
        """Have onnxruntime load both graphs, and ask it what this network is."""
        about = describe(self._initial_session, "initial")
        latent, logits, value = about.outputs
        self.observation_shape = row_shape(about.inputs[0], "initial", 0, MAX_RANK)
        self.latent_shape = row_shape(latent, "initial", 1, MAX_RANK)
        self.num_actions: int = row_shape(logits, "initial", 1, 1)[0]
        row_shape(value, "initial", 0, 0)
        metadata = describe(self._recurrent_session, "recurrent").metadata
        self.discount, self.version, self.reward_unit = (
            discount_of(metadata),
            version_of(metadata),
            reward_unit(metadata),
        )

    def _require_same(self, values: Iterable[Tensor], network: str, num_outcomes: int = 0) -> None:
        """Each is `[batch, *shape]` as the initial function has it, wherever another one says a number."""
        shapes = {"latent": self.latent_shape, "previous_latent": self.latent_shape}
        shapes |= {"policy_logits": (self.num_actions,), "outcome_logits": (num_outcomes,)}
        shapes |= {"action": self._action_shape}
        for value in values:
            stated, expected = value.shape[1:], shapes.get(value.name, ())
            if len(stated) != len(expected):
                refuse_shape(value, network)
            if any(isinstance(size, int) and size != other for size, other in zip(stated, expected, strict=True)):
                refuse_shape(value, network)

    def _continues(self, earlier: OnnxModel) -> bool:
        """Take over all but weights and version from `earlier`, if nothing else is different."""
        try:
            known = earlier._layers
        except UserError:  # it cannot run; this one may
            return False
        if type(self) is not type(earlier) or any(function is None for function in known.functions):
            return False
        try:
            graphs = self._graphs()
        except ValueError:
            return False
        metadata = graphs[1].metadata
        if tuple(graph.structure for graph in graphs) != known.structure:
            return False
        if metadata.get("discount") != repr(earlier.discount):
            return False
        self.latent_shape, self.num_actions = earlier.latent_shape, earlier.num_actions
        self.observation_shape, self.discount = earlier.observation_shape, earlier.discount
        self.version, self.reward_unit = version_of(metadata), reward_unit(metadata)
        self._layers = _Layers(self._read_layers(graphs), known.structure)
        return True

    @functools.cached_property
    def _layers(self) -> _Layers:
        nothing = _Layers((None,) * len(self._forms), ())
        if not self._kernels:
            return nothing
        try:
            graphs = self._graphs()
        except ValueError:
            return nothing
        found = self._read_layers(graphs)
        agree = (
            dense is not None and self._agrees(form, dense) for form, dense in zip(self._forms, found, strict=True)
        )
        functions = tuple(dense if same else None for dense, same in zip(found, agree, strict=True))
        return _Layers(functions, tuple(graph.structure for graph in graphs))

    def _graphs(self) -> list[OnnxGraph]:
        """Of all files; ValueError where one cannot be read."""
        return [read_graph(content) for content in self.files[: len(self._forms)]]

    def _read_layers(self, graphs: Sequence[OnnxGraph]) -> tuple[DenseModel | None, ...]:
        """What kernels may run, as far as it fits the shapes of this model."""
        shapes, limit = self._shapes(), DENSE_WEIGHTS_LIMIT
        discounts = {"initial": 0.0, "afterstate": 1.0}
        return tuple(
            plain_layers(graph, shapes, form, discounts.get(form, self.discount), limit)
            for graph, form in zip(graphs, self._forms, strict=True)
        )

    def _shapes(self) -> NetworkShapes:
        return NetworkShapes(self.observation_shape, self.latent_shape, self.num_actions)

    @functools.cached_property
    def _initial_session(self) -> Any:
        return session_of(self.files.initial, "initial", ["observation"], ["latent", "policy_logits", "value"])

    @functools.cached_property
    def _recurrent_session(self) -> Any:
        inputs = ["previous_latent", self._edge]
        session = session_of(self.files.recurrent, "recurrent", inputs, *RECURRENT_OUTPUTS, types=self._types)
        about = describe(session, "recurrent")
        self._require_same([*about.inputs, *about.outputs], "recurrent")
        return session

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
            call.binding = bind(self._initial_session, inputs, outputs)
        run_graph(functools.partial(self._initial_session.run_with_iobinding, call.binding), "initial")

    def recurrent(self, latent: NDArray[np.float32], action: NDArray[np.int32], /) -> RecurrentOutput:
        """See `search.Model`. Arrays that are passed again and again are bound once and not copied."""
        call = self._recurrent_calls.get(len(action))
        if call is None or call.latent is not latent or call.action is not action:
            call = self._recurrent_calls[len(action)] = _RecurrentCall(self, latent, action)
        call.run()
        return call.output

    def dense(self) -> DenseModel | None:
        """The recurrent network as plain layers for kernels; None if it is anything else, or large."""
        return self._layers.recurrent

    def _agrees(self, form: str, dense: DenseModel) -> bool:
        """Whether kernels give what onnxruntime gives, on random inputs."""
        return self._initial_agrees(dense) if form == "initial" else self._step_agrees(form, dense)

    def _initial_agrees(self, dense: DenseModel) -> bool:
        call = _InitialCall(self, TRIALS)
        call.observation[:] = np.random.default_rng(0).normal(size=call.observation.shape)
        self._run_initial(call, None)
        found = try_out(dense, call.flat, call.no_action, call.filled)
        return found is not None and agree(call.output, (found.latent, found.policy_logits, found.value))

    def _step_agrees(self, form: str, dense: DenseModel) -> bool:
        rng, shapes = np.random.default_rng(0), self._shapes()
        latent = rng.normal(size=(TRIALS, *self.latent_shape)).astype(np.float32)
        num_edges = shapes.num_outcomes if form == "chance" else shapes.num_actions
        edge = rng.integers(num_edges, size=TRIALS, dtype=np.int32)
        expected = self._stepped(form, latent, edge)
        found = try_out(dense, latent, edge, expected)
        return found is not None and agree(expected, found)

    def _stepped(self, form: str, latent: NDArray[np.float32], edge: NDArray[np.int32]) -> RecurrentOutput:
        """What onnxruntime says."""
        return self.recurrent(latent, edge)


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
        session = model._recurrent_session
        told = [value.name for value in session.get_outputs()]
        outputs = {name: array for name, array in self.output._asdict().items() if name in told}
        inputs = {"previous_latent": self.latent, "action": self.action}
        self._run = functools.partial(session.run_with_iobinding, bind(session, inputs, outputs))

    def run(self) -> None:
        """Fill the output."""
        run_graph(self._run, "recurrent")
