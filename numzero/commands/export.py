"""`export`: an agent in a folder of its own, for apps and for other languages.

Knows options and lines; `training.embed` makes the files and `training.parity` compares them.
"""

from __future__ import annotations

import itertools
import json
import os
import time
import zlib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from numzero.commands.agents import measure, scores_only
from numzero.commands.display import echo
from numzero.commands.tables import words
from numzero.commands.train import score_line
from numzero.commands.trust import load_agent, takes_trust
from numzero.runtime.family import no_orphans

if TYPE_CHECKING:
    from numzero.agent import Agent
    from numzero.games import Trust
    from numzero.training.parity import Parity

__all__ = ["export"]


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of the agent; replaced if it is one."
)
@click.option(
    "--games", type=click.IntRange(min=0), default=100, show_default=True, help="To measure for the card; 0: no scores."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of games and positions.")
@click.option("--check", is_flag=True, help="Compare torch, ONNX and Numba first, and write nothing unless they agree.")
@click.option(
    "--positions", type=click.IntRange(min=1), default=1000, show_default=True, help="Searched to compare, by --check."
)
@takes_trust
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@no_orphans(ends_rest=True)
def export(
    source: Path, out: Path, games: int, seed: int, check: bool, positions: int, trust: Trust, as_json: bool
) -> None:
    """Write the newest agent of a run (or copy an agent) to a folder of its own, with a card of what it can do.

    The folder holds initial.onnx and recurrent.onnx, the networks; agent.onnx, both and the whole search in one graph,
    for any onnxruntime; golden.json, searches that a host can test itself by; agent.json, card.md and a manifest of
    digests.

    \b
    Example:
      python cli.py export runs/ttt --out my-agent --check
      python cli.py export models/tictactoe --out my-copy --games 0 --json
    """
    from numzero.files import write_folder
    from numzero.training.embed import AGENT_GRAPH, GOLDEN_FILE, agent_graph, golden_cases

    agent = load_agent(source, trust)
    _check_out(out)
    started = time.perf_counter()
    graph = agent_graph(agent.info, agent.files)
    seconds = time.perf_counter() - started
    parity = _check(agent, source, graph, positions, seed, trust) if check else None
    files = agent.folder_files()
    files[AGENT_GRAPH] = graph
    files[GOLDEN_FILE] = golden_cases(agent.info, agent.files, seed, trust)
    files["card.md"] = _card(agent, _card_scores(agent, games, seed, trust) if games else {}).encode()
    write_folder(out, files)
    report = _report(out, files, seconds, parity)
    echo(json.dumps(report) if as_json else "\n".join(_lines(report)))


def _check_out(out: Path) -> None:
    """Refuse, before any work is done, a folder that is neither new nor empty nor an agent's alone."""
    from numzero.errors import UserError
    from numzero.files import refuse_strangers
    from numzero.paths import explained

    with explained(out):
        if os.path.lexists(out) and os.listdir(out) and not (out / "agent.json").is_file():
            raise UserError(f"{out} exists and is not an agent's folder. Choose another --out.")
        refuse_strangers(Path(os.path.realpath(out)))


def _check(agent: Agent, source: Path, graph: bytes, count: int, seed: int, trust: Trust) -> Parity:
    """What the comparison found, if the agent may be exported."""
    from numzero.errors import UserError
    from numzero.training.embed import play_positions
    from numzero.training.parity import check_agent

    with closing(play_positions(agent.info, agent.files, np.random.default_rng([seed, 3]), trust)) as played:
        positions = list(itertools.islice(played, count))
    parity = check_agent(source, agent.info, agent.files, graph, positions, trust)
    if refusal := parity.refusal():
        raise UserError(f"{refusal} Nothing was written.")
    return parity


def _report(out: Path, files: dict[str, bytes], seconds: float, parity: Parity | None) -> dict[str, Any]:
    """All that the command says, as plain values."""
    compressed = {name: len(zlib.compress(content, 9)) for name, content in files.items() if name.endswith(".onnx")}
    found = None
    if parity is not None:
        found = {**parity._asdict(), "largest_error": parity.largest_error, "search": parity.search._asdict()}
    return {
        "out": str(out),
        "bytes": {name: len(content) for name, content in files.items()},
        "compressed_bytes": compressed,
        "graph_seconds": round(seconds, 4),
        "golden_cases": len(json.loads(files["golden.json"])["cases"]),
        "check": found,
    }


def _lines(report: dict[str, Any]) -> list[str]:
    """The report for people."""
    compressed = report["compressed_bytes"]
    networks = compressed["initial.onnx"] + compressed["recurrent.onnx"]
    lines = [
        f"{report['out']}: " + ", ".join(f"{name} {size:,} bytes" for name, size in report["bytes"].items()),
        f"agent.onnx was made in {report['graph_seconds']:.2f} s; compressed it has {compressed['agent.onnx']:,} "
        f"bytes, its networks {networks:,}; golden.json holds {report['golden_cases']} cases",
    ]
    if (check := report["check"]) is not None:
        search = check["search"]
        lines += [
            f"networks, ONNX against torch: {_error(check['torch_error'], check['torch_reason'])}",
            f"networks, ONNX against Numba: {_error(check['numba_error'], check['numba_reason'])}",
            f"search, agent.onnx against Numba, {search['positions']:,} positions: "
            f"{search['equal_moves'] / search['positions']:.2%} of moves equal, "
            f"{search['equal_visits'] / search['positions']:.2%} of visits; {search['near_ties']} near ties excepted, "
            f"{search['different']} other differences; largest error {search['largest_error']:.1e}",
        ]
    return lines


def _error(error: float | None, reason: str) -> str:
    return f"not compared: {reason}" if error is None else f"largest error {error:.1e}"


def _card_scores(agent: Agent, games: int, seed: int, trust: Trust) -> dict[str, str]:
    """Measured lines for the card: what was played, and how it went."""
    from numzero.games import is_solved

    if agent.info.spec.num_players == 1:
        return {f"{games} episodes": _scores(measure(agent, None, games, None, seed, False, trust))}
    solved = is_solved(agent.info.spec.name)
    lines = {}
    for opponent in ("random", "minimax") if solved else ("random",):
        lines[f"{games} games against {opponent}"] = _scores(measure(agent, opponent, games, None, seed, False, trust))
    for simulations in (0, 8, 25) if solved else ():
        result = measure(agent, None, 2, simulations, seed, True, trust)
        name = "bare policy" if simulations == 0 else f"{simulations} simulations"
        lines[f"positions whose exact value its move keeps, {name}"] = (
            f"{result['optimal']:,} of {result['positions']:,}"
        )
    return lines


def _scores(result: dict[str, Any]) -> str:
    return score_line(scores_only(result))


def _card(agent: Agent, scores: dict[str, str]) -> str:
    info = agent.info
    lines = [
        f"# {words(info.spec.name)}",
        "",
        f"A numzero agent: observations {list(info.spec.observation_shape)}, {info.spec.num_actions} actions "
        f"({words(', '.join(info.spec.action_names))}), {info.spec.num_players} player(s), discount {info.discount}.",
        f"Searches by rule `{info.search.rule}` with {info.search.num_simulations} simulations unless told otherwise.",
        "",
        "## How it was trained",
        "",
        *(f"- {words(name.replace('_', ' '))}: {words(str(value))}" for name, value in info.training.items()),
        "",
        "## Measured by `export`, without noise",
        "",
        *(f"- {words(name)}: {words(value)}" for name, value in scores.items()),
        "",
    ]
    return "\n".join(lines)
