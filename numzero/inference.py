"""`OnnxModel`: a `search.Model` on onnxruntime.

Knows sessions, buffers and the graphs' names; knows nothing of torch, files' folders or games. One thread: actors are
processes. Make the model in the process that uses it.

The bytes may be a stranger's. Checked before anything runs: that they are ONNX, and hold all their numbers themselves
(onnxruntime would read others from files); names, element types and sizes of inputs and outputs; the numbers in the
metadata. A graph that onnxruntime refuses, or that fails when it runs, is a UserError that names the file. What kernels
run is checked by `onnx_layers`, and tried beside onnxruntime first, on buffers with fences. Not checked: what else a
graph makes onnxruntime do. It runs in this process as it is, and may take any time and any memory.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.onnx_layers import NetworkShapes, plain_layers
from numzero.onnx_reader import OnnxGraph, external_tensor, read_graph, read_metadata
from numzero.search import AfterstateOutput, InitialOutput, Proposal, RecurrentOutput, WithChance
from numzero.search.plain.dense import DenseModel, DenseNetwork
from numzero.search.plain.kernels import evaluate_dense

__all__ = [
    "AFTERSTATE",
    "AGENT_GRAPH",
    "CANDIDATE_NOISE",
    "INITIAL",
    "PROPOSAL",
    "RECURRENT",
    "AnyOnnxModel",
    "FoundMove",
    "ModelFiles",
    "OnnxChance",
    "OnnxModel",
    "OnnxSearch",
    "OnnxVectors",
    "OnnxWithChance",
    "onnx_model",
    "outputs_of",
    "require_whole",
    "reward_unit",
    "shared_model",
    "takes_vectors",
]

DENSE_TOLERANCE = 1e-4
"""Largest difference from onnxruntime, relative to 1 + the largest number of the output."""
TRIALS = 4
"""Random inputs that kernels and onnxruntime are compared on."""
DENSE_WEIGHTS_LIMIT = 160_000
"""Larger networks stay with onnxruntime: their weights do not fit a core's own cache. Measured, in us an evaluation at
batches of 1, 64 and 256: 39,000 weights 4.9, 1.47, 1.44 in the kernels and 14.4, 1.71, 1.56 in onnxruntime; 127,000
weights 10.5, 3.6, 3.6 and 19.6, 3.5, 3.3; 450,000 weights 85, 16, 16 and 40, 9.5, 9.4."""


LARGEST = 2**24
"""Most numbers of one observation, latent or row of logits."""
MAX_RANK = 8
"""Most dimensions of one of them."""
FENCE = 1024
"""Numbers on either side of an array that kernels are tried on."""
LONGEST_REASON = 600
"""Characters of what onnxruntime says, which quotes names from the file."""
AGENT_INPUTS = [("observation", "float"), ("legal", "bool"), ("num_simulations", "int64")]
AGENT_OUTPUTS = [("action", "int32"), ("visit_counts", "int32"), ("q_values", "float"), ("value", "float")]
AGENT_LINE, AGENT_MARGIN = ("line", "int32"), ("margin", "double")
"""Of files that have them: not those from before lines were read out, and those that were asked to tell margins."""
AGENT_VECTORS = [("vector", "float"), ("candidates", "float")]
"""Of agents whose actions are vectors."""
CANDIDATE_NOISE = "candidate_noise"
"""What their candidates are made of."""
LARGEST_UNIT = 1e30
"""Of a typical reward."""
LONGEST_VERSION = 18
"""Digits: it goes on as 64 bits."""
RECURRENT_OUTPUTS = [[*("latent", "policy_logits", "value", "reward"), *more] for more in ((), ("discount",))]
"""What the recurrent function gives; the discount of an edge where it is not the same for all."""
AFTERSTATE_OUTPUTS = ["latent", "outcome_logits", "value"]
"""What the afterstate function gives, of a model with chance."""
NETWORK_TYPES = {"action": "int32", "outcome": "int32"}
"""Element types of inputs and outputs that are not float."""
PROPOSAL = "proposal"
"""In the metadata of a recurrent function that takes action vectors: what these are, as `search.Proposal` says it."""


AGENT_GRAPH = "agent.onnx"
"""Holds the networks and the whole search as one graph."""
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


class FoundMove(NamedTuple):
    """What `agent.onnx` found for one position; see `search.SearchResult`."""

    action: int
    """-1 where it refuses the position: no action is legal, a factor has no choice, or a number is not finite."""
    visit_counts: NDArray[np.int32]
    """`[A]`."""
    q_values: NDArray[np.float32]
    """`[A]`, NaN where unvisited."""
    value: float
    """NaN where the position is refused."""
    line: list[int]
    """The most visited moves from `action` on, up to 8; `action` alone where the file is older than lines are."""
    margin: float
    """The smallest lead of any choice, where the graph was built to tell; else NaN."""
    vector: NDArray[np.float32] | None = None
    """`[D]` what to play, in the environment's units, where actions are vectors: candidate `action`."""
    candidates: NDArray[np.float32] | None = None
    """`[A, D]` those that visits and Q are of."""


class OnnxSearch:
    """`agent.onnx`, the networks and the whole search in one graph.

    Args:
        content: the bytes of the file.

    Raises:
        UserError: onnxruntime refuses the bytes, or their inputs and outputs are not such a graph's.
    """

    def __init__(self, content: bytes) -> None:
        self._session = _make_session(content, "agent")
        about = _describe(self._session, "agent")
        inputs, outputs = ([(value.name, value.type) for value in values] for values in (about.inputs, about.outputs))
        noise, candidates = inputs[3:4], [value for value in about.inputs[4:] if value.name == CANDIDATE_NOISE]
        self._takes_candidates = bool(candidates)
        kinds = [value.type for value in about.inputs[3:]]
        if inputs[:3] != _tensors(AGENT_INPUTS) or kinds != ["tensor(float)"] * (1 + len(candidates)):
            raise UserError(f"agent.onnx must be a search as `export` writes it; it takes {_names(about.inputs)}.")
        known = _tensors([AGENT_LINE, AGENT_MARGIN, *AGENT_VECTORS])
        further = [value for value in outputs[len(AGENT_OUTPUTS) :] if value not in known]
        if outputs[: len(AGENT_OUTPUTS)] != _tensors(AGENT_OUTPUTS) or further:
            raise UserError(f"agent.onnx must be a search as `export` writes it; it makes {_names(about.outputs)}.")
        self._noise, self._shape = noise[0][0], about.inputs[3].shape[1:]
        self._outputs = [name for name, _ in outputs]
        self._vector_size = {value.name: value.shape for value in about.outputs}.get("vector", ())[1:]
        self._takes_one = about.inputs[0].shape[:1] == (1,)  # as before agents took batches
        self.metadata = about.metadata

    def run(
        self,
        observation: NDArray[np.generic],
        legal: NDArray[np.bool_],
        num_simulations: int,
        noise: NDArray[np.float32] | None = None,
    ) -> FoundMove:
        """Search one position: `[*O]`, `[A]`; `noise` `[A]` is Gumbel noise, or a draw to mix into the root's prior.

        Where actions are vectors of choices `legal` is `[C]`, of all factors.
        """
        rows = np.asarray(observation)[None], np.asarray(legal)[None], num_simulations
        return self.run_batch(*rows, None if noise is None else noise[None])[0]

    def run_batch(
        self,
        observation: NDArray[np.generic],
        legal: NDArray[np.bool_],
        num_simulations: int,
        noise: NDArray[np.float32] | None = None,
        candidates: NDArray[np.float32] | None = None,
    ) -> list[FoundMove]:
        """Search B positions side by side: `[B, *O]`, `[B, A]`, noise `[B or 1, A]`; of an older file one by one.

        `candidates`: what these are made of where actions are vectors, as `graphs.search_graph` says it.

        Raises:
            UserError: noise or candidates have another shape, or the graph fails.
        """
        seen, may = np.asarray(observation, np.float32), np.asarray(legal, np.bool_)
        drawn = self._noise_of(may, noise)
        if candidates is not None:
            candidates = np.asarray(candidates, np.float32)
            self._require_draws(candidates, drawn.shape, num_simulations)
        if not self._takes_one:
            return self._run(seen, may, drawn, num_simulations, candidates)
        rows = zip(seen[:, None], may[:, None], drawn[:, None], strict=True)
        return [self._run(*row, num_simulations)[0] for row in rows]

    def _noise_of(self, legal: NDArray[np.bool_], noise: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """`[B, A]`: zeros, what is given, or its one row for all."""
        # Candidates are as many as noise has numbers, however many choices masks are of.
        shape = (len(legal), *(size if isinstance(size, int) else legal.shape[1] for size in self._shape))
        given = np.zeros(shape, np.float32) if noise is None else np.asarray(noise, np.float32)
        if given.shape not in (shape, (1, *shape[1:])):
            raise UserError(
                f"noise must have the shape {list(shape)}, a number for each action or candidate of each position, or "
                f"one row for all; got {list(given.shape)}. Leave it out for the best move."
            )
        return np.ascontiguousarray(np.broadcast_to(given, shape))

    def _require_draws(self, candidates: NDArray[np.float32], of_noise: tuple[int, ...], num_simulations: int) -> None:
        """Of none the graph has its own; more than the budget takes are not looked at. of_noise: `(B, A)`."""
        if not self._takes_candidates:
            raise UserError(
                "candidates are made of draws where actions are vectors; those of this agent.onnx are a list, and it "
                f"was given {list(candidates.shape)}. Leave them out."
            )
        inner, most = (_count(self.metadata.get(name, "")) for name in ("inner_candidates", "max_simulations"))
        least = of_noise[-1] + inner * min(max(num_simulations, 0), most)
        shape, size = candidates.shape, self._vector_size or candidates.shape[2:]
        fits = shape[1:2] == (0,) or (shape[1:2] >= (least,) and shape[2:] == size)
        if len(shape) != 3 or shape[0] not in (1, of_noise[0]) or not fits:
            raise UserError(
                f"candidates must have the shape {[f'1 or {of_noise[0]}', f'{least} or more', *size]} for "
                f"{num_simulations} simulations; got {list(shape)}. Leave them out for those of numzero.Agent."
            )

    def _run(
        self,
        observation: NDArray[np.float32],
        legal: NDArray[np.bool_],
        noise: NDArray[np.float32],
        num_simulations: int,
        candidates: NDArray[np.float32] | None = None,
    ) -> list[FoundMove]:
        budget = np.array([num_simulations], np.int64)
        inputs = {"observation": observation, "legal": legal, "num_simulations": budget, self._noise: noise}
        if self._takes_candidates:
            inputs[CANDIDATE_NOISE] = np.zeros((1, 0, 1), np.float32) if candidates is None else candidates
        made = _call(lambda: self._session.run(None, inputs), "agent")
        found = dict(zip(self._outputs, made, strict=True))
        found.setdefault("line", found["action"][:, None])
        rows, shape = (len(legal),), (len(legal), *noise.shape[1:])
        expected = {name: shape if name in ("visit_counts", "q_values") else rows for name, _ in AGENT_OUTPUTS}
        if any(found[name].shape != shape for name, shape in expected.items()):
            raise UserError(
                f"agent.onnx must make numbers for {shape[1]} actions; it made {[array.shape for array in made]}. "
                "Export it again."
            )
        return [_found_move({name: array[row] for name, array in found.items()}) for row in range(rows[0])]


def _found_move(found: Mapping[str, Any]) -> FoundMove:
    action, visits, q_values, value = (found[name] for name, _ in AGENT_OUTPUTS)
    moves, margin = [int(move) for move in found["line"] if move >= 0], float(found.get("margin", math.nan))
    vectors = found.get("vector"), found.get("candidates")
    return FoundMove(int(action), visits, q_values, float(value), moves, margin, *vectors)


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
        about = _describe(self._initial_session, "initial")
        latent, logits, value = about.outputs
        self.observation_shape = _row_shape(about.inputs[0], "initial", 0, MAX_RANK)
        self.latent_shape = _row_shape(latent, "initial", 1, MAX_RANK)
        self.num_actions: int = _row_shape(logits, "initial", 1, 1)[0]
        _row_shape(value, "initial", 0, 0)
        metadata = _describe(self._recurrent_session, "recurrent").metadata
        self.discount, self.version, self.reward_unit = _discount(metadata), _version(metadata), reward_unit(metadata)

    def _require_same(self, values: Iterable[_Tensor], network: str, num_outcomes: int = 0) -> None:
        """Each is `[batch, *shape]` as the initial function has it, wherever another one says a number."""
        shapes = {"latent": self.latent_shape, "previous_latent": self.latent_shape}
        shapes |= {"policy_logits": (self.num_actions,), "outcome_logits": (num_outcomes,)}
        shapes |= {"action": self._action_shape}
        for value in values:
            stated, expected = value.shape[1:], shapes.get(value.name, ())
            if len(stated) != len(expected):
                _refuse_shape(value, network)
            if any(isinstance(size, int) and size != other for size, other in zip(stated, expected, strict=True)):
                _refuse_shape(value, network)

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
        self.version, self.reward_unit = _version(metadata), reward_unit(metadata)
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
        return _session(self.files.initial, "initial", ["observation"], ["latent", "policy_logits", "value"])

    @functools.cached_property
    def _recurrent_session(self) -> Any:
        inputs = ["previous_latent", self._edge]
        session = _session(self.files.recurrent, "recurrent", inputs, *RECURRENT_OUTPUTS, types=self._types)
        about = _describe(session, "recurrent")
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
            call.binding = _bind(self._initial_session, inputs, outputs)
        _call(functools.partial(self._initial_session.run_with_iobinding, call.binding), "initial")

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
        found = _try_out(dense, call.flat, call.no_action, call.filled)
        return found is not None and _agree(call.output, (found.latent, found.policy_logits, found.value))

    def _step_agrees(self, form: str, dense: DenseModel) -> bool:
        rng, shapes = np.random.default_rng(0), self._shapes()
        latent = rng.normal(size=(TRIALS, *self.latent_shape)).astype(np.float32)
        num_edges = shapes.num_outcomes if form == "chance" else shapes.num_actions
        edge = rng.integers(num_edges, size=TRIALS, dtype=np.int32)
        expected = self._stepped(form, latent, edge)
        found = _try_out(dense, latent, edge, expected)
        return found is not None and _agree(expected, found)

    def _stepped(self, form: str, latent: NDArray[np.float32], edge: NDArray[np.int32]) -> RecurrentOutput:
        """What onnxruntime says."""
        return self.recurrent(latent, edge)


class _Fenced:
    """A float32 array in the middle of a larger one, whose ends tell whether anything was written beside it.

    They hold NaN: what is read there by mistake does not agree with onnxruntime.
    """

    def __init__(self, content: NDArray[np.float32]) -> None:
        self._whole = np.full(content.size + 2 * FENCE, np.nan, np.float32)
        self.array = self._whole[FENCE : FENCE + content.size].reshape(content.shape)
        self.array[...] = content

    def is_whole(self) -> bool:
        """Nothing was written outside."""
        fences = np.concatenate([self._whole[:FENCE], self._whole[FENCE + self.array.size :]])
        return fences.tobytes() == np.full(2 * FENCE, np.nan, np.float32).tobytes()


def _try_out(
    dense: DenseModel, latent: NDArray[np.float32], action: NDArray[np.int32], like: RecurrentOutput
) -> RecurrentOutput | None:
    """What kernels make of `latent` and `action`, in arrays of `like`'s shapes; None if they went beyond any array."""
    read: list[NDArray[np.float32]] = [dense.weights, dense.value_bins, dense.reward_bins, dense.discount_bins]
    inside = [_Fenced(array) for array in (*read, dense.work, latent)]
    weights, value_bins, reward_bins, discount_bins, work, rows = (fenced.array for fenced in inside)
    outputs = [_Fenced(np.zeros_like(array)) for array in like]
    found = RecurrentOutput(*(fenced.array for fenced in outputs))
    tried = dense._replace(
        weights=weights, value_bins=value_bins, reward_bins=reward_bins, discount_bins=discount_bins, work=work
    )
    evaluate_dense(tried, rows, action, found)
    return found if all(fenced.is_whole() for fenced in (*inside, *outputs)) else None


def _agree(expected: Iterable[NDArray[np.float32]], found: Iterable[NDArray[np.float32]]) -> bool:
    pairs = zip(expected, found, strict=True)
    with np.errstate(invalid="ignore", over="ignore"):  # infinite numbers do not agree, and that is all
        return all(np.abs(one - other).max() <= DENSE_TOLERANCE * (1.0 + np.abs(one).max()) for one, other in pairs)


class OnnxChance(OnnxModel):
    """A `search.ChanceModel`: as `OnnxModel`, of files that have an afterstate function too."""

    _edge, _forms = "outcome", ("initial", "chance", "afterstate")

    def _introduce(self) -> None:
        """Load the third graph too."""
        super()._introduce()
        about = _describe(self._afterstate_session, "afterstate")
        self.num_outcomes: int = _row_shape(about.outputs[1], "afterstate", 1, 1)[0]
        self._require_same([*about.inputs, *about.outputs], "afterstate", self.num_outcomes)

    def _continues(self, earlier: OnnxModel) -> bool:
        self.num_outcomes = earlier.num_outcomes if isinstance(earlier, OnnxChance) else 0
        return super()._continues(earlier)

    def _shapes(self) -> NetworkShapes:
        return super()._shapes()._replace(num_outcomes=self.num_outcomes)

    @functools.cached_property
    def _afterstate(self) -> _Function:
        shapes = {"latent": self.latent_shape, "outcome_logits": (self.num_outcomes,), "value": ()}
        return _Function(self._afterstate_session, "afterstate", self.latent_shape, "action", shapes)

    @functools.cached_property
    def _chance(self) -> _Function:
        shapes = {"latent": self.latent_shape, "policy_logits": (self.num_actions,), "value": (), "reward": ()}
        shapes |= _told_discount(self._recurrent_session)
        return _Function(self._recurrent_session, "recurrent", self.latent_shape, "outcome", shapes)

    def network(self) -> DenseNetwork | None:
        """Both functions behind the root as plain layers for kernels, or None."""
        _, outcomes, actions = self._layers.functions
        return None if actions is None or outcomes is None else DenseNetwork(actions, outcomes)

    def _stepped(self, form: str, latent: NDArray[np.float32], edge: NDArray[np.int32]) -> RecurrentOutput:
        if form == "chance":
            return self.chance(latent, edge)
        after = self.afterstate(latent, edge)
        zeros, ones = np.zeros_like(after.value), np.ones_like(after.value)
        return RecurrentOutput(after.latent, zeros, ones, after.outcome_logits, after.value)

    @functools.cached_property
    def _afterstate_session(self) -> Any:
        return _session(self.files.afterstate, "afterstate", ["previous_latent", "action"], AFTERSTATE_OUTPUTS)

    def afterstate(self, latent: NDArray[np.float32], action: NDArray[np.int32], /) -> AfterstateOutput:
        """See `search.ChanceModel`."""
        return AfterstateOutput(**self._afterstate(latent, action))

    def chance(self, latent: NDArray[np.float32], outcome: NDArray[np.int32], /) -> RecurrentOutput:
        """See `search.ChanceModel`."""
        discount = np.full(len(outcome), self.discount, np.float32)
        return RecurrentOutput(**({"discount": discount} | self._chance(latent, outcome)))


class OnnxVectors(OnnxModel):
    """A `search.ProposingModel`: as `OnnxModel`, of files whose actions are vectors."""

    _types: Mapping[str, str] = {}

    def _introduce(self) -> None:
        """Read first what actions are."""
        self._use(_proposal(self.files))
        super()._introduce()
        if self.num_actions != self.proposal.num_parameters:
            raise UserError(
                f"recurrent.onnx must give {self.proposal.num_parameters} parameters for its action vectors; it gives "
                f"{self.num_actions}. Export it again."
            )

    def _use(self, proposal: Proposal) -> None:
        self.proposal = proposal
        self._action_shape = (proposal.size,)

    def _continues(self, earlier: OnnxModel) -> bool:
        if not isinstance(earlier, OnnxVectors) or _proposal(self.files) != earlier.proposal:
            return False
        self._use(earlier.proposal)
        return super()._continues(earlier)

    def _shapes(self) -> NetworkShapes:
        return super()._shapes()._replace(proposal=self.proposal)

    @functools.cached_property
    def _function(self) -> _Function:
        session, latent = self._recurrent_session, self.latent_shape
        shapes = {"latent": latent, "policy_logits": (self.num_actions,), "value": (), "reward": ()}
        return _Function(session, "recurrent", latent, "action", shapes | _told_discount(session), self._action_shape)

    def recurrent(self, latent: NDArray[np.float32], action: NDArray[Any], /) -> RecurrentOutput:
        """See `search.ProposingModel`."""
        discount = np.full(len(action), self.discount, np.float32)
        return RecurrentOutput(**({"discount": discount} | self._function(latent, action)))

    def _step_agrees(self, form: str, dense: DenseModel) -> bool:
        """Kernels are given vectors behind latents, and which of them."""
        rng = np.random.default_rng(0)
        latent = rng.normal(size=(TRIALS, *self.latent_shape)).astype(np.float32)
        vectors = self.proposal.uniform(rng, (TRIALS, TRIALS))
        which = rng.integers(TRIALS, size=TRIALS, dtype=np.int32)
        expected = self.recurrent(latent, vectors[np.arange(TRIALS), which])
        found = _try_out(dense, np.concatenate([latent, vectors.reshape(TRIALS, -1)], axis=1), which, expected)
        return found is not None and _agree(expected, found)


def _proposal(files: ModelFiles) -> Proposal:
    """What the action vectors of these files are."""
    try:
        return Proposal.parsed(read_metadata(files.recurrent).get(PROPOSAL, ""))
    except ValueError as error:
        raise UserError(
            f"recurrent.onnx must say in its metadata what actions are: {error}. Export it again."
        ) from error


def takes_vectors(files: ModelFiles) -> bool:
    """Whether actions of these networks are vectors."""
    try:
        return PROPOSAL in read_metadata(files.recurrent)
    except ValueError:  # which is said where they are loaded
        return False


def _told_discount(session: Any) -> dict[str, tuple[int, ...]]:
    """The shape of the discount of an edge, if the recurrent function gives it."""
    return {"discount": ()} if "discount" in [value.name for value in session.get_outputs()] else {}


class _Function:
    """A graph of latents and edges, for any number of rows at a time, in buffers that grow as needed.

    Args:
        session: of the graph.
        name: of its file, for messages.
        latent_shape: of `previous_latent`.
        edge: its other input, int32, or float32 where it is a vector.
        outputs: shapes of a row.
        edge_shape: of a row.
    """

    def __init__(
        self,
        session: Any,
        name: str,
        latent_shape: tuple[int, ...],
        edge: str,
        outputs: dict[str, tuple[int, ...]],
        edge_shape: tuple[int, ...] = (),
    ) -> None:
        self._session, self._name, self._edge, self._edge_shape = session, name, edge, edge_shape
        self._latent_shape, self._shapes = latent_shape, outputs
        self._allocate(0)

    def _allocate(self, num_rows: int) -> None:
        inputs = {"previous_latent": np.zeros((num_rows, *self._latent_shape), np.float32)}
        dtype = np.float32 if self._edge_shape else np.int32
        self._inputs: dict[str, NDArray[Any]] = inputs | {self._edge: np.zeros((num_rows, *self._edge_shape), dtype)}
        self._outputs = {name: np.zeros((num_rows, *shape), np.float32) for name, shape in self._shapes.items()}
        self._calls: dict[int, tuple[Any, dict[str, NDArray[Any]], dict[str, NDArray[Any]]]] = {}

    def __call__(self, latent: NDArray[np.float32], edge: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """The outputs by name, views that the next call overwrites."""
        count = len(edge)
        if count > len(self._inputs[self._edge]):
            self._allocate(count)
        if count not in self._calls:
            inputs = {name: array[:count] for name, array in self._inputs.items()}
            outputs = {name: array[:count] for name, array in self._outputs.items()}
            self._calls[count] = _bind(self._session, inputs, outputs), inputs, outputs
        binding, inputs, outputs = self._calls[count]
        inputs["previous_latent"][:], inputs[self._edge][:] = latent, edge
        _call(functools.partial(self._session.run_with_iobinding, binding), self._name)
        return outputs


class OnnxWithChance(WithChance):
    """The `search.Model` of files with chance; what it says of itself is what an `OnnxModel` says."""

    model: OnnxChance

    def __init__(self, files: ModelFiles, *, kernels: bool = True, earlier: OnnxWithChance | None = None) -> None:
        super().__init__(OnnxChance(files, kernels=kernels, earlier=None if earlier is None else earlier.model))
        self.files, self.observation_shape = files, self.model.observation_shape
        self.discount, self.version, self.reward_unit = self.model.discount, self.model.version, self.model.reward_unit

    def dense(self) -> DenseNetwork | None:
        """See `OnnxChance.network`; the same object at each call."""
        return self._network

    @functools.cached_property
    def _network(self) -> DenseNetwork | None:
        return self.model.network()


AnyOnnxModel = OnnxModel | OnnxWithChance


def onnx_model(files: ModelFiles, earlier: AnyOnnxModel | None = None) -> AnyOnnxModel:
    """A model for the search, whatever its files have; `earlier` and errors as of `OnnxModel`.

    Where actions are vectors it is a `search.ProposingModel`, of which `Search` makes a model of candidates.
    """
    if files.has_chance:
        return OnnxWithChance(files, earlier=earlier if isinstance(earlier, OnnxWithChance) else None)
    if takes_vectors(files):
        return OnnxVectors(files, earlier=earlier if isinstance(earlier, OnnxVectors) else None)
    return OnnxModel(files, earlier=earlier if isinstance(earlier, OnnxModel) else None)


def shared_model(files: ModelFiles) -> AnyOnnxModel:
    """The model of `files`, the same object for all who ask in a row: roles of one process, which take turns."""
    earlier = _shared[-1] if _shared else None
    if earlier is None or earlier.files != files:
        _shared[:] = [onnx_model(files, earlier)]
    return _shared[-1]


_shared: list[AnyOnnxModel] = []
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
        session = model._recurrent_session
        told = [value.name for value in session.get_outputs()]
        outputs = {name: array for name, array in self.output._asdict().items() if name in told}
        inputs = {"previous_latent": self.latent, "action": self.action}
        self._run = functools.partial(session.run_with_iobinding, _bind(session, inputs, outputs))

    def run(self) -> None:
        """Fill the output."""
        _call(self._run, "recurrent")


def _bind(session: Any, inputs: dict[str, NDArray[Any]], outputs: dict[str, NDArray[Any]]) -> Any:
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
    for name, array in outputs.items():
        binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
    return binding


def require_whole(content: bytes, name: str) -> None:
    """Raise UserError unless the bytes are ONNX, and no tensor in them names a file that its numbers are in.

    Whoever loads such a model reads that file from the working directory, whatever is in it.
    """
    try:
        elsewhere = external_tensor(content)
    except ValueError as error:
        raise UserError(f"{name}.onnx is not a model that onnxruntime can load: {error}.") from error
    if elsewhere is not None:
        raise UserError(
            f"{name}.onnx must hold all of its numbers; those of {elsewhere[:LONGEST_REASON]!r} are in another file. "
            "Save it again without external data."
        )


def _make_session(content: bytes, name: str) -> Any:
    """The one place where bytes become a session.

    Raises:
        UserError: they are no ONNX, name numbers in other files, or onnxruntime refuses them.
    """
    require_whole(content, name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4  # 3 writes to stderr, names from the file and all, what is raised besides
    try:
        # The fallback would print what the file says, and try the same once more.
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # onnxruntime raises classes of its own for bad bytes, without a public base
        raise UserError(f"{name}.onnx is not a model that onnxruntime can load: {_reason(error)}") from error


def outputs_of(content: bytes, name: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """All that a graph makes of inputs, by name; errors as of `OnnxModel`."""
    session = _make_session(content, name)
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, _call(lambda: session.run(names, dict(inputs)), name), strict=True))


def _call(run: Callable[[], Any], name: str) -> Any:
    """Have onnxruntime run a graph, and nothing else."""
    try:
        return run()
    except Exception as error:  # as above: a node of the graph failed
        raise UserError(
            f"{name}.onnx must run on every input of its shapes; onnxruntime says: {_reason(error)} Export it again."
        ) from error


def _reason(error: Exception) -> str:
    """What onnxruntime says, without the control characters that names in a file may have, and not without end."""
    return "".join(character if character.isprintable() else " " for character in str(error))[:LONGEST_REASON]


class _Tensor(NamedTuple):
    """An input or output as a graph declares it."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]
    """A size, or the name of one that is free."""


class _About(NamedTuple):
    """What a graph says of itself."""

    inputs: list[_Tensor]
    outputs: list[_Tensor]
    metadata: dict[str, str]


def _describe(session: Any, name: str) -> _About:
    try:
        inputs, outputs = (
            [_Tensor(value.name, value.type, tuple(value.shape)) for value in values]
            for values in (session.get_inputs(), session.get_outputs())
        )
        return _About(inputs, outputs, dict(session.get_modelmeta().custom_metadata_map))
    except UnicodeDecodeError as error:
        raise UserError(f"{name}.onnx must be written in UTF-8; a name in it is not. Export it again.") from error


def _names(values: Iterable[_Tensor]) -> str:
    return f"{[value.name for value in values]}"[:LONGEST_REASON]


def _tensors(values: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """(name, element type) as onnxruntime says it."""
    return [(name, f"tensor({kind})") for name, kind in values]


def _session(
    content: bytes, name: str, inputs: list[str], *outputs: list[str], types: Mapping[str, str] = NETWORK_TYPES
) -> Any:
    """A session of a graph from `inputs` to one of the `outputs`, all `[batch, ...]` of the right element types."""
    session = _make_session(content, name)
    about = _describe(session, name)
    if [value.name for value in about.inputs] != inputs or [value.name for value in about.outputs] not in outputs:
        wanted = " or ".join(map(str, outputs))
        raise UserError(
            f"{name}.onnx must map {inputs} to {wanted}; it maps {_names(about.inputs)} to {_names(about.outputs)}."
        )
    for value in (*about.inputs, *about.outputs):
        if value.type != f"tensor({types.get(value.name, 'float')})":
            _refuse_shape(value, name)
        if not value.shape or isinstance(value.shape[0], int):  # one position, or a fixed number of them
            _refuse_shape(value, name)
    return session


def _row_shape(value: _Tensor, network: str, least_rank: int, most_rank: int) -> tuple[int, ...]:
    """Of `[batch, *shape]`, which must be numbers."""
    shape = tuple(size for size in value.shape[1:] if isinstance(size, int) and size >= 1)
    if not least_rank <= len(shape) <= most_rank or len(shape) != len(value.shape) - 1 or math.prod(shape) > LARGEST:
        _refuse_shape(value, network)
    return shape


def _refuse_shape(value: _Tensor, network: str) -> NoReturn:
    raise UserError(
        f"{network}.onnx must be a MuZero's: a free batch first, then sizes of at most {LARGEST} numbers in all that "
        f"both graphs agree on, float (actions of a list int32); its {value.name!r} is {value.type} "
        f"{list(value.shape)}"[:LONGEST_REASON]
        + ". Export it again."
    )


def _discount(metadata: Mapping[str, str]) -> float:
    """Of every edge."""
    if "discount" not in metadata:
        raise UserError("recurrent.onnx must give its discount in its metadata; it has none. Export it again.")
    text = metadata["discount"]
    discount = _number(text)
    if not -1.0 <= discount <= 1.0:
        raise UserError(
            f"recurrent.onnx must give a discount from -1 to 1 in its metadata; got {text[:40]!r}. Export it again."
        )
    return discount


def reward_unit(metadata: Mapping[str, str]) -> float:
    """The size of a typical reward, in which `search.least_range` counts; 1 where nothing is said."""
    text = metadata.get("reward_unit", "1")
    unit = _number(text)
    if not 0.0 < unit <= LARGEST_UNIT:
        raise UserError(
            f"recurrent.onnx must give a reward_unit above 0 and at most {LARGEST_UNIT:g} in its metadata; got "
            f"{text[:40]!r}. Export it again."
        )
    return unit


def _number(text: str) -> float:
    """NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _count(text: str) -> int:
    """0 where it is none."""
    return int(text) if _is_count(text) else 0


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= LONGEST_VERSION


def _version(metadata: Mapping[str, str]) -> int:
    """Updates behind the weights; 0 where nothing is said."""
    text = metadata.get("model_version", "0")
    if not _is_count(text):
        raise UserError(
            "recurrent.onnx must give its model_version in its metadata as a whole number of at most "
            f"{LONGEST_VERSION} digits; got {text[:40]!r}. Export it again."
        )
    return int(text)
