"""`train`: from a preset to an agent.

Knows the options and what the display says; `training.run` does the work.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from numzero.commands.display import StatusDisplay, duration

if TYPE_CHECKING:
    from numzero.metrics import Evaluated, Event, Progress

__all__ = ["train"]


@click.command()
@click.argument("preset")
@click.option("--run", "folder", type=click.Path(path_type=Path), help="Folder of the run; default runs/PRESET-N.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides all that is drawn.")
@click.option(
    "--workers",
    type=click.IntRange(min=0, max=1024),
    default=0,
    show_default=True,
    help="Self-play processes; 0 does everything in one process, bit for bit reproducible.",
)
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override a setting; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the final scores as one JSON object.")
def train(preset: str, folder: Path | None, seed: int, workers: int, overrides: tuple[str, ...], as_json: bool) -> None:
    """Train an agent by a PRESET (see `presets`) or a TOML file with the same fields.

    \b
    Example:
      python cli.py train tictactoe --seed 0 --run runs/ttt
      python cli.py train cartpole --set search.num_simulations=32
    """
    from numzero.errors import UserError
    from numzero.training.config import load_preset

    config = load_preset(preset, overrides)
    folder = folder or _free_folder(Path("runs"), Path(preset).stem)
    try:
        from numzero.training.run import TrainingRun
    except ModuleNotFoundError as error:
        raise UserError(
            f"training needs {error.name}, which is not installed: pip install 'numzero[train]'."
        ) from error
    with StatusDisplay(f"numzero: {config.game} into {folder}", quiet=as_json) as display:
        run = TrainingRun(
            config,
            folder,
            seed=seed,
            workers=workers,
            on_event=lambda event: _show(display, event, config.schedule.num_updates),
        )
        try:
            scores = run.train()
        except KeyboardInterrupt:
            click.echo(
                f"Stopped. The agent so far is in {folder}: python cli.py evaluate {folder}. "
                "To train on, start a new run.",
                err=True,
            )
            raise
    if as_json:
        click.echo(json.dumps({"run": str(folder), "game": config.game, "seed": seed, **scores}))
    else:
        click.echo(f"The agent is in {folder}. Try: python cli.py play {folder}, or: python cli.py evaluate {folder}")


def _free_folder(parent: Path, name: str) -> Path:
    number = 0
    while (folder := parent / f"{name}-{number}").exists():
        number += 1
    return folder


def _show(display: StatusDisplay, event: Event, num_updates: int) -> None:
    from numzero.metrics import Evaluated, Finished, Progress, Started

    if isinstance(event, Started):
        display.say(
            f"{event.game}: {event.num_parameters:,} parameters, {event.num_updates:,} updates, seed {event.seed}"
        )
    elif isinstance(event, Progress):
        display.show(_rows(event, num_updates))
    elif isinstance(event, Evaluated):
        display.say(_evaluation_line(event))
    elif isinstance(event, Finished):
        display.say(f"{event.reason} after {duration(event.seconds)}: {event.updates:,} updates, {event.steps:,} steps")


def _rows(event: Progress, num_updates: int) -> dict[str, str]:
    losses = " ".join(f"{name} {value:.3g}" for name, value in event.losses.items() if name != "learning_rate")
    rows = {
        "updates": f"{event.updates:,}/{num_updates:,} ({event.updates_per_second:.0f}/s)",
        "steps": f"{event.steps:,} ({event.steps_per_second:.0f}/s, {event.samples_per_step:.1f} samples each)",
        "episodes": f"{event.games:,}",
        "losses": losses or "none yet",
        "self-play": f"{100 * event.selfplay_share:.0f} % of the time",
        "time": f"{duration(event.seconds)}, {duration(event.eta_seconds)} to go"
        if event.updates
        else duration(event.seconds),
    }
    if event.mean_return is not None:
        rows["return in training"] = f"{event.mean_return:.1f}"
    if event.mean_length is not None:
        rows["length"] = f"{event.mean_length:.1f}"
    return rows


def _evaluation_line(event: Evaluated) -> str:
    return f"evaluation after {event.updates:,} updates, {event.steps:,} steps: {score_line(event.scores)}"


def score_line(scores: dict[str, Any]) -> str:
    """Scores for people: nested counts become words."""
    parts = []
    for name, value in scores.items():
        if isinstance(value, dict):
            parts.append(f"{name.replace('_', ' ')} " + "/".join(str(inner) for inner in value.values()))
        else:
            parts.append(
                f"{name.replace('_', ' ')} {value:.1f}"
                if isinstance(value, float)
                else f"{name.replace('_', ' ')} {value}"
            )
    return ", ".join(parts)
