"""Time mctx's searches beside numzero's on one core: the same rule, budget and sizes of a plain network, in turns.

mctx (github.com/google-deepmind/mctx, Apache-2.0) is compiled by XLA for the CPU, numzero's search by Numba; W1 and W2
are the workloads of `numzero bench search`. The networks have the same layers and sizes, each in its own library, and
random weights. What is told is processor time, so that other programs on the machine matter less. Runs by hand:
`pip install jax mctx` beside numzero with its extra `train`.

    python tests/rivals/mctx_search.py --batch 1 --batch 64
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import Any

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"  # before jax

import jax
import jax.numpy as jnp
import mctx
import numpy as np

from numzero.bench.search import WORKLOADS, Workload, workload_model
from numzero.search import Search, SearchConfig

RULES = {"gumbel": mctx.gumbel_muzero_policy, "parent_siblings": mctx.muzero_policy}
NUM_BINS, WIDTH, LATENT = 21, 64, 64


def mctx_search(workload: Workload, batch: int, rule: str) -> Callable[[], object]:
    """A search of `batch` positions by mctx."""
    rng = np.random.default_rng(0)
    num_inputs, num_actions = int(np.prod(workload.observation_shape)), workload.num_actions

    def product(inputs: int, outputs: int) -> jax.Array:
        return jnp.asarray(rng.normal(size=(inputs, outputs)) / np.sqrt(inputs), jnp.float32)

    weights = {
        "observed": product(num_inputs, WIDTH),
        "latent": product(WIDTH, LATENT),
        "first": product(LATENT, WIDTH),
        "action": product(num_actions, WIDTH),
        "last": product(WIDTH, LATENT),
        "trunk": product(LATENT, WIDTH),
        "heads": product(WIDTH, num_actions + 2 * NUM_BINS),
    }
    bins = jnp.linspace(-10.0, 10.0, NUM_BINS)

    def scaled(x: jax.Array) -> jax.Array:
        x = x - x.mean(-1, keepdims=True)
        return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5)

    def predicted(w: Any, latent: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        told = jax.nn.relu(latent @ w["trunk"]) @ w["heads"]
        value, reward = (
            jax.nn.softmax(told[:, i : i + NUM_BINS]) @ bins for i in (num_actions, num_actions + NUM_BINS)
        )
        return told[:, :num_actions], value, reward

    def step(w: Any, key: jax.Array, action: jax.Array, latent: jax.Array) -> tuple[Any, jax.Array]:
        del key
        x = jax.nn.relu(latent @ w["first"] + w["action"][action])
        behind = scaled(latent + x @ w["last"])
        logits, value, reward = predicted(w, behind)
        told = mctx.RecurrentFnOutput(reward, jnp.full_like(reward, workload.discount), logits, value)
        return told, behind

    @jax.jit
    def search(w: Any, key: jax.Array, observation: jax.Array) -> Any:
        latent = scaled(jax.nn.relu(observation @ w["observed"]) @ w["latent"])
        logits, value, _ = predicted(w, latent)
        root = mctx.RootFnOutput(logits, value, latent)
        found = RULES[rule](w, key, root, step, workload.num_simulations)
        return found.action, found.action_weights, found.search_tree.summary()

    observation = jnp.asarray(rng.normal(size=(batch, num_inputs)), jnp.float32)
    key = jax.random.PRNGKey(0)
    return lambda: jax.block_until_ready(search(weights, key, observation))


def numzero_search(workload: Workload, batch: int, rule: str) -> Callable[[], object]:
    """The same by numzero."""
    model = workload_model(workload)
    assert model is not None
    search = Search(model, SearchConfig(rule=rule, num_simulations=workload.num_simulations), batch)  # type: ignore[arg-type]
    observation = np.random.default_rng(0).normal(size=(batch, *workload.observation_shape)).astype(np.float32)
    legal = np.ones((batch, workload.num_actions), bool)
    return lambda: search.run(observation, legal)


def cpu_seconds(functions: list[Callable[[], object]], seconds: float) -> list[float]:
    """The median processor time of each, in turns."""
    for function in functions:
        function()
    times: list[list[float]] = [[] for _ in functions]
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(times[0]) < 5:
        for function, measured in zip(functions, times, strict=True):
            begun = time.process_time()
            function()
            measured.append(time.process_time() - begun)
    return [float(np.median(measured)) for measured in times]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, action="append", help="positions at once; may be repeated; 64")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each line")
    asked = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for workload in WORKLOADS[:2]:
        for rule in RULES:
            for batch in asked.batch or [64]:
                ours, theirs = cpu_seconds(
                    [make(workload, batch, rule) for make in (numzero_search, mctx_search)], asked.seconds
                )
                simulations = batch * workload.num_simulations
                line = {"workload": workload.name, "rule": rule, "batch": batch, "mctx over numzero": theirs / ours}
                rates = {"numzero": simulations / ours, "mctx": simulations / theirs}
                print(
                    json.dumps(line | {f"{name}, simulations/s": round(rate) for name, rate in rates.items()}),
                    flush=True,
                )
