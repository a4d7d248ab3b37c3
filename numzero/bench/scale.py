"""What more cores are worth: search, self-play and updates on so many of them.

Knows the other benchmarks; knows nothing of how a run uses what they say.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from numzero.bench.learner import bench_learner
from numzero.bench.search import WORKLOADS, workload_model
from numzero.bench.selfplay import bench_selfplay
from numzero.search import Search, SearchConfig
from numzero.training.config import load_preset

__all__ = ["bench_scale", "bench_shares", "doubled", "of_linear"]

PRESET, BATCH, TREES = "tictactoe", 256, 64
"""What is measured: its self-play, its updates of so many windows, and searches of so many trees on each core."""


def doubled(cores: int) -> tuple[int, ...]:
    """1, 2, 4, ... and the number of cores."""
    return tuple(sorted({*(2**i for i in range(cores.bit_length()) if 2**i <= cores), cores}))


def bench_scale(cores: int, seconds: float) -> dict[str, Any]:
    """`simulations_per_second`, `moves_per_second` and `updates_per_second` on so many `cores`."""
    (learner,) = bench_learner(PRESET, BATCH, seconds, (cores,))
    return {
        "cores": cores,
        "simulations_per_second": _search_rate(cores, seconds),
        "moves_per_second": bench_selfplay(PRESET, cores, seconds)["moves_per_second"],
        "updates_per_second": learner["updates_per_second"],
    }


def of_linear(rows: list[dict[str, Any]], row: dict[str, Any], name: str) -> float:
    """A rate over what so many cores would give if each gave what those of the first row do."""
    first = rows[0]
    return float(row[name] / first[name] * first["cores"] / row["cores"])


def bench_shares(preset: str, cores: int) -> dict[str, Any]:
    """How a training that divides so many cores by itself would divide them."""
    from numzero.training.shares import divide, measure_costs, most_threads

    config = load_preset(preset)
    costs = measure_costs(config, 0)
    assert costs is not None, "games of presets end soon"
    shares = divide(costs, cores, most_threads(config))
    words = f"{shares.in_words()}; an update takes {costs.in_words()} of one core"
    return {"preset": preset, **costs._asdict(), **shares._asdict(), "words": words}


def _search_rate(num_threads: int, seconds: float) -> float:
    """Simulations per second of so many threads, each with searches of its own."""
    workload = WORKLOADS[0]
    config = SearchConfig(rule="gumbel", num_simulations=workload.num_simulations)
    observation = np.random.default_rng(0).normal(size=(TREES, *workload.observation_shape)).astype(np.float32)
    legal = np.ones((TREES, workload.num_actions), np.bool_)
    models = [workload_model(workload) for _ in range(num_threads)]
    searches = [Search(model, config, TREES) for model in models if model is not None]
    counts, end = [0] * num_threads, 0.0

    def work(number: int) -> None:
        while time.perf_counter() < end:
            searches[number].run(observation, legal)
            counts[number] += 1

    for search in searches:
        search.run(observation, legal)
    started = time.perf_counter()
    end = started + seconds
    threads = [threading.Thread(target=work, args=(number,)) for number in range(num_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) * TREES * workload.num_simulations / (time.perf_counter() - started)
