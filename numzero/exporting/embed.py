"""From an agent to what other apps embed: the search inside one ONNX file, and cases that a host can test itself by.

Knows agents and positions of their games; knows nothing of graphs, nor of where files go.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Generator
from contextlib import closing
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from numzero.agent import AgentInfo, agent_files
from numzero.errors import UserError
from numzero.frames import FrameStack, History
from numzero.games import GameSpec, Trust, make_game, trusted_name
from numzero.games.actions import Box, Factored
from numzero.inference import ModelFiles, OnnxSearch, onnx_model
from numzero.search import Search, SearchResult, random_action

__all__ = ["GOLDEN_FILE", "Position", "agent_graph", "golden_cases", "numba_search", "play_positions"]

GOLDEN_FILE = "golden.json"
GOLDEN_FORMAT = 1
GOLDEN_CASES = 100
GOLDEN_SIMULATIONS = (1, 2, 4, 8, 16, 25, 50)
GOLDEN_MARGIN = 1e-4
"""Smallest lead of any choice in a golden case: hosts add up in other orders and must not decide otherwise by that."""
POSITIONS_PER_CASE = 10
"""How many positions are looked at for a golden case, on average, before there are said to be none."""
PLAY_SIMULATIONS = 8
"""Of the search that makes half of the moves when positions are sampled."""


class Position(NamedTuple):
    """One position to be searched."""

    observation: NDArray[np.generic]
    """`[*S]` what the networks see: of one observation, or a stack of several."""
    legal: NDArray[np.bool_]
    """`[A]`; where actions are vectors of numbers, of as many candidates; of choices `[C]`, each factor's."""


def agent_graph(info: AgentInfo, model: ModelFiles, *, with_margin: bool = False) -> bytes:
    """The content of `agent.onnx`, which says of itself what `agent.json` says.

    Raises:
        UserError: onnx is not installed.
    """
    try:
        from numzero.graphs.search_graph import max_simulations, search_graph  # onnx, which all else does without
    except ModuleNotFoundError as error:
        raise UserError(
            f"writing agent.onnx needs {error.name}, which is not installed: pip install 'numzero[train]'."
        ) from error
    metadata = {
        "game": info.spec.name,
        "observation_layout": info.spec.observation_layout,
        "observation_parts": msgspec.json.encode(info.spec.observation_parts).decode(),
        "observation_stack": FrameStack(info.spec, info.observation).in_words(),
        "legal_rule": info.spec.legal_rule,
        "action_names": json.dumps(info.spec.action_names),
        "num_players": str(info.spec.num_players),
        "discount": repr(info.discount),
        "rule": info.search.rule,
        "num_simulations": str(info.search.num_simulations),
        "max_simulations": str(max_simulations(info.search)),
        "takes_batch": "true",
        "model_version": str(info.model_version),
        "agent": agent_files(info, model)["agent.json"].decode(),
    }
    bounds = info.spec.actions.bounds() if isinstance(info.spec.actions, Box) else None
    if bounds is not None:
        metadata["action_low"], metadata["action_high"] = (json.dumps(_numbers(each)) for each in bounds)
    if isinstance(info.spec.actions, Factored):
        metadata["action_sizes"] = json.dumps(info.spec.actions.sizes)
    if info.spec.vectors is not None:
        metadata["inner_candidates"] = str(info.search.inner_candidates)
    return search_graph(model, info.search, metadata, with_margin=with_margin, bounds=bounds)


def _numbers(bounds: NDArray[np.float64]) -> list[float | None]:
    """For JSON: None is no bound."""
    return [bound if math.isfinite(bound) else None for bound in bounds.tolist()]


def numba_search(info: AgentInfo, model: ModelFiles, num_simulations: int) -> Search:
    """The agent's search of one position, as the Python package does it."""
    return Search(onnx_model(model), dataclasses.replace(info.search, num_simulations=num_simulations), 1)


def play_positions(
    info: AgentInfo, model: ModelFiles, rng: np.random.Generator, trust: Trust = False
) -> Generator[Position]:
    """The positions of one game after another, half of the moves random, half the agent's; without end.

    Where the game cannot be made here (an environment that is not installed), positions of numbers alone.

    Raises:
        UserError: the user has not answered for the game; see `trusted_name`.
    """
    name = trusted_name(info.spec.name, "the agent", trust)
    frames = FrameStack(info.spec, info.observation)
    try:
        game = make_game(name, 1)
    except UserError:
        while True:
            yield _imagined(info.spec, frames.shape, rng)
    history = History(frames, 1)
    search = numba_search(info, model, PLAY_SIMULATIONS)
    try:
        while True:
            game.reset(np.ones(1, np.bool_), rng)
            history.begin(np.ones(1, np.bool_))
            over = False
            while not over:
                observation, legal = history.stack(game.observation()).copy(), game.legal().copy()
                legal = np.broadcast_to(legal, (1, info.spec.num_legal)).copy()  # of numbers one column says it
                yield Position(observation[0], legal[0])
                at_random = rng.random() < 0.5
                action = (
                    _random_move(info.spec, legal, rng) if at_random else _move(info.spec, search, observation, legal)
                )
                # Stacks are told that a vector was played, and not which.
                history.advance(game.observation(), action if action.ndim == 1 else np.zeros(1, np.int32))
                step = game.step(action)
                over = bool(step.terminated[0] | step.truncated[0])
    finally:
        game.close()


def _random_move(spec: GameSpec, legal: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[Any]:
    if spec.vectors is None:
        return random_action(legal, rng)
    return spec.vectors.in_units(spec.vectors.proposal.uniform(rng, (1,), legal))


def _move(spec: GameSpec, search: Search, observation: NDArray[Any], legal: NDArray[np.bool_]) -> NDArray[Any]:
    """What the search plays, `[1]` or `[1, D]`."""
    found = search.run(observation, legal)
    return found.action if spec.vectors is None else _vector(spec, found)


def _vector(spec: GameSpec, found: SearchResult) -> NDArray[np.float32]:
    """`[1, D]` the chosen candidate in the environment's units."""
    assert spec.vectors is not None
    assert found.candidates is not None
    return spec.vectors.in_units(found.candidates[:, int(found.action[0])])


def _imagined(spec: GameSpec, shape: tuple[int, ...], rng: np.random.Generator) -> Position:
    """Numbers of the right kind, and of the shape `[*S]` that the networks see."""
    observation = rng.integers(2, size=shape) if spec.observation_dtype == "uint8" else rng.normal(size=shape)
    legal = (rng.random(spec.num_legal) < 0.7) | isinstance(spec.actions, Box)  # of numbers all may be played
    if isinstance(spec.actions, Factored):
        chosen = spec.actions.proposal.uniform(rng, ())
        legal |= spec.actions.proposal.inputs(chosen) > 0.0
    else:
        legal[rng.integers(spec.num_legal)] = True
    return Position(observation.astype(spec.observation_dtype), legal)


def golden_cases(info: AgentInfo, model: ModelFiles, seed: int, trust: Trust = False) -> bytes:
    """The content of `golden.json`: 100 searches in which no choice is narrow, and what Numba finds in them.

    Fewer where an agent's searches nearly all hang on ties, as before it has learned anything.
    """
    rng = np.random.default_rng([seed, 2])
    judge = OnnxSearch(agent_graph(info, model, with_margin=True))
    numba = {n: numba_search(info, model, n) for n in GOLDEN_SIMULATIONS}
    cases: list[dict[str, Any]] = []
    with closing(play_positions(info, model, rng, trust)) as positions:
        for position in itertools.islice(positions, POSITIONS_PER_CASE * GOLDEN_CASES):
            num_simulations = GOLDEN_SIMULATIONS[len(cases) % len(GOLDEN_SIMULATIONS)]
            if judge.run(*position, num_simulations).margin > GOLDEN_MARGIN:
                cases.append(_golden_case(info.spec, position, numba[num_simulations]))
            if len(cases) == GOLDEN_CASES:
                break
    head = json.dumps({"format": GOLDEN_FORMAT, "game": info.spec.name, "rule": info.search.rule})
    lines = ",\n".join(json.dumps(case) for case in cases)
    return f'{head[:-1]}, "cases": [\n{lines}\n]}}\n'.encode()


def _golden_case(spec: GameSpec, position: Position, search: Search) -> dict[str, Any]:
    found = search.run(position.observation[None], position.legal[None])
    vector = {} if spec.vectors is None else {"vector": _vector(spec, found)[0].tolist()}
    return vector | {
        "observation": position.observation.ravel().tolist(),
        "legal": position.legal.tolist(),
        "num_simulations": search.config.num_simulations,
        "visit_counts": found.visit_counts[0].tolist(),
        "action": int(found.action[0]),
        "value": float(found.root_value[0]),
    }
