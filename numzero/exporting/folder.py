"""An agent's folder for other apps.

Knows what lies in it and when it may be written; how each file is made is in the files beside this one.
"""

from __future__ import annotations

import itertools
import json
import os
import time
import zlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.exporting.card import card, card_scores
from numzero.exporting.embed import GOLDEN_FILE, Position, agent_graph, golden_cases, play_positions
from numzero.exporting.pages import game_files, page_of
from numzero.exporting.parity import CHECK_SIMULATIONS, Parity, check_agent
from numzero.exporting.precision import Lighter, Precision, equal_moves, lighter, precision_of
from numzero.files import refuse_strangers, write_folder
from numzero.games import Trust, trusted_name
from numzero.inference import AGENT_GRAPH
from numzero.paths import explained

__all__ = ["export"]


def export(
    source: Path,
    out: Path,
    *,
    games: int = 100,
    seed: int = 0,
    check: bool = False,
    positions: int = 1000,
    precision: Precision = "float32",
    trust: Trust = False,
    web: bool = False,
) -> dict[str, Any]:
    """Write the newest agent of a run (or copy an agent) to a folder of its own, with a card of what it can do.

    Args:
        source: the folder of the agent, or of the run.
        out: replaced if it is an agent's.
        games: to measure for the card; 0: no scores.
        seed: of games and positions.
        check: compare torch, ONNX and Numba first, and write nothing unless they agree.
        positions: searched to compare.
        precision: of convolutions; int8 gives way to float32 where it changes too much, and an agent in int8 stays so.
        trust: see `trusted_name`.
        web: write the page to play on beside the agent, so that any static server serves both.

    Returns:
        `out`; `bytes` of each file and `compressed_bytes` of graphs; `graph_seconds`, in which agent.onnx was made;
        `golden_cases`; `check`, what was compared, or None; `precision` of what was written, and where int8 was asked
        for `int8`: how much it changes, why not, and of the positions searched to compare how many moves are equal.

    Raises:
        UserError: the game is not trusted, `out` is another's, what was compared differs, or no page can be written.
    """
    agent = whole = Agent.load(source)
    trusted_name(agent.info.spec.name, f"the agent in {source}", trust)
    _check_out(out)
    page = page_of(whole, source, trust) if web else game_files(whole, trust)
    place = Path(os.path.abspath(out))  # wherever an environment may go
    light = lighter(whole, seed, trust) if precision == "int8" else None
    agent = whole if light is None else light.agent
    started = time.perf_counter()
    graph = agent_graph(agent.info, agent.files)
    seconds = time.perf_counter() - started
    searched = _positions(whole, positions, seed, trust) if check else []
    parity = _check(whole, agent, source, graph, searched, trust) if check else None
    files = agent.folder_files()
    files[AGENT_GRAPH] = graph
    files[GOLDEN_FILE] = golden_cases(agent.info, agent.files, seed, trust)
    scores = card_scores(agent, games, seed, trust) if games else {}
    files |= page
    files["card.md"] = card(agent, scores, precision_of(agent.files)).encode()
    write_folder(place, files)
    return _report(out, files, seconds, parity) | _precision_report(whole, light, searched)


def _check_out(out: Path) -> None:
    """Refuse, before any work is done, a folder that is neither new nor empty nor an agent's alone."""
    with explained(out):
        if os.path.lexists(out) and os.listdir(out) and not (out / "agent.json").is_file():
            raise UserError(f"{out} exists and is not an agent's folder. Choose another.", arguments=("out",))
        refuse_strangers(Path(os.path.realpath(out)))


def _positions(agent: Agent, count: int, seed: int, trust: Trust) -> list[Position]:
    """To be searched to compare."""
    with closing(play_positions(agent.info, agent.files, np.random.default_rng([seed, 3]), trust)) as played:
        return list(itertools.islice(played, count))


def _check(
    whole: Agent, agent: Agent, source: Path, graph: bytes, positions: Sequence[Position], trust: Trust
) -> Parity:
    """What the comparison found, if the agent may be exported; `whole` is what torch learned."""
    parity = check_agent(source, agent.info, agent.files, graph, positions, trust, learned=whole.files)
    if refusal := parity.refusal():
        raise UserError(f"{refusal} Nothing was written.")
    return parity


def _precision_report(whole: Agent, light: Lighter | None, searched: Sequence[Position]) -> dict[str, Any]:
    """What the networks compute in, and what came of asking for int8, as plain values."""
    if light is None:
        return {"precision": precision_of(whole.files)}
    said: dict[str, Any] = {"divergence": light.divergence, "value": light.value, "refusal": light.refusal}
    if searched and not light.refusal:
        equal = equal_moves(whole, light.agent, searched, CHECK_SIMULATIONS)
        said |= {"positions": len(searched), "equal_moves": equal}
    return {"precision": light.precision, "int8": said}


def _report(out: Path, files: dict[str, bytes], seconds: float, parity: Parity | None) -> dict[str, Any]:
    """All that there is to know of it, as plain values."""
    compressed = {name: len(zlib.compress(content, 9)) for name, content in files.items() if name.endswith(".onnx")}
    found = None
    if parity is not None:
        found = {**parity._asdict(), "largest_error": parity.largest_error, "search": parity.search._asdict()}
    return {
        "out": str(out),
        "bytes": {name: len(content) for name, content in files.items()},
        "compressed_bytes": compressed,
        "graph_seconds": round(seconds, 4),
        "golden_cases": len(json.loads(files[GOLDEN_FILE])["cases"]),
        "check": found,
    }
