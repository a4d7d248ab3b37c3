"""`study`: the same training from many seeds, variants of it side by side, and a preset on many tasks.

Knows options and lines; `api` makes the study, which does the work, and `studies.outcome` writes what came out.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from numzero import api
from numzero.commands.display import echo
from numzero.commands.environment import env_arg_option
from numzero.commands.program import program
from numzero.commands.runtime import takes_machines
from numzero.drawing.pillow import has_pillow
from numzero.drawing.words import duration, number
from numzero.runtime.family import no_orphans
from numzero.studies.outcome import PAGE, PICTURE, RESULTS, write_outcome
from numzero.studies.results import SeedResult
from numzero.studies.tasks_outcome import TASKS_PICTURE, write_tasks_outcome

__all__ = ["study"]


@click.command()
@click.argument("preset", metavar="PRESET|GAME")
@env_arg_option
@click.option("--game", "games", multiple=True, metavar="GAME", help="Train on this game; may be repeated.")
@click.option("--tasks", type=click.Path(path_type=Path), help="Train on the tasks of this TOML file, or on 'battery'.")
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
@click.option(
    "--jobs",
    type=click.IntRange(1, 1000),
    help="Seeds at a time, a core each; default: 1, with --runtime ray what the cluster holds.",
)
@takes_machines
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
@no_orphans(ends_rest=True)
def study(
    preset: str,
    env_args: tuple[str, ...],
    games: tuple[str, ...],
    tasks: Path | None,
    seeds: int,
    out: Path,
    variants: tuple[str, ...],
    overrides: tuple[str, ...],
    jobs: int | None,
    runtime: Mapping[str, str],
    as_json: bool,
) -> None:
    """Train a PRESET (or a TOML file, or a GAME) from many seeds, judge the final agents, and write what came out.

    Writes results.json, study.md and a picture into the folder after every seed; a seed is trained once.
    Tic-tac-toe is judged by all of its positions, other games of two by a match, and tasks for one by 100 episodes.
    With --game or --tasks the preset, 'general' or another, is trained on each of them, and the table has a row for
    each: how far its agents came from what random actions earn to the most that can be had.

    \b
    Example:
      python cli.py study cartpole --seeds 10 --jobs 2 --out studies/cartpole
      python cli.py study cartpole --seeds 5 --out studies/few --variant "few:search.num_simulations=4"
      python cli.py study tictactoe --seeds 3 --out studies/two --set processes.workers=1
      python cli.py study general --game CartPole-v1 --game Acrobot-v1 --seeds 3 --out studies/general
      python cli.py study general --tasks battery --seeds 3 --jobs 2 --out studies/battery
      python cli.py study cartpole --seeds 40 --out studies/wide --runtime ray --address auto
    """
    overrides = (*env_args, *overrides)
    over_tasks = bool(games) or tasks is not None
    options: dict[str, Any] = {"seeds": seeds, "variants": variants, "overrides": overrides}
    whole: Any = (
        api.prepare_tasks_study(preset, out, games=games, tasks=tasks, **options)
        if over_tasks
        else api.prepare_study(preset, out, **options)
    )
    named = [word for game in games for word in ("--game", game)]
    named += ["--tasks", tasks.name] if tasks is not None else []
    for option, value in (("--runtime", runtime.get("kind")), ("--address", runtime.get("address"))):
        named += [option, value] if value else []
    command = _command(preset, named, seeds, out, variants, overrides)
    if not (as_json or has_pillow()):
        picture = TASKS_PICTURE if over_tasks else PICTURE
        echo(f"{picture} is left out: Pillow, which draws it, is not installed (pip install 'numzero[png]').", err=True)

    def report(result: SeedResult | None = None, task: str = "") -> None:
        (write_tasks_outcome if over_tasks else write_outcome)(whole.folder, whole.outcome(command))
        if as_json:
            return
        if result is None:
            echo(f"{len(whole.missing())} to train; a line for each as it ends.", err=True)
        else:
            scores = ", ".join(f"{what} {number(score)}" for what, score in result.scores.items())
            took = f"{duration(result.seconds)}, {result.steps:,} steps"
            name = f"{task}, {result.variant}" if task else result.variant
            echo(f"{name}, seed {result.seed}: {scores} ({took}; {len(whole.missing())} to go)", err=True)

    try:
        whole.run(jobs, report, report, lambda sentence: echo(sentence, err=True), runtime)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Stopped. To go on: the same command again.") from None
    echo((whole.folder / (RESULTS if as_json else PAGE)).read_text("utf-8"), nl=False)


def _command(
    preset: str, named: Sequence[str], seeds: int, out: Path, variants: Sequence[str], overrides: Sequence[str]
) -> str:
    """What a reader types to make the same study on a machine of theirs, whose folders are others."""
    preset = Path(preset).name if preset.endswith(".toml") else preset
    words = [*program().split(), "study", preset, *named, "--seeds", str(seeds)]
    words += ["--out", f"studies/{out.resolve().name}"]
    for option, values in (("--variant", variants), ("--set", overrides)):
        words += [word for value in values for word in (option, value)]
    return shlex.join(words)
