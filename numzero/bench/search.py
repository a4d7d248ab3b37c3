"""Searches against their network alone, and the tree alone.

Knows workloads; knows nothing of training. Needs torch and onnx only to make the workloads' networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.bench.clock import median_times
from numzero.inference import AnyOnnxModel, ModelFiles, onnx_model
from numzero.search import (
    HasChance,
    InitialOutput,
    Model,
    Proposal,
    Proposes,
    RecurrentOutput,
    Search,
    SearchConfig,
    memory_bytes,
)

__all__ = ["WORKLOADS", "StubModel", "Workload", "bench_search", "workload_files", "workload_model"]


class Workload(NamedTuple):
    """One search to be timed."""

    name: str
    observation_shape: tuple[int, ...]
    num_actions: int
    num_simulations: int
    discount: float
    network: dict[str, Any] | None
    """Settings of the network; None: a stub that costs nothing, so that the tree alone is timed."""
    precision: Literal["float32", "int8"] = "float32"
    """Of its convolutions."""
    num_outcomes: int = 0
    """Of chance; 0: there is none."""
    vectors: str = ""
    """What actions are where they are vectors, as `Proposal.text` says it; `num_actions` then are candidates."""


_HEADS = {"value": {"num_bins": 21, "limit": 10.0}, "reward": {"num_bins": 21, "limit": 10.0}, "head_scale": 1.0}
_MLP = {"body": "mlp", "latent_size": 64, "width": 64, "latent_scaling": "layernorm", **_HEADS}
_WIDE = {**_MLP, "width": 128}
_CONV = {"body": "conv", "channels": 64, "blocks": 2, "width": 64, "latent_scaling": "layernorm", **_HEADS}
_SMALL_CONV = {**_CONV, "channels": 32, "blocks": 3}
WORKLOADS = (
    Workload("W1", (4,), 2, 50, 0.997, _MLP),
    Workload("W2", (27,), 9, 25, -1.0, _MLP),
    Workload("W3", (3, 6, 7), 7, 100, -1.0, _CONV),
    Workload("W3 int8", (3, 6, 7), 7, 100, -1.0, _CONV, "int8"),
    Workload("W4", (3, 6, 7), 7, 32, -1.0, _SMALL_CONV),
    Workload("W4 int8", (3, 6, 7), 7, 32, -1.0, _SMALL_CONV, "int8"),
    Workload("C1", (4,), 2, 50, 0.997, {"chance": "known", **_MLP}, num_outcomes=32),
    Workload("L16", (4,), 16, 16, 0.997, _WIDE),
    Workload("V1", (4,), 16, 16, 0.997, _WIDE, vectors="box 1"),
    Workload("V6", (4,), 16, 16, 0.997, _WIDE, vectors="box 6"),
    Workload("S1", (4,), 2, 50, 0.997, None),
    Workload("S2", (4,), 362, 200, -1.0, None),
    Workload("S3", (4,), 2, 800, 0.997, None),
    Workload("S4", (4,), 2, 50, 0.997, None, num_outcomes=32),
)
CALIBRATED_ON = 64
"""Random positions, for int8."""
STUB_TABLE = 4096
"""A stub hands out its random logits and values from so many prepared batches' rows."""


class StubModel:
    """A model that returns prepared random outputs at no cost: what remains is the tree.

    Args:
        num_actions: A.
        latent_size: of each hidden state, which is never computed.
        batch_size: B of every call.
        discount: of every edge.
    """

    def __init__(self, num_actions: int, latent_size: int, batch_size: int, discount: float) -> None:
        rng = np.random.default_rng(0)
        num_batches = max(1, STUB_TABLE // batch_size)
        self.num_actions = num_actions
        self.latent_shape: tuple[int, ...] = (latent_size,)
        latent = np.zeros((batch_size, latent_size), np.float32)
        self._initial = InitialOutput(latent, self._logits(rng, batch_size), np.zeros(batch_size, np.float32))
        self._outputs = [
            RecurrentOutput(
                latent,
                rng.uniform(-1, 1, batch_size).astype(np.float32),
                np.full(batch_size, discount, np.float32),
                self._logits(rng, batch_size),
                rng.uniform(-1, 1, batch_size).astype(np.float32),
            )
            for _ in range(num_batches)
        ]
        self._next = 0

    def _logits(self, rng: np.random.Generator, batch_size: int) -> NDArray[np.float32]:
        return rng.normal(size=(batch_size, self.num_actions)).astype(np.float32)

    def initial(self, observation: NDArray[np.generic], /) -> InitialOutput:
        """See `search.Model`."""
        del observation
        return self._initial

    def recurrent(self, latent: NDArray[np.float32], action: NDArray[np.int32], /) -> RecurrentOutput:
        """See `search.Model`."""
        del latent, action
        self._next = (self._next + 1) % len(self._outputs)
        return self._outputs[self._next]


class ChanceStub(StubModel):
    """The same of positions and afterstates, which it does not tell apart; see `HasChance`.

    Args:
        num_actions: A.
        num_outcomes: C.
        latent_size: as of `StubModel`, as are the others.
        batch_size: B.
        discount: of every edge.
    """

    def __init__(self, num_actions: int, num_outcomes: int, latent_size: int, batch_size: int, discount: float) -> None:
        super().__init__(max(num_actions, num_outcomes), latent_size, batch_size, discount)
        self.num_actions, self.num_outcomes = num_actions, num_outcomes


def bench_search(workload: Workload, batch_size: int, rule: str, seconds: float) -> dict[str, Any]:
    """Time one workload at one batch: searches, the same network calls alone, and the tree with a stub.

    Returns:
        `simulations_per_second`; `network_evaluations_per_second` and `ratio` (None for a stub); `tree_microseconds`
        per simulation and tree with the network replaced by a stub; `bytes_per_tree`; `evaluated_by`: "kernels"
        (a plain network inside the compiled search), "onnxruntime" or "stub".
    """
    config = SearchConfig(rule=rule, num_simulations=workload.num_simulations)  # type: ignore[arg-type]
    observation = np.random.default_rng(0).normal(size=(batch_size, *workload.observation_shape)).astype(np.float32)
    legal = np.ones((batch_size, workload.num_actions), np.bool_)
    model = workload_model(workload)
    latent_size = math.prod(model.latent_shape) if model is not None else 1
    sizes = latent_size, batch_size, workload.discount
    num_actions, num_outcomes = workload.num_actions, workload.num_outcomes
    stub = ChanceStub(num_actions, num_outcomes, *sizes) if num_outcomes else StubModel(num_actions, *sizes)
    tree_search = Search(stub, config, batch_size)
    simulations = batch_size * workload.num_simulations
    tree_only = lambda: tree_search.run(observation, legal)  # noqa: E731  (named for the symmetry of the two timings)
    generator = np.random.default_rng(0) if workload.vectors else None  # as self-play: candidates are drawn each time
    if model is None:
        (tree_seconds,) = median_times([tree_only], seconds)
        search_seconds, network_seconds = tree_seconds, None
    else:
        search = Search(model, config, batch_size)
        calls = _network_calls(model, observation, workload.num_simulations)
        timed = [lambda: search.run(observation, legal, candidates_rng=generator), calls, tree_only]
        search_seconds, network_seconds, tree_seconds = median_times(timed, seconds)
    return {
        "workload": workload.name,
        "batch": batch_size,
        "num_actions": workload.num_actions,
        "num_simulations": workload.num_simulations,
        "simulations_per_second": simulations / search_seconds,
        "network_seconds": network_seconds,
        "search_seconds": search_seconds,
        "network_evaluations_per_second": simulations / network_seconds if network_seconds else None,
        "ratio": search_seconds / network_seconds if network_seconds else None,
        "tree_microseconds": 1e6 * tree_seconds / simulations,
        "bytes_per_tree": memory_bytes(tree_search.tree) // batch_size,
        "evaluated_by": "stub" if model is None else "onnxruntime" if model.dense() is None else "kernels",
    }


def workload_model(workload: Workload) -> AnyOnnxModel | None:
    """The model that a workload's searches ask; None: a stub is."""
    return None if workload.network is None else onnx_model(workload_files(workload))


def workload_files(workload: Workload) -> ModelFiles:
    """A workload's network, which it must have, as ONNX files; weights are drawn with seed 0."""
    from numzero.graphs.int8 import in_int8
    from numzero.networks.config import network_config
    from numzero.networks.export import Exporter
    from numzero.networks.network import make_network

    assert workload.network is not None
    config = network_config(**workload.network)
    sizes = workload.observation_shape, workload.num_actions
    proposal = Proposal.parsed(workload.vectors) if workload.vectors else None
    network = make_network(*sizes, config, seed=0, num_known=workload.num_outcomes, proposal=proposal)
    files = Exporter(network, workload.discount).files(network, 0)
    if workload.precision == "float32":
        return files
    seen = np.random.default_rng(0).normal(size=(CALIBRATED_ON, *workload.observation_shape)).astype(np.float32)
    return in_int8(files, seen)


def _network_calls(model: Model, observation: NDArray[np.float32], num_simulations: int) -> Callable[[], object]:
    """The network calls that one search makes, without a tree; with chance, every other one is of afterstates."""
    latent = np.zeros((len(observation), *model.latent_shape), np.float32)
    action: NDArray[Any] = np.zeros(len(observation), np.int32)
    if isinstance(model, Proposes):
        action = np.zeros((len(observation), model.proposal.size), np.float32)
    has_chance = isinstance(model, HasChance)  # not inside: asked of a protocol, it takes as long as a small network

    def run() -> None:
        model.initial(observation)
        for number in range(num_simulations):
            if has_chance:
                latent[:, -1] = number % 2
            model.recurrent(latent, action)

    return run
