"""`report`: one HTML page that says how a run learned, or how several compare.

Knows options and what is printed; `studies` makes the page and serves it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from numzero import api
from numzero.commands.display import echo
from numzero.commands.serve import serve_until_interrupted
from numzero.errors import UserError
from numzero.studies.comparison import Comparison, write_comparison
from numzero.studies.report import Report, write_page
from numzero.studies.watch import WatchServer
from numzero.text import plain

__all__ = ["MARKS", "report"]

MARKS = {"failed": "X", "look": "!", "note": " ", "good": " "}
"""Before a finding, by its kind."""


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The page; default: report.html in the run's folder, of several comparison.html here.",
)
@click.option("--watch", is_flag=True, help="Serve the page to this machine's browsers, live, until ^C; writes none.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Of the page that is watched; default: a free one."
)
@click.option("--no-open", is_flag=True, help="Do not open the browser.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object; writes no page.")
def report(runs: tuple[Path, ...], out: Path | None, watch: bool, port: int, no_open: bool, as_json: bool) -> None:
    """Say how the RUN in a folder learned, or why it did not, or how several compare: here, and as one HTML page.

    The page needs no other file and no network. It can be asked for while a run is still training.

    \b
    Example:
      python cli.py report runs/ttt
      python cli.py report runs/ttt --out /tmp/ttt.html
      python cli.py report runs/cp-0 runs/cp-1
      python cli.py report runs/ttt --watch
    """
    if watch:
        if as_json or out is not None:
            raise UserError(
                "a page that is watched is served, neither written nor printed; leave --out and --json out."
            )
        server = WatchServer(runs, port=port)
        serve_until_interrupted(server, f"Watch at {server.url} (^C ends).", open_browser=not no_open)
    elif len(runs) == 1:
        _say_one(api.report(runs[0]), runs[0], out, as_json=as_json)
    else:
        _say_several(api.compare(runs), out, as_json=as_json)


def _say_one(said: Report, run: Path, out: Path | None, *, as_json: bool) -> None:
    if as_json:
        echo(json.dumps(_answer(said)))
        return
    for damage in said.damages:
        echo(damage, err=True)
    for finding in said.findings:
        echo(f"{MARKS[finding.kind]} {finding.name}: {plain(finding.sentence)}")
    echo(said.judgement)
    if out is None and not os.access(run, os.W_OK):
        echo(f"{run} may not be written to, so no page was made. Give it another place: --out PAGE.html", err=True)
        return
    echo(f"All figures are in {write_page(said, run, out)}.")


def _say_several(said: Comparison, out: Path | None, *, as_json: bool) -> None:
    if as_json:
        echo(json.dumps({"comparison": said.sentence, "runs": [_answer(each) for each in said.reports]}))
        return
    for name, each in zip(said.names, said.reports, strict=True):
        for damage in each.damages:
            echo(damage, err=True)
        echo(f"{plain(name)}: {plain(each.judgement)}")
    echo(said.sentence)
    echo(f"All figures are in {write_comparison(said, out)}.")


def _answer(said: Report) -> dict[str, Any]:
    """What a report says, as plain values."""
    found = [finding._asdict() for finding in said.findings]
    verdict = said.verdict
    return {"run": str(said.run), "outcome": verdict.outcome, "verdict": verdict.sentence, "findings": found}
