"""Time mctx's searches and numzero's in turns, with the same networks, and print a table.

mctx's `gumbel_muzero_policy` and `muzero_policy` beside numzero's rules `gumbel` and `parent_siblings`, on workloads of
`bench search` with plain networks: what numzero searches with is run in JAX node by node, with the same weights, and
each of mctx's searches is one compiled function, root included. Both are held on one processor, and what is counted is
the CPU's time: the median of several searches, made in turns. Root noise weighs nothing in both, so that visits can be
compared; mctx still draws it, and breaks ties by random numbers at each step. Runs by hand, on Linux, in an environment
of its own: `pip install -e '.[train]' jax mctx`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import mctx
import numpy as np
import onnx
from onnx import numpy_helper

from numzero.bench.search import WORKLOADS, Workload, workload_files
from numzero.inference import ModelFiles, onnx_model
from numzero.search import Search, SearchConfig
from numzero.studies.results import machine

NAMES = ("W1", "W2")
BATCHES = (1, 64, 256)
LEAST_TURNS = 5
POLICIES = {
    "gumbel": (mctx.gumbel_muzero_policy, {"gumbel_scale": 0.0}),
    "parent_siblings": (mctx.muzero_policy, {"dirichlet_fraction": 0.0}),
}
HEAD = (
    "| network | rule | batch | numzero | mctx | numzero / mctx | same visits |\n"
    "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
)

Graph = Callable[..., dict[str, Any]]
SearchFunction = Callable[[], Any]


def in_jax(data: bytes) -> Graph:
    """A network's ONNX file as a function of its inputs by name, which returns every value by its name."""
    graph = onnx.load_from_string(data).graph
    constants = {each.name: jnp.asarray(numpy_helper.to_array(each)) for each in graph.initializer}

    def run(**inputs: Any) -> dict[str, Any]:
        values = constants | inputs
        for node in graph.node:
            attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
            made = NODES[node.op_type]([values[name] for name in node.input], attributes)
            values.update(zip(node.output, made if isinstance(made, list) else [made], strict=True))
        return values

    return run


def gemm(x: list[Any], attributes: dict[str, Any]) -> Any:
    return x[0] @ x[1].T + x[2] if attributes.get("transB") else x[0] @ x[1] + x[2]


def layer_norm(x: list[Any], attributes: dict[str, Any]) -> Any:
    axes = tuple(range(attributes["axis"], x[0].ndim))
    centred = x[0] - x[0].mean(axes, keepdims=True)
    return centred / jnp.sqrt((centred**2).mean(axes, keepdims=True) + attributes["epsilon"]) * x[1]


def split(x: list[Any], attributes: dict[str, Any]) -> list[Any]:
    return jnp.split(x[0], np.cumsum(np.asarray(x[1]))[:-1].tolist(), axis=attributes["axis"])


NODES: dict[str, Callable[[list[Any], dict[str, Any]], Any]] = {
    "Flatten": lambda x, _: x[0].reshape(x[0].shape[0], -1),
    "Gather": lambda x, _: x[0][x[1]],
    "Gemm": gemm,
    "LayerNormalization": layer_norm,
    "MatMul": lambda x, _: x[0] @ x[1],
    "Relu": lambda x, _: jnp.maximum(x[0], 0.0),
    "Softmax": lambda x, _: jax.nn.softmax(x[0], axis=-1),
    "Split": split,
}
"""What networks of the workloads are made of."""


def mctx_search(files: ModelFiles, workload: Workload, rule: str, observation: np.ndarray) -> SearchFunction:
    """A function that makes one of mctx's searches of the whole batch and returns the roots' visits."""
    initial, recurrent = in_jax(files.initial), in_jax(files.recurrent)
    policy, options = POLICIES[rule]

    def expand(params: Any, rng: Any, action: Any, latent: Any) -> tuple[Any, Any]:
        made = recurrent(previous_latent=latent, action=action)
        discount = jnp.full_like(made["value"], workload.discount)
        names = {"prior_logits": made["policy_logits"], "value": made["value"], "reward": made["reward"]}
        return mctx.RecurrentFnOutput(discount=discount, **names), made["latent"]

    @jax.jit
    def search(seen: Any) -> Any:
        made = initial(observation=seen)
        root = mctx.RootFnOutput(prior_logits=made["policy_logits"], value=made["value"], embedding=made["latent"])
        found = policy((), jax.random.PRNGKey(0), root, expand, workload.num_simulations, **options)
        return found.search_tree.summary().visit_counts

    return lambda: np.asarray(search(jnp.asarray(observation)))


def numzero_search(files: ModelFiles, workload: Workload, rule: str, observation: np.ndarray) -> SearchFunction:
    """The same of numzero's."""
    config = SearchConfig(rule=rule, num_simulations=workload.num_simulations)  # type: ignore[arg-type]
    search = Search(onnx_model(files), config, len(observation))
    legal = np.ones((len(observation), workload.num_actions), np.bool_)
    return lambda: search.run(observation, legal).visit_counts


def cpu_seconds(functions: list[SearchFunction], seconds: float) -> list[float]:
    """The CPU's time of each function: the median of calls in turns, which take about so many seconds in all."""
    times: list[list[float]] = [[] for _ in functions]
    end = time.process_time() + seconds
    while len(times[0]) < LEAST_TURNS or time.process_time() < end:
        for function, measured in zip(functions, times, strict=True):
            started = time.process_time()
            function()
            measured.append(time.process_time() - started)
    return [float(np.median(measured)) for measured in times]


def rows(workload: Workload, rule: str, batches: list[int], seconds: float) -> Iterator[str]:
    """Lines of the table, in simulations per second."""
    files = workload_files(workload)
    for batch in batches:
        simulations = batch * workload.num_simulations
        observation = np.random.default_rng(0).normal(size=(batch, *workload.observation_shape)).astype(np.float32)
        searches = [make(files, workload, rule, observation) for make in (numzero_search, mctx_search)]
        ours, theirs = (search() for search in searches)  # compiles both
        same = (ours == theirs).all(axis=1).mean()
        ours_took, theirs_took = cpu_seconds(searches, seconds)
        rates = f"{simulations / ours_took:,.0f} | {simulations / theirs_took:,.0f} | {theirs_took / ours_took:.1f}"
        yield f"| {words(workload)} | `{rule}` | {batch} | {rates} | {same:.0%} |"


def words(workload: Workload) -> str:
    return f"{workload.name}: {workload.num_actions} actions, {workload.num_simulations} simulations"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python tests/rivals/mctx_search.py --seconds 10",
    )
    parser.add_argument("--batch", type=int, action="append", help=f"may be repeated (default: {BATCHES})")
    parser.add_argument("--seconds", type=float, default=5.0, help="CPU time for each line (default: 5)")
    parser.add_argument("--workload", action="append", choices=NAMES, help=f"may be repeated (default: {NAMES})")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # JAX counts processors when it is first used
    print(HEAD)
    for workload in WORKLOADS:
        if workload.name in (options.workload or NAMES):
            for rule in POLICIES:
                for row in rows(workload, rule, options.batch or list(BATCHES), options.seconds):
                    print(row, flush=True)
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numzero", "mctx", "jax"))
    print(f"\n{machine()}, held on one; {libraries}")


if __name__ == "__main__":
    main()
