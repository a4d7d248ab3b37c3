"""What `cli.py bench` measures: ratios within one run, on this machine.

Knows workloads and clocks; knows nothing of training. Needs torch and onnx only to make the workloads' networks.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from numzero.games import GameSpec, make_game
from numzero.games.turns import model_discount
from numzero.inference import OnnxModel
from numzero.replay import Trajectory, Window, layout
from numzero.runtime.base import UNLIMITED, Mailbox, add_counts
from numzero.runtime.processes import ProcessRuntime
from numzero.search import InitialOutput, Model, RecurrentOutput, Search, SearchConfig, memory_bytes
from numzero.search.plain.kernels import dense_output, evaluate_dense
from numzero.targets import Batch
from numzero.training.config import load_preset
from numzero.training.selfplay import SelfPlayTask, selfplay, warm_up

__all__ = ["LEARNER_PRESETS", "SELFPLAY_PRESETS", "WORKLOADS", "StubModel", "Workload"]
__all__ += ["bench_learner", "bench_search", "bench_selfplay"]


class Workload(NamedTuple):
    """One search to be timed."""

    name: str
    observation_shape: tuple[int, ...]
    num_actions: int
    num_simulations: int
    discount: float
    network: dict[str, Any] | None
    """Settings of the network; None: a stub that costs nothing, so that the tree alone is timed."""


_HEADS = {"value": {"num_bins": 21, "limit": 10.0}, "reward": {"num_bins": 21, "limit": 10.0}, "head_scale": 1.0}
_MLP = {"body": "mlp", "latent_size": 64, "width": 64, "latent_scaling": "layernorm", **_HEADS}
_CONV = {"body": "conv", "channels": 64, "blocks": 2, "width": 64, "latent_scaling": "layernorm", **_HEADS}
WORKLOADS = (
    Workload("W1", (4,), 2, 50, 0.997, _MLP),
    Workload("W2", (27,), 9, 25, -1.0, _MLP),
    Workload("W3", (3, 6, 7), 7, 100, -1.0, _CONV),
    Workload("S1", (4,), 2, 50, 0.997, None),
    Workload("S2", (4,), 362, 200, -1.0, None),
    Workload("S3", (4,), 2, 800, 0.997, None),
)
SELFPLAY_PRESETS = LEARNER_PRESETS = ("tictactoe", "cartpole")
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
    model = _network(workload)
    latent_size = math.prod(model.latent_shape) if model is not None else 1
    stub = StubModel(workload.num_actions, latent_size, batch_size, workload.discount)
    tree_search = Search(stub, config, batch_size)
    simulations = batch_size * workload.num_simulations
    tree_only = lambda: tree_search.run(observation, legal)  # noqa: E731  (named for the symmetry of the two timings)
    if model is None:
        (tree_seconds,) = _median_times([tree_only], seconds)
        search_seconds, network_seconds = tree_seconds, None
    else:
        search = Search(model, config, batch_size)
        calls = _network_calls(model, observation, workload.num_simulations)
        timed = [lambda: search.run(observation, legal), calls, tree_only]
        search_seconds, network_seconds, tree_seconds = _median_times(timed, seconds)
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


def _network(workload: Workload) -> OnnxModel | None:
    if workload.network is None:
        return None
    from numzero.networks.config import network_config
    from numzero.networks.export import Exporter
    from numzero.networks.network import make_network

    config = network_config(**workload.network)
    network = make_network(workload.observation_shape, workload.num_actions, config, seed=0)
    return OnnxModel(Exporter(network, workload.discount).files(network, 0))


def _network_calls(model: Model, observation: NDArray[np.float32], num_simulations: int) -> Callable[[], object]:
    """The network calls that one search makes, without a tree."""
    latent = np.zeros((len(observation), *model.latent_shape), np.float32)
    action = np.zeros(len(observation), np.int32)

    def run() -> None:
        model.initial(observation)
        for _ in range(num_simulations):
            model.recurrent(latent, action)

    return run


def _median_times(functions: list[Callable[[], object]], seconds: float) -> list[float]:
    """The median time of each function, measured in turns so that all see the same machine."""
    for function in functions:
        function()
    times: list[list[float]] = [[] for _ in functions]
    end = time.perf_counter() + seconds * len(functions)
    while time.perf_counter() < end or len(times[0]) < 3:
        for function, measured in zip(functions, times, strict=True):
            started = time.perf_counter()
            function()
            measured.append(time.perf_counter() - started)
    return [float(np.median(measured)) for measured in times]


class _Clock:
    """Seconds spent in each part of self-play."""

    def __init__(self) -> None:
        self.seconds = {"network_seconds": 0.0, "game_seconds": 0.0, "storage_seconds": 0.0}

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, whose time is added to `part`."""

        def run(*arguments: Any) -> Any:
            started = time.perf_counter()
            result = function(*arguments)
            self.seconds[part] += time.perf_counter() - started
            return result

        return run


class _Timed:
    """Something whose named methods are timed; all else passes through."""

    def __init__(self, inner: Any, clock: _Clock, part: str, methods: tuple[str, ...]) -> None:
        self._inner = inner
        for name in methods:
            if hasattr(inner, name):
                setattr(self, name, clock.timed(part, getattr(inner, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def timed_selfplay(task: SelfPlayTask, mailbox: Mailbox) -> Iterator[None]:
    """The self-play role, watched by a clock: reports also the seconds of each part and of all."""
    clock = _Clock()
    box = _Timed(mailbox, clock, "storage_seconds", ("deliver", "report", "flush"))
    last = time.perf_counter()
    role = selfplay(
        task,
        box,
        make=lambda name, size: _Timed(make_game(name, size), clock, "game_seconds", _GAME_METHODS),
        load=lambda files: _Timed(OnnxModel(files), clock, "network_seconds", ("initial", "recurrent")),
    )
    for _ in role:
        now = time.perf_counter()
        mailbox.report({**clock.seconds, "seconds": now - last})
        last, clock.seconds = now, dict.fromkeys(clock.seconds, 0.0)
        yield


_GAME_METHODS = ("reset", "step", "observation", "legal", "to_play", "play_randomly")


def bench_selfplay(preset: str, workers: int, seconds: float) -> dict[str, Any]:
    """Play a preset's games with untrained weights in `workers` processes, and say where their time goes.

    Returns:
        `games_per_second`, `moves_per_second`, `simulations_per_second` of all workers together, and shares of their
        time: `network` (inside the kernels, what as many evaluations take by themselves), `tree` (the rest of the
        search), `game`, `storage`, `rest`.
    """
    from numzero.networks.export import Exporter
    from numzero.networks.network import make_network

    config = load_preset(preset)
    game = make_game(config.game, 1)
    spec = game.spec
    game.close()
    network = make_network(spec.observation_shape, spec.num_actions, config.network, seed=0)
    gamma = config.schedule.gamma
    files = Exporter(network, model_discount(spec, gamma)).files(network, 0)
    settings = msgspec.structs.replace(config.selfplay, batch_size=BENCH_GAMES)
    tasks = [SelfPlayTask(config.game, config.search, settings, gamma, 0, actor) for actor in range(workers)]
    warm_up(tasks[0], files)
    with tempfile.TemporaryDirectory() as folder:
        runtime = ProcessRuntime(Path(folder) / "replay.sqlite", Path(folder) / "weights")
        try:
            runtime.publish(0, {"initial.onnx": files.initial, "recurrent.onnx": files.recurrent})
            runtime.allow(timed_selfplay.__name__, UNLIMITED)
            runtime.start(timed_selfplay, tasks)
            total = _count_for(runtime, workers, seconds)
        finally:
            runtime.close()
    inside = total.get("simulations", 0) * _evaluation_seconds(OnnxModel(files))
    total["network_seconds"] = total.get("network_seconds", 0.0) + inside
    return {"preset": preset, "workers": workers, **_selfplay_figures(total, workers)}


BENCH_GAMES = 64
"""Games in lockstep per worker."""
EVALUATION_SECONDS = 0.2
"""For timing the network that the kernels evaluate."""


def _evaluation_seconds(model: OnnxModel) -> float:
    """How long the kernels take to evaluate the network once, in a batch like self-play's; 0 if they do not."""
    dense = model.dense()
    if dense is None:
        return 0.0
    latent = np.random.default_rng(0).normal(size=(BENCH_GAMES, *model.latent_shape)).astype(np.float32)
    action = np.zeros(BENCH_GAMES, np.int32)
    output = dense_output(latent, model.num_actions)
    (seconds,) = _median_times([lambda: evaluate_dense(dense, latent, action, output)], EVALUATION_SECONDS)
    return seconds / BENCH_GAMES


def _count_for(runtime: ProcessRuntime, workers: int, seconds: float) -> dict[str, Any]:
    """What all workers report within `seconds` of the first report of each."""
    warming = 0
    while warming < workers and runtime.running():
        runtime.poll(1.0)
        warming += bool(runtime.take_counts())
    total: dict[str, Any] = {}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end and runtime.running():
        runtime.poll(0.2)
        add_counts(total, runtime.take_counts())
    runtime.stop()
    return total


def _selfplay_figures(total: dict[str, Any], workers: int) -> dict[str, float]:
    worked = max(total.get("seconds", 0.0), 1e-9)
    elapsed = worked / workers
    parts = {name: total.get(f"{name}_seconds", 0.0) for name in ("network", "game", "storage")}
    search_seconds = total.get("search_seconds", 0.0)
    parts["network"] = min(parts["network"], search_seconds)  # timed in part at another, perhaps busier, moment
    parts["tree"] = search_seconds - parts["network"]
    parts["rest"] = worked - sum(parts.values())
    return {
        "games_per_second": len(total.get("episodes", ())) / elapsed,
        "moves_per_second": total.get("steps", 0) / elapsed,
        "simulations_per_second": total.get("simulations", 0) / elapsed,
        **{name: seconds / worked for name, seconds in sorted(parts.items())},
    }


def bench_learner(preset: str, batch_size: int, seconds: float) -> dict[str, Any]:
    """Time updates of a preset's network, making their batches, and the matrix products of an update alone.

    Returns:
        `updates_per_second`; `arithmetic_per_second`, how often the products alone could be made; `ratio` of the two,
        1 at best; `batch_share`, the time it takes to draw and gather a batch over that of an update.
    """
    from numzero.networks.arithmetic import update_products
    from numzero.networks.network import make_network
    from numzero.training.batches import draw_batch
    from numzero.training.learner import Learner

    config = load_preset(preset)
    game = make_game(config.game, 1)
    spec, symmetries = game.spec, game.symmetries
    game.close()
    network = make_network(spec.observation_shape, spec.num_actions, config.network, seed=0)
    learner = Learner(network, config.learner, num_updates=10**9)
    config = msgspec.structs.replace(config, learner=msgspec.structs.replace(config.learner, batch_size=batch_size))
    rng, window = np.random.default_rng(0), _random_window(spec)
    consistency = config.learner.consistency_weight > 0.0
    products = update_products(network, batch_size, config.targets.unroll_steps, consistency=consistency)

    def draw() -> Batch:
        return draw_batch(window, config, symmetries, rng)[0]

    batch = draw()
    update, drawing, arithmetic = _median_times([lambda: learner.update(batch), draw, products], seconds)
    return {
        "preset": preset,
        "batch": batch_size,
        "parameters": learner.num_parameters,
        "updates_per_second": 1.0 / update,
        "arithmetic_per_second": 1.0 / arithmetic,
        "ratio": update / arithmetic,
        "batch_share": drawing / update,
    }


def _random_window(spec: GameSpec) -> Window:
    """Games of random numbers, as long as they are made of: what they hold changes no time."""
    rng, num_actions, length = np.random.default_rng(0), spec.num_actions, 9
    window = Window(4096, spec.observation_shape, spec.observation_dtype, num_actions)
    fields = layout(length, num_actions, spec.observation_shape, np.dtype(spec.observation_dtype))
    for number in range(4096 // (length + 1)):
        arrays = {field.name: np.ones(field.shape, field.dtype) for field in fields}
        arrays |= {
            "observation": rng.integers(0, 2, arrays["observation"].shape).astype(spec.observation_dtype),
            "action": rng.integers(0, num_actions, length, dtype=np.int32),
            "reward": rng.uniform(-1, 1, length).astype(np.float32),
            "policy_target": rng.dirichlet(np.ones(num_actions), length).astype(np.float32),
            "root_value": rng.uniform(-1, 1, length + 1).astype(np.float32),
            "exploratory": np.zeros(length, np.bool_),
        }
        window.add(Trajectory(game_id=str(number), ended="truncated", **arrays))
    return window
