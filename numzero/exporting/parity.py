"""Whether torch, ONNX and Numba agree on an agent: its networks' outputs, and the moves of its search.

Knows what is compared and how much may differ; knows nothing of how any of the three computes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.agent import AgentInfo
from numzero.errors import UserError, unfit_explained
from numzero.exporting.embed import Position, agent_graph, numba_search
from numzero.files import generations, read_folder
from numzero.folders import CONFIG_NAME
from numzero.frames import FrameStack
from numzero.games import Trust, trusted_code
from numzero.games.base import observation_kinds
from numzero.games.turns import turn_gamma
from numzero.inference import AnyOnnxModel, FoundMove, ModelFiles, OnnxSearch, OnnxVectors, onnx_model
from numzero.search import HasChance, Search, SearchResult
from numzero.search.model import RecurrentOutput
from numzero.search.plain.kernels import evaluate_dense
from numzero.training.checkpoint import read_arrays
from numzero.training.config import load_config, outside_code

__all__ = ["CHECK_SIMULATIONS", "NEAR_TIE", "Parity", "SearchParity", "check_agent", "compare_searches"]

NEAR_TIE = 1e-5
"""A choice won by less may fall otherwise where sums are added up in another order."""
NEAR_VALUE = 1e-4
"""As much may Q be another by that alone: categories stand for up to some 460 (h of 20), which float32 knows to 3e-5.
Where all Q of a tree lie within 0.02, as before much is learned, the search stretches this to a choice."""
TOLERANCE = 1e-4
"""Largest difference of two numbers, relative to 1 + the largest number of their kind: in a game whose values reach
hundreds, those near 0 are sums of such, and no more exact."""
BATCH_SIZE = 16
"""Positions that agent.onnx searches at once."""
CHECK_SIMULATIONS = (1, 8, 16, 50)
"""Budgets of the searches compared, in turn."""


class SearchParity(NamedTuple):
    """How `agent.onnx` and the Numba search did on the same positions."""

    positions: int
    equal_moves: int
    equal_visits: int
    """Same visits of every action, same move, and Q and value within `TOLERANCE`."""
    near_ties: int
    """Not so, but some choice of the search was won by less than `NEAR_TIE`, or than `NEAR_VALUE` comes to there."""
    different: int
    """Not so, and without that excuse."""
    largest_error: float
    """Of Q and value where visits are equal, relative to 1 + the largest of these; of near ties none."""


class Parity(NamedTuple):
    """What a check found; an error is None where there was nothing to compare with, and then the reason is told."""

    torch_error: float | None
    """ONNX networks against the run's torch weights."""
    torch_reason: str
    numba_error: float | None
    """ONNX networks against Numba's evaluation of them."""
    numba_reason: str
    search: SearchParity

    @property
    def largest_error(self) -> float:
        """Of all that was compared; NaN if any is, which Python's max() would pass over."""
        return float(np.max([self.torch_error or 0.0, self.numba_error or 0.0, self.search.largest_error]))

    def refusal(self) -> str:
        """Why the export must not be used, in a sentence; "" if it may."""
        if not self.largest_error <= TOLERANCE:
            return f"torch, ONNX and Numba differ by {self.largest_error:.2g}; at most {TOLERANCE} is allowed."
        if self.search.different:
            return (
                f"agent.onnx searches otherwise than Numba in {self.search.different:,} of {self.search.positions:,} "
                "positions that are no near ties."
            )
        return ""


def check_agent(
    source: Path,
    info: AgentInfo,
    model: ModelFiles,
    content: bytes,
    positions: Sequence[Position],
    trust: Trust = False,
    *,
    learned: ModelFiles | None = None,
) -> Parity:
    """Compare everything there is of an agent from `source`, a run's folder or an agent's; `content`: agent.onnx.

    `learned`: the networks as torch learned them, where `model` is in another precision.

    Raises:
        UserError: the run's settings name code of their own, and `trust` does not cover it; see `trusted_code`.
    """
    torch_error, torch_reason = _torch_error(source, info, learned or model, trust)
    numba_error, numba_reason = _numba_error(onnx_model(model), positions)
    search = compare_searches(info, model, content, positions)
    return Parity(torch_error, torch_reason, numba_error, numba_reason, search)


def compare_searches(
    info: AgentInfo,
    model: ModelFiles,
    content: bytes,
    positions: Sequence[Position],
    budgets: Sequence[int] = CHECK_SIMULATIONS,
) -> SearchParity:
    """Search every position in the graph, most in batches, and alone by Numba, with each of the budgets in turn."""
    graph = OnnxSearch(content)
    judge = OnnxSearch(agent_graph(info, model, with_margin=True))
    numba = {budget: numba_search(info, model, budget) for budget in budgets}
    moves, pairs = 0, []
    for budget, batch in _batches(positions, budgets):
        observations, legal = map(np.stack, zip(*batch, strict=True))
        for position, found in zip(batch, graph.run_batch(observations, legal, budget), strict=True):
            expected = numba[budget].run(position.observation[None], position.legal[None])
            moves += found.action == int(expected.action[0])
            pairs.append(_Pair(position, budget, *_distance(found, expected), _near(numba[budget], expected)))
    scale = 1.0 + max((pair.size for pair in pairs if pair.error < math.inf), default=0.0)
    equal = [pair for pair in pairs if pair.error <= TOLERANCE * scale]
    others = [pair for pair in pairs if not pair.error <= TOLERANCE * scale]  # NaN is among these
    different = [pair for pair in others if not judge.run(*pair.position, pair.budget).margin < pair.near]
    errors = [pair.error / scale for pair in (*equal, *different) if pair.error != math.inf]
    largest = float(np.max(errors, initial=0.0))
    return SearchParity(len(pairs), moves, len(equal), len(others) - len(different), len(different), largest)


def _batches(positions: Sequence[Position], budgets: Sequence[int]) -> Iterator[tuple[int, Sequence[Position]]]:
    """Each budget's share of the positions: one alone, then `BATCH_SIZE` at once."""
    for first, budget in enumerate(budgets):
        share = positions[first :: len(budgets)]
        for begin in (0, *range(1, len(share), BATCH_SIZE)):
            if batch := share[begin : begin + BATCH_SIZE if begin else 1]:
                yield budget, batch


class _Pair(NamedTuple):
    """What two searches of one position found."""

    position: Position
    budget: int
    error: float
    """Of Q and value, infinite where moves or visits are others."""
    size: float
    """The largest of Q and value."""
    near: float
    """A choice won by less is a near tie."""


def _distance(found: FoundMove, expected: SearchResult) -> tuple[float, float]:
    """`error` and `size` of a pair."""
    same_move = found.action == int(expected.action[0])
    if not (same_move and np.array_equal(found.visit_counts, expected.visit_counts[0])):
        return math.inf, 0.0
    one, other = _values(found, expected)
    return float(np.abs(one - other).max()), float(np.abs(other).max())


def _near(search: Search, result: SearchResult) -> float:
    """What a choice may hang on: priors, and Q as far as this search stretches it."""
    config = search.config
    low, high = result.tree.q_bounds[0].tolist()
    if not low < high:  # no two Q to choose between
        return NEAR_TIE
    most = (config.visit_offset + config.num_simulations) * config.value_scale if config.rule == "gumbel" else 1.0
    is_scaled = config.rule != "gumbel" or config.rescale_values
    return NEAR_TIE + NEAR_VALUE * most / (max(high - low, search.rule.least_range) if is_scaled else 1.0)


def _values(found: FoundMove, expected: SearchResult) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Q and value of both, but for actions whose Q neither knows; one that only one of them knows makes NaN."""
    one = np.append(found.q_values, found.value)
    other = np.append(expected.q_values[0], expected.root_value[0])
    known = ~(np.isnan(one) & np.isnan(other))
    return one[known], other[known]


def _numba_error(model: AnyOnnxModel, positions: Sequence[Position]) -> tuple[float | None, str]:
    """ONNX's networks against the same layers in Numba, one step from each position, and what chance makes of it."""
    if isinstance(model, OnnxVectors):
        return None, "kernels that take action vectors are compared with onnxruntime whenever an agent is loaded"
    dense = model.dense()
    if dense is None:
        return None, "these networks are not plain layers: Numba's search runs them in onnxruntime too"
    latent = model.initial(np.stack([position.observation for position in positions])).latent.copy()
    rng, errors = np.random.default_rng(0), list[float]()
    for num_edges in (model.num_actions, model.num_outcomes) if isinstance(model, HasChance) else (model.num_actions,):
        edge = rng.integers(num_edges, size=len(positions), dtype=np.int32)
        expected = RecurrentOutput(*(output.copy() for output in model.recurrent(latent, edge)))
        found = RecurrentOutput(*(np.zeros_like(output) for output in expected))
        evaluate_dense(dense, latent, edge, found)
        errors += [_difference(*pair) for pair in zip(found, expected, strict=True)]
        latent = expected.latent
    return max(errors), ""


def _torch_error(source: Path, info: AgentInfo, model: ModelFiles, trust: Trust) -> tuple[float | None, str]:
    """ONNX networks against the weights in the run's checkpoint of the same update, where there is one."""
    if not generations(source / "agents"):
        return None, f"{source} is an agent's folder; only a run keeps the weights that torch learned"
    folder = source / "checkpoints" / f"{info.model_version:09d}"
    if not folder.is_dir():
        return None, f"the run keeps no checkpoint of update {info.model_version}"
    from numzero.networks.export import ParityError, parity_with

    with unfit_explained(f"the checkpoint {folder}"):
        learner = read_arrays(read_folder(folder)["learner.npz"])
        parameters: NDArray[Any] = learner["average_parameters"]
    config = load_config(source / CONFIG_NAME)
    trusted_code(outside_code(config), f"the run in {source}", trust)
    try:
        turns = turn_gamma(info.spec, info.discount)
        frames = FrameStack(info.spec, info.observation)
        sizes, kinds = (frames.shape, info.spec.num_actions), frames.kinds(observation_kinds(info.spec))
        known = info.spec.num_outcomes
        proposal = None if info.spec.vectors is None else info.spec.vectors.proposal
        return parity_with(parameters, *sizes, config.network, model, turns, learner, kinds, known, proposal), ""
    except ParityError as error:
        raise UserError(f"the networks are not the run's: {error}") from error


def _difference(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """The largest, relative to 1 + the largest of `other`."""
    return float(np.abs(one - other).max(initial=0.0) / (1.0 + np.abs(other).max(initial=0.0)))
