"""`study`: the same training from many seeds, and variants of it side by side.

Knows options and lines; `api` makes the study, which does the work, and `studies.outcome` writes what came out.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from numzero import api
from numzero.commands.display import echo
from numzero.commands.environment import env_arg_option
from numzero.commands.program import program
from numzero.drawing.pillow import has_pillow
from numzero.drawing.words import duration
from numzero.runtime.family import no_orphans
from numzero.studies.outcome import PAGE, RESULTS, write_outcome
from numzero.studies.results import SeedResult

__all__ = ["study"]


@click.command()
@click.argument("preset", metavar="PRESET|GAME")
@env_arg_option
@click.option("--seeds", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many, from 0 on.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of the study; goes on where it was."
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="NAME:PATH=VALUE,...",
    help="Also train with these settings changed; may be repeated.",
)
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Change a setting of all variants.")
@click.option("--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="Seeds at a time, a core each.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
@no_orphans(ends_rest=True)
def study(
    preset: str,
    env_args: tuple[str, ...],
    seeds: int,
    out: Path,
    variants: tuple[str, ...],
    overrides: tuple[str, ...],
    jobs: int,
    as_json: bool,
) -> None:
    """Train a PRESET (or a TOML file, or a GAME) from many seeds, judge the final agents, and write what came out.

    Writes results.json, study.md and curves.png into the folder after every seed; a seed is trained once.
    Tic-tac-toe is judged by all of its positions, other games of two by a match, and tasks for one by 100 episodes.

    \b
    Example:
      python cli.py study cartpole --seeds 10 --jobs 2 --out studies/cartpole
      python cli.py study cartpole --seeds 5 --out studies/few --variant "few:search.num_simulations=4"
      python cli.py study tictactoe --seeds 3 --out studies/two --set processes.workers=1
    """
    overrides = (*env_args, *overrides)
    whole = api.prepare_study(preset, out, seeds=seeds, variants=variants, overrides=overrides)
    command = _command(preset, seeds, out, variants, overrides)
    if not (as_json or has_pillow()):
        echo("curves.png is left out: Pillow, which draws it, is not installed (pip install 'numzero[png]').", err=True)

    def report(result: SeedResult | None = None) -> None:
        write_outcome(whole.folder, whole.outcome(command))
        if result is not None and not as_json:
            scores = ", ".join(f"{what} {score:,.1f}" for what, score in result.scores.items())
            took = f"{duration(result.seconds)}, {result.steps:,} steps"
            echo(f"{result.variant}, seed {result.seed}: {scores} ({took}; {len(whole.missing())} to go)", err=True)

    try:
        whole.run(jobs, report, report)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Stopped. To go on: the same command again.") from None
    echo((whole.folder / (RESULTS if as_json else PAGE)).read_text("utf-8"), nl=False)


def _command(preset: str, seeds: int, out: Path, variants: Sequence[str], overrides: Sequence[str]) -> str:
    """What a reader types to make the same study on a machine of theirs, whose folders are others."""
    named = Path(preset).name if preset.endswith(".toml") else preset
    words = [*program().split(), "study", named, "--seeds", str(seeds)]
    words += ["--out", f"studies/{out.resolve().name}"]
    for option, values in (("--variant", variants), ("--set", overrides)):
        words += [word for value in values for word in (option, value)]
    return shlex.join(words)
