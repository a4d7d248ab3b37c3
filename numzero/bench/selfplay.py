"""Self-play end to end, and where its time goes.

Knows the role, the runtime and clocks; needs torch and onnx only to make networks.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from numzero.bench.clock import median_times
from numzero.frames import FrameStack
from numzero.games import Game, game_spec, make_game
from numzero.games.turns import model_discount
from numzero.inference import AnyOnnxModel, onnx_model
from numzero.runtime.base import UNLIMITED, Mailbox, Place, Runtime, add_counts
from numzero.runtime.factory import make_runtime
from numzero.search import HasChance, Model
from numzero.search.plain.kernels import dense_output, evaluate_dense
from numzero.training.config import load_preset
from numzero.training.roles.selfplay import SelfPlayTask, selfplay, warm_up

__all__ = ["BENCH_GAMES", "SELFPLAY_PRESETS", "bench_selfplay", "timed_selfplay"]

SELFPLAY_PRESETS = ("tictactoe", "cartpole")
BENCH_GAMES = 64
"""Games in lockstep per worker."""


class _Clock:
    """Seconds spent in each part of self-play."""

    def __init__(self) -> None:
        self._since = time.perf_counter()
        self._seconds = dict.fromkeys(_PARTS, 0.0)

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, whose time is added to `part`."""

        def run(*arguments: Any, **keywords: Any) -> Any:
            started = time.perf_counter()
            result = function(*arguments, **keywords)
            self._seconds[part] += time.perf_counter() - started
            return result

        return run

    def take(self) -> dict[str, float]:
        """`seconds` since the last call, and of them those of each part."""
        now = time.perf_counter()
        taken = {**self._seconds, "seconds": now - self._since}
        self._since, self._seconds = now, dict.fromkeys(_PARTS, 0.0)
        return taken


_PARTS = ("network_seconds", "game_seconds", "own_seconds", "storage_seconds")
"""The environment's own steps are part of the game's."""


class _Timed:
    """Something whose named methods are timed; all else passes through."""

    def __init__(self, inner: Any, clock: _Clock, part: str, methods: tuple[str, ...]) -> None:
        self._inner = inner
        for name in methods:
            if hasattr(inner, name):
                setattr(self, name, clock.timed(part, getattr(inner, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _WatchedMailbox(_Timed):
    """A mailbox that is told the seconds of the moves whose counts it is told: what loads at first comes with those."""

    def __init__(self, mailbox: Mailbox, clock: _Clock) -> None:
        super().__init__(mailbox, clock, "storage_seconds", ("deliver", "flush"))
        self._report = clock.timed("storage_seconds", mailbox.report)
        self._clock = clock

    def report(self, counts: Mapping[str, Any]) -> None:
        self._report({**counts, **self._clock.take()})


def timed_selfplay(task: SelfPlayTask, mailbox: Mailbox) -> Iterator[None]:
    """The self-play role, watched by a clock: reports also the seconds of each part and of all."""
    clock = _Clock()
    return selfplay(
        task,
        cast("Mailbox", _WatchedMailbox(mailbox, clock)),
        make=lambda name, size: cast("Game", _timed_game(make_game(name, size), clock)),
        load=lambda files: cast("Model", _Timed(onnx_model(files), clock, "network_seconds", ("initial", "recurrent"))),
    )


def _timed_game(game: Game, clock: _Clock) -> _Timed:
    """The batch of games, and the single environments that it may be made of."""
    for row in getattr(game, "rows", ()):
        if hasattr(row, "env"):
            row.env = _Timed(row.env, clock, "own_seconds", ("reset", "step"))
    return _Timed(game, clock, "game_seconds", _GAME_METHODS)


_GAME_METHODS = ("reset", "step", "observation", "legal", "to_play", "play_randomly")


def bench_selfplay(preset: str, workers: int, seconds: float, games: int = BENCH_GAMES) -> dict[str, Any]:
    """Play a preset's `games` in each of `workers` processes with untrained weights, and say where their time goes.

    Returns:
        `games_per_second`, `moves_per_second`, `simulations_per_second` of all workers together, and shares of their
        time: `network` (inside the kernels, what as many evaluations take by themselves), `tree` (the rest of the
        search), `game` (of single environments their own steps and resets), `adapter` (what is around those),
        `storage`, `rest`; and `outside`, the last three together.
    """
    from numzero.networks.export import Exporter
    from numzero.networks.network import make_network

    config = load_preset(preset)
    spec = game_spec(config.game)
    shape = FrameStack(spec, config.observation).shape
    proposal = None if spec.vectors is None else spec.vectors.proposal
    known = spec.num_outcomes
    network = make_network(shape, spec.num_actions, config.network, seed=0, num_known=known, proposal=proposal)
    gamma = config.schedule.gamma
    files = Exporter(network, model_discount(spec, gamma)).files(network, 0)
    settings = msgspec.structs.replace(config.selfplay, batch_size=games)
    task = SelfPlayTask(config.game, config.search, settings, gamma, 0, 0, observation=config.observation)
    tasks = [task._replace(actor=actor) for actor in range(workers)]
    warm_up(tasks[0], files)
    with tempfile.TemporaryDirectory() as folder:
        runtime = make_runtime("processes", Place(Path(folder) / "replay.sqlite", Path(folder) / "weights"))
        try:
            runtime.publish(0, files.by_name())
            runtime.allow(timed_selfplay.__name__, UNLIMITED)
            runtime.start(timed_selfplay, tasks)
            total = _count_for(runtime, workers, seconds)
        finally:
            runtime.close()
    inside = total.get("simulations", 0) * _evaluation_seconds(onnx_model(files), games)
    total["network_seconds"] = total.get("network_seconds", 0.0) + inside
    return {"preset": preset, "workers": workers, **_selfplay_figures(total, workers)}


EVALUATION_SECONDS = 0.2
"""For timing the network that the kernels evaluate."""


def _evaluation_seconds(model: AnyOnnxModel, games: int) -> float:
    """How long the kernels take to evaluate the network once, in a batch like self-play's; 0 if they do not."""
    dense = model.dense()
    if dense is None:
        return 0.0
    latent = np.random.default_rng(0).normal(size=(games, *model.latent_shape)).astype(np.float32)
    action = np.zeros(games, np.int32)
    num_outcomes = model.num_outcomes if isinstance(model, HasChance) else 0
    output = dense_output(latent, max(model.num_actions, num_outcomes))
    (seconds,) = median_times([lambda: evaluate_dense(dense, latent, action, output)], EVALUATION_SECONDS)
    return seconds / games


def _count_for(runtime: Runtime, workers: int, seconds: float) -> dict[str, Any]:
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
    parts = {name: total.get(f"{name}_seconds", 0.0) for name in ("network", "game", "storage")} | {"adapter": 0.0}
    if own := total.get("own_seconds", 0.0):
        parts["adapter"], parts["game"] = parts["game"] - own, own
    search_seconds = total.get("search_seconds", 0.0)
    parts["network"] = min(parts["network"], search_seconds)  # timed in part at another, perhaps busier, moment
    parts["tree"] = search_seconds - parts["network"]
    parts["rest"] = worked - sum(parts.values())
    parts["outside"] = sum(parts[name] for name in ("adapter", "storage", "rest"))
    return {
        "games_per_second": len(total.get("episodes", ())) / elapsed,
        "moves_per_second": total.get("steps", 0) / elapsed,
        "simulations_per_second": total.get("simulations", 0) / elapsed,
        **{name: seconds / worked for name, seconds in sorted(parts.items())},
    }
