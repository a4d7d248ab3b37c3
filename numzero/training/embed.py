"""From an agent to what other apps embed: the search inside one ONNX file, and cases that a host can test itself by.

Knows agents, positions of their games and how two searches of one position are compared; knows nothing of graphs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.agent import AgentInfo, agent_files
from numzero.errors import UserError
from numzero.games import make_game
from numzero.inference import ModelFiles, OnnxModel, OnnxSearch
from numzero.networks.search_graph import MAX_SIMULATIONS, search_graph
from numzero.search import Search, sample_action

__all__ = ["AGENT_GRAPH", "GOLDEN_FILE", "embedded_files"]

AGENT_GRAPH = "agent.onnx"
GOLDEN_FILE = "golden.json"
GOLDEN_CASES = 100
GOLDEN_SIMULATIONS = (1, 2, 4, 8, 16, 25, 50)
GOLDEN_MARGIN = 1e-4
"""Smallest lead of any choice in a golden case: hosts add up in other orders and must not decide otherwise by that."""
GOLDEN_TRIES = 100
"""Positions looked at, per case, before giving up."""


class Position(NamedTuple):
    """One position to be searched."""

    observation: NDArray[np.generic]
    legal: NDArray[np.bool_]


def embedded_files(info: AgentInfo, model: ModelFiles, *, seed: int = 0) -> dict[str, bytes]:
    """`agent.onnx` and `golden.json` of an agent."""
    content = search_graph(model, info.search, _metadata(info, model))
    return {AGENT_GRAPH: content, GOLDEN_FILE: _golden(info, model, np.random.default_rng([seed, 2]))}


def _metadata(info: AgentInfo, model: ModelFiles) -> dict[str, str]:
    return {
        "game": info.spec.name,
        "rule": info.search.rule,
        "num_simulations": str(info.search.num_simulations),
        "max_simulations": str(MAX_SIMULATIONS),
        "discount": repr(info.discount),
        "model_version": str(info.model_version),
        "agent": agent_files(info, model)["agent.json"].decode(),
    }


def positions(game_name: str, rng: np.random.Generator) -> Iterator[Position]:
    """Positions of random play without end."""
    game = make_game(game_name, 1)
    try:
        while True:
            game.reset(np.ones(1, np.bool_), rng)
            over = False
            while not over:
                legal = game.legal().copy()
                yield Position(game.observation()[0].copy(), legal[0])
                step = game.step(sample_action(legal.astype(np.float32), 1.0, rng))
                over = bool(step.terminated[0] | step.truncated[0])
    finally:
        game.close()


def _golden(info: AgentInfo, model: ModelFiles, rng: np.random.Generator) -> bytes:
    """Searches without a narrow choice and what Numba finds in them, for hosts to repeat."""
    judge = OnnxSearch(search_graph(model, info.search, {}, with_margin=True))
    numba = {n: _numba_search(info, model, n) for n in GOLDEN_SIMULATIONS}
    cases: list[dict[str, Any]] = []
    for tries, position in enumerate(positions(info.spec.name, rng)):
        if len(cases) == GOLDEN_CASES:
            break
        if tries == GOLDEN_TRIES * GOLDEN_CASES:
            raise UserError(f"only {len(cases)} of {tries} positions have no near ties; train this agent further.")
        num_simulations = GOLDEN_SIMULATIONS[len(cases) % len(GOLDEN_SIMULATIONS)]
        if judge.run(*position, num_simulations).margin < GOLDEN_MARGIN:
            continue
        found = numba[num_simulations].run(position.observation[None], position.legal[None])
        cases.append(
            {
                "observation": position.observation.ravel().tolist(),
                "legal": position.legal.tolist(),
                "num_simulations": num_simulations,
                "visit_counts": found.visit_counts[0].tolist(),
                "action": int(found.action[0]),
                "value": float(found.root_value[0]),
            }
        )
    head = {"format": 1, "game": info.spec.name, "rule": info.search.rule}
    lines = ",\n".join(json.dumps(case) for case in cases)
    return f'{json.dumps(head)[:-1]}, "cases": [\n{lines}\n]}}\n'.encode()


def _numba_search(info: AgentInfo, model: ModelFiles, num_simulations: int) -> Search:
    import dataclasses

    return Search(OnnxModel(model), dataclasses.replace(info.search, num_simulations=num_simulations), 1)
