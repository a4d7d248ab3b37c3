"""`report`: one HTML page that says how a run learned.

Knows options and what is printed; `studies.report` makes the page.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from numzero.commands.display import echo
from numzero.studies.report import read_report, write_page
from numzero.text import plain

__all__ = ["MARKS", "report"]

MARKS = {"failed": "X", "look": "!", "note": " ", "good": " "}
"""Before a finding, by its kind."""


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The page; default: report.html in the run's folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object; writes no page.")
def report(run: Path, out: Path | None, as_json: bool) -> None:
    """Say how the RUN in a folder learned, or why it did not: findings here, and all figures as one HTML page.

    The page needs no other file and no network. It can be asked for while the run is still training.

    \b
    Example:
      python cli.py report runs/ttt
      python cli.py report runs/ttt --out /tmp/ttt.html
    """
    said = read_report(run)
    if as_json:
        found = [finding._asdict() for finding in said.findings]
        verdict = said.verdict
        echo(json.dumps({"run": str(run), "outcome": verdict.outcome, "verdict": verdict.sentence, "findings": found}))
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
