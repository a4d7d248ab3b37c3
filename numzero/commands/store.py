"""`store`: what is in a file of games, whether it is whole, and stores put together.

Knows options and what is printed; `numzero.stores` reads and writes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from numzero import api
from numzero.commands.display import echo, echo_rows
from numzero.drawing.words import number
from numzero.errors import UserError

__all__ = ["store"]


@click.group()
def store() -> None:
    """Look at the games that runs and self-play have stored, and put stores together.

    \b
    Example:
      python cli.py store info runs/cp
    """


@store.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(path: Path, as_json: bool) -> None:
    """Say what is in a run's folder of games, or in a store's file.

    \b
    Example:
      python cli.py store info runs/cp
      python cli.py store info selfplay/replay.sqlite --json
    """
    found = api.store_info(path)
    if as_json:
        echo(json.dumps(found))
        return
    echo(f"{found['store']}: {found['games']:,} games of {found['game']}")
    echo_rows(_rows(found))


def _rows(found: dict[str, Any]) -> dict[str, list[str]]:
    bound = f" of {found['limit_bytes'] / 2**20:,.0f} MiB" if found["limit_bytes"] else ""
    version = found["newest_version"]
    rows = {
        "steps": [f"{found['steps']:,}"],
        "size": [f"{found['bytes'] / 2**20:,.1f} MiB{bound}"],
        "ended": [", ".join(f"{count:,} {kind}" for kind, count in found["ended"].items())],
        "searched again": [f"{found['searched_again']:,} games"],
        "newest weights": ["unknown: not this run's" if version < 0 else f"{version:,} updates"],
        "damaged": [f"{found['damaged']:,}"],
    }
    if "mean_return" in found:
        low, high = number(found["least_return"]), number(found["largest_return"])
        rows["returns"] = [f"{number(found['mean_return'])} on average, {low} to {high}"]
        rows["length"] = [f"{number(found['mean_length'])} steps on average"]
    return rows


@store.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(path: Path, as_json: bool) -> None:
    """Read every game of a store and say all that is damaged; exit code 1 where something is.

    \b
    Example:
      python cli.py store verify runs/cp
    """
    problems = api.store_problems(path)
    if as_json:
        echo(json.dumps({"store": str(path), "problems": problems}))
    else:
        echo("\n".join(problems) or f"All games of {path} are whole.")
    if problems:
        raise SystemExit(1)


@store.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--minari", required=True, metavar="NAME", help="Of the dataset, as Minari has them: cartpole/mine-v0.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def export(path: Path, minari: str, as_json: bool) -> None:
    """Write the whole episodes of a run or a store as a dataset of Minari's, on this machine.

    Observations and actions are as numzero sees them. `train --from minari:NAME --offline` learns from such datasets.

    \b
    Example:
      python cli.py store export runs/cp --minari cartpole/mine-v0
    """
    done = api.store_export(path, minari)
    if as_json:
        echo(json.dumps(done))
        return
    lost = {"pieces of episodes that are not whole": done["pieces_left_out"], "that are damaged": done["damaged"]}
    left_out = ", ".join(f"{count:,} {kind}" for kind, count in lost.items() if count)
    said = f"{done['episodes']:,} episodes of {done['game']} are the Minari dataset {minari}"
    echo(f"{said}; left out: {left_out}." if left_out else f"{said}.")


@store.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="A file; new, or added to.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def merge(paths: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Copy the games of several runs, folders of self-play or files into one store, from which `train --from` learns.

    \b
    Example:
      python cli.py store merge runs/cp-0 runs/cp-1 --out cartpole.sqlite
      python cli.py train cartpole --from cartpole.sqlite --offline
    """
    if out.is_dir():
        raise UserError(f"{out} must be a file; it is a folder. Name a file.", arguments=("out",))
    done = api.store_merge(out, paths)
    if as_json:
        echo(json.dumps({"store": str(out), **done._asdict()}))
        return
    lost = f", {done.damaged:,} that are damaged left out" if done.damaged else ""
    echo(f"{done.added:,} games added to {out}, {done.twice:,} were there{lost}; it holds {done.games:,}.")
