"""`OnnxSearch`: agent.onnx, the networks and the whole search in one graph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.inference.metadata import count_of
from numzero.inference.sessions import describe, make_session, names_of, run_graph, typed

__all__ = ["AGENT_GRAPH", "CANDIDATE_NOISE", "FoundMove", "OnnxSearch"]

AGENT_GRAPH = "agent.onnx"
"""Holds the networks and the whole search as one graph."""
AGENT_INPUTS = [("observation", "float"), ("legal", "bool"), ("num_simulations", "int64")]
AGENT_OUTPUTS = [("action", "int32"), ("visit_counts", "int32"), ("q_values", "float"), ("value", "float")]
AGENT_LINE, AGENT_MARGIN = ("line", "int32"), ("margin", "double")
"""Of files that have them: not those from before lines were read out, and those that were asked to tell margins."""
AGENT_VECTORS = [("vector", "float"), ("candidates", "float")]
"""Of agents whose actions are vectors."""
CANDIDATE_NOISE = "candidate_noise"
"""What their candidates are made of."""


class FoundMove(NamedTuple):
    """What `agent.onnx` found for one position; see `search.SearchResult`."""

    action: int
    """-1 where it refuses the position: no action is legal, a factor has no choice, or a number is not finite."""
    visit_counts: NDArray[np.int32]
    """`[A]`."""
    q_values: NDArray[np.float32]
    """`[A]`, NaN where unvisited."""
    value: float
    """NaN where the position is refused."""
    line: list[int]
    """The most visited moves from `action` on, up to 8; `action` alone where the file is older than lines are."""
    margin: float
    """The smallest lead of any choice, where the graph was built to tell; else NaN."""
    vector: NDArray[np.float32] | None = None
    """`[D]` what to play, in the environment's units, where actions are vectors: candidate `action`."""
    candidates: NDArray[np.float32] | None = None
    """`[A, D]` those that visits and Q are of."""


class OnnxSearch:
    """`agent.onnx`, the networks and the whole search in one graph.

    Args:
        content: the bytes of the file.

    Raises:
        UserError: onnxruntime refuses the bytes, or their inputs and outputs are not such a graph's.
    """

    def __init__(self, content: bytes) -> None:
        self._session = make_session(content, "agent")
        about = describe(self._session, "agent")
        inputs, outputs = ([(value.name, value.type) for value in values] for values in (about.inputs, about.outputs))
        noise, candidates = inputs[3:4], [value for value in about.inputs[4:] if value.name == CANDIDATE_NOISE]
        self._takes_candidates = bool(candidates)
        kinds = [value.type for value in about.inputs[3:]]
        if inputs[:3] != typed(AGENT_INPUTS) or kinds != ["tensor(float)"] * (1 + len(candidates)):
            raise UserError(f"agent.onnx must be a search as `export` writes it; it takes {names_of(about.inputs)}.")
        known = typed([AGENT_LINE, AGENT_MARGIN, *AGENT_VECTORS])
        further = [value for value in outputs[len(AGENT_OUTPUTS) :] if value not in known]
        if outputs[: len(AGENT_OUTPUTS)] != typed(AGENT_OUTPUTS) or further:
            raise UserError(f"agent.onnx must be a search as `export` writes it; it makes {names_of(about.outputs)}.")
        self._noise, self._shape = noise[0][0], about.inputs[3].shape[1:]
        self._outputs = [name for name, _ in outputs]
        self._vector_size = {value.name: value.shape for value in about.outputs}.get("vector", ())[1:]
        self._takes_one = about.inputs[0].shape[:1] == (1,)  # as before agents took batches
        self.metadata = about.metadata

    def run(
        self,
        observation: NDArray[np.generic],
        legal: NDArray[np.bool_],
        num_simulations: int,
        noise: NDArray[np.float32] | None = None,
    ) -> FoundMove:
        """Search one position: `[*O]`, `[A]`; `noise` `[A]` is Gumbel noise, or a draw to mix into the root's prior.

        Where actions are vectors of choices `legal` is `[C]`, of all factors.
        """
        rows = np.asarray(observation)[None], np.asarray(legal)[None], num_simulations
        return self.run_batch(*rows, None if noise is None else noise[None])[0]

    def run_batch(
        self,
        observation: NDArray[np.generic],
        legal: NDArray[np.bool_],
        num_simulations: int,
        noise: NDArray[np.float32] | None = None,
        candidates: NDArray[np.float32] | None = None,
    ) -> list[FoundMove]:
        """Search B positions side by side: `[B, *O]`, `[B, A]`, noise `[B or 1, A]`; of an older file one by one.

        `candidates`: what these are made of where actions are vectors, as `graphs.search_graph` says it.

        Raises:
            UserError: noise or candidates have another shape, or the graph fails.
        """
        seen, may = np.asarray(observation, np.float32), np.asarray(legal, np.bool_)
        drawn = self._noise_of(may, noise)
        if candidates is not None:
            candidates = np.asarray(candidates, np.float32)
            self._require_draws(candidates, drawn.shape, num_simulations)
        if not self._takes_one:
            return self._run(seen, may, drawn, num_simulations, candidates)
        rows = zip(seen[:, None], may[:, None], drawn[:, None], strict=True)
        return [self._run(*row, num_simulations)[0] for row in rows]

    def _noise_of(self, legal: NDArray[np.bool_], noise: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """`[B, A]`: zeros, what is given, or its one row for all."""
        # Candidates are as many as noise has numbers, however many choices masks are of.
        shape = (len(legal), *(size if isinstance(size, int) else legal.shape[1] for size in self._shape))
        given = np.zeros(shape, np.float32) if noise is None else np.asarray(noise, np.float32)
        if given.shape not in (shape, (1, *shape[1:])):
            raise UserError(
                f"noise must have the shape {list(shape)}, a number for each action or candidate of each position, or "
                f"one row for all; got {list(given.shape)}. Leave it out for the best move."
            )
        return np.ascontiguousarray(np.broadcast_to(given, shape))

    def _require_draws(self, candidates: NDArray[np.float32], of_noise: tuple[int, ...], num_simulations: int) -> None:
        """Of none the graph has its own; more than the budget takes are not looked at. of_noise: `(B, A)`."""
        if not self._takes_candidates:
            raise UserError(
                "candidates are made of draws where actions are vectors; those of this agent.onnx are a list, and it "
                f"was given {list(candidates.shape)}. Leave them out."
            )
        inner, most = (count_of(self.metadata.get(name, "")) for name in ("inner_candidates", "max_simulations"))
        least = of_noise[-1] + inner * min(max(num_simulations, 0), most)
        shape, size = candidates.shape, self._vector_size or candidates.shape[2:]
        fits = shape[1:2] == (0,) or (shape[1:2] >= (least,) and shape[2:] == size)
        if len(shape) != 3 or shape[0] not in (1, of_noise[0]) or not fits:
            raise UserError(
                f"candidates must have the shape {[f'1 or {of_noise[0]}', f'{least} or more', *size]} for "
                f"{num_simulations} simulations; got {list(shape)}. Leave them out for those of numzero.Agent."
            )

    def _run(
        self,
        observation: NDArray[np.float32],
        legal: NDArray[np.bool_],
        noise: NDArray[np.float32],
        num_simulations: int,
        candidates: NDArray[np.float32] | None = None,
    ) -> list[FoundMove]:
        budget = np.array([num_simulations], np.int64)
        inputs = {"observation": observation, "legal": legal, "num_simulations": budget, self._noise: noise}
        if self._takes_candidates:
            inputs[CANDIDATE_NOISE] = np.zeros((1, 0, 1), np.float32) if candidates is None else candidates
        made = run_graph(lambda: self._session.run(None, inputs), "agent")
        found = dict(zip(self._outputs, made, strict=True))
        found.setdefault("line", found["action"][:, None])
        rows, shape = (len(legal),), (len(legal), *noise.shape[1:])
        expected = {name: shape if name in ("visit_counts", "q_values") else rows for name, _ in AGENT_OUTPUTS}
        if any(found[name].shape != shape for name, shape in expected.items()):
            raise UserError(
                f"agent.onnx must make numbers for {shape[1]} actions; it made {[array.shape for array in made]}. "
                "Export it again."
            )
        return [_found_move({name: array[row] for name, array in found.items()}) for row in range(rows[0])]


def _found_move(found: Mapping[str, Any]) -> FoundMove:
    action, visits, q_values, value = (found[name] for name, _ in AGENT_OUTPUTS)
    moves, margin = [int(move) for move in found["line"] if move >= 0], float(found.get("margin", math.nan))
    vectors = found.get("vector"), found.get("candidates")
    return FoundMove(int(action), visits, q_values, float(value), moves, margin, *vectors)
