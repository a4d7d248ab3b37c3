"""`tune`: trials of a preset with other settings.

Knows options and lines; `studies.tuning` makes the trials.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from numzero import api
from numzero.commands.display import echo
from numzero.commands.environment import env_arg_option
from numzero.drawing.words import number
from numzero.runtime.family import no_orphans
from numzero.studies.tuning_outcome import PAGE, TrialResult, shown

__all__ = ["tune"]


@click.command()
@click.argument("preset", metavar="PRESET|GAME")
@env_arg_option
@click.option(
    "--trials", type=click.IntRange(min=1), default=20, show_default=True, help="That there are to be in all."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the search; one begun goes on.")
@click.option(
    "--range",
    "ranges",
    multiple=True,
    metavar="PATH=LOW:HIGH[:log]|A,B,C",
    help="Vary this setting, and only what is so named; may be repeated. Default: seven that matter most.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Environment steps of a trial; default: as the preset says.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the first trial.")
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override a setting of all trials.")
@click.option(
    "--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="Trials at a time, a core each."
)
@click.option("--json", "as_json", is_flag=True, help="Print all trials as one JSON object.")
@no_orphans(ends_rest=True)
def tune(
    preset: str,
    env_args: tuple[str, ...],
    trials: int,
    out: Path,
    ranges: tuple[str, ...],
    steps: int | None,
    seed: int,
    overrides: tuple[str, ...],
    jobs: int,
    as_json: bool,
) -> None:
    """Search for settings of a PRESET (or a TOML file, or a GAME): trials with other values, chosen by Optuna.

    A trial whose evaluations stay below the median of those before it is ended early. Into the folder come tuning.md, a
    table and a picture of all trials, and best.toml, the settings of the best, for `train`. A search that was stopped
    goes on by the same command, and each trial that was under way from its checkpoint. Needs the extra `tune`.

    \b
    Example:
      python cli.py tune CartPole-v1 --trials 30 --steps 5000 --out tunings/cartpole
      python cli.py tune cartpole --trials 40 --jobs 4 --out tunings/more
      python cli.py tune cartpole --trials 10 --out tunings/two --range learner.learning_rate=1e-4:1e-2:log
      python cli.py train tunings/cartpole/best.toml
    """
    search = api.prepare_tune(preset, out, ranges=ranges, overrides=[*env_args, *overrides], steps=steps, seed=seed)

    def show(result: TrialResult) -> None:
        if not as_json:
            values = ", ".join(f"{path} {shown(value)}" for path, value in result.values.items())
            score = "" if result.score is None else f" {number(result.score)}"
            echo(f"trial {result.number} {result.state}:{score} {result.reason} ({values})", err=True)

    if not as_json:
        echo(f"{trials} trials in all, {jobs} at a time; a line for each as it ends.", err=True)
    try:
        results = search.run(trials, show, lambda sentence: echo(sentence, err=True), jobs=jobs)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Stopped. To go on: the same command again.") from None
    if as_json:
        echo(json.dumps({"preset": preset, "trials": [each._asdict() for each in results]}))
    else:
        echo((search.folder / PAGE).read_text("utf-8"), nl=False)
