"""`export`: an agent in a folder of its own, for apps and for other languages.

Knows options and lines; `api` makes the folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from numzero import api
from numzero.commands.display import echo
from numzero.commands.trust import takes_trust
from numzero.exporting.precision import Precision
from numzero.games import Trust
from numzero.inference import AGENT_GRAPH, INITIAL, RECURRENT
from numzero.runtime.family import no_orphans

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
@click.option(
    "--precision",
    type=click.Choice(["float32", "int8"]),
    default="float32",
    show_default=True,
    help="Of convolutions; int8 is faster on processors with VNNI, and is not written if it changes much.",
)
@click.option("--web", is_flag=True, help="Write the page to play on beside the agent, for any static server.")
@takes_trust
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@no_orphans(ends_rest=True)
def export(
    source: Path,
    out: Path,
    games: int,
    seed: int,
    check: bool,
    positions: int,
    precision: Precision,
    web: bool,
    trust: Trust,
    as_json: bool,
) -> None:
    """Write the newest agent of a run (or copy an agent) to a folder of its own, with a card of what it can do.

    The folder holds initial.onnx and recurrent.onnx, the networks; agent.onnx, both and the whole search in one graph,
    for any onnxruntime; golden.json, searches that a host can test itself by; of a board game.json and rules.mjs, for
    pages; agent.json, card.md and a manifest of digests.

    \b
    Example:
      python cli.py export runs/ttt --out my-agent --check
      python cli.py export models/tictactoe --out my-copy --games 0 --json
      python cli.py export runs/c4 --out my-agent --precision int8 --check
      python cli.py export models/tictactoe --out site --web
    """
    report = api.export(
        source, out, games=games, seed=seed, check=check, positions=positions, precision=precision, trust=trust, web=web
    )
    echo(json.dumps(report) if as_json else "\n".join(_lines(report)))


def _lines(report: dict[str, Any]) -> list[str]:
    """The report for people."""
    compressed = report["compressed_bytes"]
    networks = compressed[INITIAL] + compressed[RECURRENT]
    lines = [
        f"{report['out']}: " + ", ".join(f"{name} {size:,} bytes" for name, size in report["bytes"].items()),
        f"agent.onnx was made in {report['graph_seconds']:.2f} s; compressed it has {compressed[AGENT_GRAPH]:,} "
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
    if (light := report.get("int8")) is not None:
        lines.append(_precision_line(light))
    return lines


def _precision_line(light: dict[str, Any]) -> str:
    """What int8 changes, or why it is not written."""
    if light["refusal"]:
        return f"{light['refusal']}."
    searched = f"; {light['equal_moves'] / light['positions']:.2%} of moves equal" if "positions" in light else ""
    return (
        f"int8 against float32: the policy diverges by {light['divergence']:.2g} nats, values change by "
        f"{light['value']:.2g}{searched}"
    )


def _error(error: float | None, reason: str) -> str:
    return f"not compared: {reason}" if error is None else f"largest error {error:.1e}"
