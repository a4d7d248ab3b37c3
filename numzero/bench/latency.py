"""How long an app waits for a move: a move of an agent, and the first of a process.

Knows clocks and fresh processes; knows nothing of training. throughput is measured beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero.agent import Agent, read_agent
from numzero.errors import UserError
from numzero.games import Trust, make_game, trusted_name
from numzero.inference import AGENT_GRAPH, OnnxSearch

__all__ = ["bench_agent", "first_call"]

NUM_POSITIONS = 64
"""Moves are asked for in so many positions of random play, in turns."""
MIN_CALLS = 100
"""Are timed at least, so that a 99th percentile says something."""
ROOT = Path(__file__).resolve().parents[2]
"""Where the package lies that is measured."""

FIRST_CALL = """
import json, sys, time
started = time.perf_counter()
import numpy as np
from numzero.agent import Agent
imported = time.perf_counter()
agent = Agent.load(sys.argv[1])
loaded = time.perf_counter()
agent.act(np.zeros(agent.frames.shape, np.float32))
ended = time.perf_counter()
seconds = {"import": imported - started, "load": loaded - imported, "act": ended - loaded}
print(json.dumps({**seconds, "total": ended - started}))
"""


def bench_agent(
    folder: Path, simulations: tuple[int, ...], seconds: float, trust: Trust = False
) -> list[dict[str, Any]]:
    """Time single moves at each budget, in positions of the agent's game; see `trusted_name` for `trust`.

    Returns:
        For each budget `simulations`, `calls`, and `p50_ms` and `p99_ms` of `Agent.act`; also `graph_p50_ms` and
        `graph_p99_ms` of agent.onnx in onnxruntime alone, None where the folder has no such file.
    """
    files = read_agent(folder)
    agent = Agent.from_files(files, folder)
    name = trusted_name(agent.info.spec.name, f"the agent in {folder}", trust)
    graph = OnnxSearch(files[AGENT_GRAPH]) if AGENT_GRAPH in files else None
    observation, legal = _positions(agent, name)
    results = []
    for budget in simulations:

        def act(row: int, budget: int = budget) -> None:
            agent.act(observation[row], legal[row], simulations=budget)

        def run_graph(row: int, budget: int = budget) -> None:
            assert graph is not None
            graph.run(observation[row], legal[row], budget)

        times = _times(act, seconds)
        in_graph = None if graph is None else _times(run_graph, seconds)
        counts = {"simulations": budget, "calls": len(times)}
        results.append({**counts, **_percentiles("", times), **_percentiles("graph_", in_graph)})
    return results


def first_call(folder: Path, *, cold: bool) -> dict[str, float]:
    """Seconds that a fresh Python process takes to its first move: `import`, `load`, `act`, and `total` of the three.

    Args:
        folder: of the agent.
        cold: without any compiled kernels, as on a machine where numzero never ran; else with all of them.
    """
    with tempfile.TemporaryDirectory() as empty:
        environment = {**os.environ, "NUMBA_CACHE_DIR": empty} if cold else dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        # -P: "-c" looks for modules in the current folder first, which may be a stranger's.
        words = [sys.executable, "-P", "-c", FIRST_CALL, str(folder)]
        for _ in range(1 if cold else 2):  # the first of two fills the cache
            done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise UserError(f"a new Python process could not load {folder}: {done.stderr.strip()[-300:]}")
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _positions(agent: Agent, name: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Positions with a move to choose, from random play: what the agent sees, `[P, *S]`, and `[P, A]`."""
    if agent.info.spec.vectors is not None:
        raise UserError("an agent that is timed must choose from a list of actions; this one's are vectors.")
    rng, history = np.random.default_rng(0), agent.history(1)
    game = make_game(name, 1)
    everyone = np.ones(1, np.bool_)
    observations: list[NDArray[Any]] = []
    legals: list[NDArray[np.bool_]] = []
    try:
        game.reset(everyone, rng)
        while len(observations) < NUM_POSITIONS:
            observations.append(history.stack(game.observation())[0].copy())
            legals.append(game.legal()[0].copy())
            action = rng.choice(np.flatnonzero(legals[-1]), 1).astype(np.int32)
            history.advance(game.observation(), action)
            step = game.step(action)
            if step.terminated[0] or step.truncated[0]:
                game.reset(everyone, rng)
                history.begin(everyone)
    finally:
        game.close()
    return np.stack(observations), np.stack(legals)


def _times(ask: Callable[[int], None], seconds: float) -> list[float]:
    """The seconds of each call, in turns over all positions, after one round that does not count."""
    for row in range(NUM_POSITIONS):
        ask(row)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < MIN_CALLS:
        started = time.perf_counter()
        ask(len(times) % NUM_POSITIONS)
        times.append(time.perf_counter() - started)
    return times


def _percentiles(prefix: str, times: list[float] | None) -> dict[str, float | None]:
    names = (f"{prefix}p50_ms", f"{prefix}p99_ms")
    if times is None:
        return dict.fromkeys(names)
    return dict(zip(names, (1e3 * np.percentile(times, (50, 99))).tolist(), strict=True))
