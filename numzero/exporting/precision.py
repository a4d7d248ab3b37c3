"""An agent whose convolutions compute in int8, and how it plays beside the one in float32.

Knows what is measured, on positions of the agent's own games; how networks become int8 is in `graphs`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import closing
from typing import Literal, NamedTuple

import numpy as np

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.exporting.embed import Position, numba_search, play_positions
from numzero.games import Trust
from numzero.inference import ModelFiles
from numzero.onnx_reader import read_metadata

__all__ = ["Lighter", "Precision", "equal_moves", "lighter", "precision_of"]

Precision = Literal["float32", "int8"]

CALIBRATED_ON, JUDGED_ON = 256, 512
"""Positions: more do not help, and as many as the figures of the refusal are of."""


class Lighter(NamedTuple):
    """What came of asking for int8."""

    agent: Agent
    """In int8, or as it was."""
    precision: Precision
    divergence: float
    value: float
    """See `graphs.int8.Change`."""
    refusal: str
    """Why it stays in float32; "" if it does not."""


def precision_of(files: ModelFiles) -> Precision:
    """What the convolutions of networks compute in, as their files say."""
    from numzero.graphs.int8 import PRECISION  # onnx

    return "int8" if any(read_metadata(content).get(PRECISION) == "int8" for content in files if content) else "float32"


def lighter(agent: Agent, seed: int, trust: Trust) -> Lighter:
    """The agent in int8 if that changes little.

    Raises:
        UserError: its actions are vectors; it has no convolutions, which alone become faster; onnx is not installed.
    """
    if agent.info.spec.vectors is not None:
        raise UserError(
            f"int8 is for games with a list of actions; those of {agent.info.spec.name} are vectors. Ask for float32.",
            arguments=("precision",),
        )
    try:
        from numzero.graphs.int8 import change_between, has_convolutions, in_int8  # onnx, which all else does without
    except ModuleNotFoundError as error:
        raise UserError(
            f"int8 needs {error.name}, which is not installed: pip install 'numzero[train]'.", arguments=("precision",)
        ) from error
    if not has_convolutions(agent.files):
        raise UserError(
            "int8 is for convolutions; this agent's networks have none that it would make faster. Ask for float32.",
            arguments=("precision",),
        )
    count = CALIBRATED_ON + JUDGED_ON
    with closing(play_positions(agent.info, agent.files, np.random.default_rng([seed, 4]), trust)) as played:
        seen = np.stack([position.observation for position in itertools.islice(played, count)]).astype(np.float32)
    files = in_int8(agent.files, seen[:CALIBRATED_ON])
    change = change_between(agent.files, files, seen[CALIBRATED_ON:])
    if not change.is_small:
        return Lighter(agent, "float32", *change, f"int8 changes too much: {change}; float32 is written")
    return Lighter(Agent(agent.info, files), "int8", *change, "")


def equal_moves(one: Agent, other: Agent, positions: Sequence[Position], budgets: Sequence[int]) -> int:
    """In how many positions both play the same move, with each of the budgets in turn."""
    searches = [{n: numba_search(each.info, each.files, n) for n in budgets} for each in (one, other)]
    moves = [
        [int(by[n].run(position.observation[None], position.legal[None]).action[0]) for by in searches]
        for position, n in zip(positions, itertools.cycle(budgets), strict=False)
    ]
    return sum(first == second for first, second in moves)
