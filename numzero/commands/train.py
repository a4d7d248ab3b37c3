"""`train` and `resume`: from a preset to an agent.

Knows the options and what the display says; `api` makes the run, which does the work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from numzero import api
from numzero.commands.display import StatusDisplay, echo
from numzero.commands.environment import env_arg_option
from numzero.commands.program import program
from numzero.commands.report import MARKS
from numzero.commands.runtime import takes_runtime
from numzero.commands.trust import env_words, takes_trust
from numzero.drawing.words import duration, number, score_line
from numzero.errors import UserError
from numzero.games import Trust
from numzero.judging.verdict import run_verdict
from numzero.listeners import Curves, TensorBoardListener, WandbListener, closed_after
from numzero.metrics import Evaluated, Event, Finished, Noted, Progress, RandomPlayed, Started, history, read_metrics
from numzero.runtime.family import no_orphans
from numzero.training.config import MOST_WORKERS
from numzero.training.named import run_name

if TYPE_CHECKING:  # it imports torch
    from numzero.training.run import TrainingRun

__all__ = ["resume", "train"]


_IN_THE_RUN = Path("RUN/tensorboard")
"""Stands for this folder of the run."""
_takes_tensorboard = click.option(
    "--tensorboard",
    type=click.Path(path_type=Path),
    metavar="[DIR]",
    is_flag=False,
    flag_value=str(_IN_THE_RUN),
    help="Write curves for TensorBoard too, into this folder, or into tensorboard/ of the run.",
)
_takes_wandb = click.option(
    "--wandb",
    metavar="[PROJECT]",
    is_flag=False,
    flag_value="numzero",
    help="Send curves and settings to Weights & Biases, by its library; WANDB_MODE=offline keeps them here.",
)


class WorkersType(click.IntRange):
    """A number of processes, or `auto`."""

    name = "integer range, or auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click."""
        return "auto" if value == "auto" else super().convert(value, param, ctx)


@click.command()
@click.argument("preset", metavar="PRESET|GAME")
@env_arg_option
@click.option("--run", "folder", type=click.Path(path_type=Path), help="Folder of the run; default runs/NAME-N.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides all that is drawn.")
@click.option(
    "--workers",
    type=WorkersType(0, MOST_WORKERS),
    help="Self-play processes; 0 does everything in one process, bit for bit reproducible; auto divides the cores by "
    "what playing, searching again and learning cost here; default: the preset's.",
)
@click.option(
    "--reanalyze-workers",
    type=click.IntRange(0, MOST_WORKERS),
    help="Processes that search stored games again with newer weights; default: the preset's.",
)
@click.option(
    "--steps", type=click.IntRange(min=1), help="Environment steps that the run takes; default: as the preset says."
)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    metavar="RUN_OR_STORE",
    help="With --offline: whose games to learn from; minari:NAME is a dataset of Minari's.",
)
@click.option(
    "--init",
    type=click.Path(path_type=Path),
    metavar="AGENT|RUN",
    help="Begin from the weights of an agent, or of a run's newest; network and shapes must be the same.",
)
@click.option("--offline", is_flag=True, help="Learn from stored games alone; no environment is started.")
@takes_runtime
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override a setting; may be repeated.")
@click.option("--no-check", is_flag=True, help="Do not play the environment for a moment first; see check-env.")
@_takes_tensorboard
@_takes_wandb
@click.option("--json", "as_json", is_flag=True, help="Print the final scores as one JSON object.")
@no_orphans(ends_rest=True)
def train(
    preset: str,
    env_args: tuple[str, ...],
    folder: Path | None,
    seed: int,
    workers: int | Literal["auto"] | None,
    reanalyze_workers: int | None,
    steps: int | None,
    source: Path | None,
    init: Path | None,
    offline: bool,
    runtime: Mapping[str, str],
    overrides: tuple[str, ...],
    no_check: bool,
    tensorboard: Path | None,
    wandb: str | None,
    as_json: bool,
) -> None:
    """Train an agent by a PRESET (see `presets`), a TOML file with the same fields, or for any GAME.

    A game is the id of a gymnasium environment, or one of your own: module:Class or path/to/file.py:Class. It takes the
    preset `general`, fitted to what it shows and offers.

    ^C keeps all that was done; `resume` goes on.

    \b
    Example:
      python cli.py train tictactoe --seed 0 --run runs/ttt
      python cli.py train CartPole-v1 --steps 5000
      python cli.py train cartpole --run runs/cp --tensorboard
      python cli.py train cartpole --run runs/cp --wandb my-project
      python cli.py train cartpole --workers 1 --reanalyze-workers 1
      python cli.py train cartpole --workers 64 --runtime ray --address auto
      python cli.py train cartpole --from runs/cp --offline
      python cli.py train cartpole --init runs/cp --steps 2000
      python cli.py train my_env.py:Env --env-arg size=3
    """
    if offline != (source is not None):
        raise UserError("--offline and --from belong together: train PRESET --from RUN_OR_STORE --offline.")
    with api.free_folder(Path("runs"), run_name(preset)) if folder is None else nullcontext(folder) as place:
        _work(
            place,
            lambda on_event: api.prepare_train(
                preset,
                place,
                overrides=[*env_args, *(f"runtime.{name}={value}" for name, value in runtime.items()), *overrides],
                seed=seed,
                workers=0 if offline else workers,
                reanalyze_workers=reanalyze_workers,
                source=source,
                init=init,
                steps=steps,
                check=not no_check,
                on_event=on_event,
            ),
            as_json,
            _curves(tensorboard, wandb),
        )


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@takes_trust
@takes_runtime
@click.option(
    "--drop-episodes",
    is_flag=True,
    help="Begin new episodes; else one process plays the moves of those under way again, which may take long.",
)
@click.option("--updates", type=click.IntRange(min=1), help="Updates that the run has in all from now on.")
@click.option(
    "--steps", type=click.IntRange(min=1), help="Environment steps that the run takes in all, in their place."
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Another value of a setting from now on, if it is one that may change; may be repeated.",
)
@_takes_tensorboard
@_takes_wandb
@click.option("--json", "as_json", is_flag=True, help="Print the final scores as one JSON object.")
@no_orphans(ends_rest=True)
def resume(
    run: Path,
    trust: Trust,
    runtime: Mapping[str, str],
    drop_episodes: bool,
    updates: int | None,
    steps: int | None,
    overrides: tuple[str, ...],
    tensorboard: Path | None,
    wandb: str | None,
    as_json: bool,
) -> None:
    """Go on with a RUN that was stopped, by ^C, a crash or a power cut, from its newest checkpoint.

    Settings, seed and workers are the run's own, but where workers run may change. With no workers the result is, bit
    for bit, that of a run which was never stopped.

    --updates or --steps make a run longer, also one that has finished: its learning rate is from then on that of a run
    which was as long from the beginning, and so rises again first. Settings change by --set where nothing that the run
    keeps was made by them; others are refused with the reason.

    \b
    Example:
      python cli.py resume runs/ttt
      python cli.py resume runs/ttt --updates 8000
      python cli.py resume runs/ttt --set learner.learning_rate=1e-4 --set evaluation.games=100
      python cli.py resume runs/ttt --runtime ray
    """
    _work(
        run,
        lambda on_event: api.prepare_resume(
            run,
            trust=trust,
            drop_episodes=drop_episodes,
            runtime=runtime,
            updates=updates,
            steps=steps,
            overrides=overrides,
            on_event=on_event,
        ),
        as_json,
        _curves(tensorboard, wandb),
    )


def _curves(tensorboard: Path | None, wandb: str | None) -> list[Curves]:
    """What draws curves elsewhere."""
    asked: list[Curves] = []
    if tensorboard is not None:
        asked.append(TensorBoardListener(None if tensorboard == _IN_THE_RUN else tensorboard))
    if wandb is not None:
        asked.append(WandbListener(wandb))
    return asked


def _work(
    folder: Path, make: Callable[[Callable[[Event], object]], TrainingRun], as_json: bool, curves: Sequence[Curves]
) -> None:
    """Make a run, show how it goes, and say how it ended."""
    with StatusDisplay(f"numzero: {folder}", quiet=as_json) as display:
        listeners: list[Callable[[Event], object]] = [_Shown(display, folder).hear, *curves]
        run = make(lambda event: [listen(event) for listen in listeners])
        shown = f"{folder}{env_words(run.config.game)}"
        try:
            with closed_after(curves):
                scores = run.train()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"Stopped. To go on: {program()} resume {shown}. "
                f"The agent so far is there too: {program()} evaluate {shown}."
            ) from None
    said = api.report(run.folder)
    if as_json:
        head = {"run": str(folder), "game": run.config.game, "seed": run.plan.seed}
        echo(json.dumps({**head, **scores, "outcome": said.verdict.outcome, "verdict": said.verdict.sentence}))
        return
    for finding in said.findings:
        if finding.kind in ("failed", "look"):
            echo(f"{MARKS[finding.kind]} {finding.name}: {finding.sentence}")
    if scores:
        echo(said.judgement)
    echo(
        f"The agent is in {folder}. Try: {program()} play {shown}, or: {program()} evaluate {shown}. "
        f"How it learned: {program()} report {folder}"
    )


class _Shown:
    """What a run says, on a display."""

    def __init__(self, display: StatusDisplay, folder: Path) -> None:
        self._display, self._folder = display, folder
        self._judged: list[Event] = []  # what its verdict is made of
        self._num_updates = 0  # of the whole run

    def hear(self, event: Event) -> None:
        """Show an event."""
        display = self._display
        if isinstance(event, Started) and event.resumed_at is not None:
            self._judged = [each for each in history(read_metrics(self._folder / "metrics.jsonl")) if _counts(each)]
        elif _counts(event):
            self._judged.append(event)
        if isinstance(event, Started):
            self._num_updates = event.num_updates
            display.say(_start_line(event))
        elif isinstance(event, Progress):
            display.show(_rows(event, self._judged, self._num_updates), share=event.updates / self._num_updates)
        elif isinstance(event, RandomPlayed):
            display.say(_random_line(event))
        elif isinstance(event, Evaluated):
            display.say(_evaluation_line(event, self._judged))
        elif isinstance(event, Noted):
            display.say(event.message)
        elif isinstance(event, Finished):
            done = f"{event.updates:,} updates, {event.steps:,} steps"
            display.say(f"{event.reason} after {duration(event.seconds)}: {done}")


def _counts(event: Event) -> bool:
    return isinstance(event, Started | RandomPlayed | Evaluated)


def _start_line(event: Started) -> str:
    how = f"{event.workers} self-play and {event.reanalyze_workers} reanalyze processes" if event.workers else ""
    how = how or ("offline" if event.offline else "one process")
    if event.learner_threads > 1:
        how += f", a learner of {event.learner_threads} threads"
    at = f"; goes on at update {event.resumed_at:,}" if event.resumed_at is not None else ""
    disk = f"{event.disk_mb:,} MB" if event.disk_mb else "no limit"
    size = f"{event.num_parameters:,} parameters, {event.num_updates:,} updates"
    return (
        f"{event.game}: {size}, seed {event.seed}, {how}{at}\n"
        f"memory: up to {event.window_mb:,.0f} MB for a window of {event.window_slots:,} positions, "
        f"{event.running_mb:,.0f} MB for episodes under way{_pieces(event)}, {event.trees_mb:,.0f} MB for trees; "
        f"disk: {disk}"
    )


def _pieces(event: Started) -> str:
    if event.most_steps is None:
        return ""
    return f" (in pieces of {event.most_steps:,} steps where they are longer: replay.memory_mb)"


def _rows(event: Progress, events: Sequence[Event], num_updates: int) -> dict[str, str]:
    losses = " ".join(f"{name} {value:.3g}" for name, value in event.losses.items() if name != "learning_rate")
    ratio = "" if event.samples_per_step is None else f", {event.samples_per_step:.1f} samples each"
    to_go = f", {duration(event.eta_seconds)} to go" if event.updates else ""
    rows = {
        "updates": f"{event.updates:,} of {num_updates:,} ({event.updates_per_second:.0f}/s)",
        "steps": f"{event.steps:,} ({event.steps_per_second:.0f}/s{ratio})",
        "episodes": f"{event.games:,}",
        "losses": losses or "none yet",
        "at work": " ".join(f"{role} {100 * share:.0f} %" for role, share in event.busy.items()),
        "memory": " ".join(f"{role} {size:.0f} MB" for role, size in event.memory_mb.items()),
        "time": duration(event.seconds) + to_go,
    }
    if event.reanalyzed:
        rows["searched again"] = f"{event.reanalyzed:,} positions ({event.reanalyzed_per_sample:.2f} a sample)"
    ages = {"targets": event.target_age, "weights": event.weights_age}
    if known := {name: age for name, age in ages.items() if age is not None}:
        rows["age in updates"] = " ".join(f"{name} {age:.0f}" for name, age in known.items())
    if event.mean_return is not None:
        rows["return in training"] = number(event.mean_return)
    if event.mean_length is not None:
        rows["length"] = f"{event.mean_length:.1f}"
    if any(isinstance(each, Evaluated) for each in events):
        rows["agent"] = run_verdict(events).sentence
    return rows


def _random_line(event: RandomPlayed) -> str:
    return f"for comparison, a random policy: {score_line(event.scores)}"


def _evaluation_line(event: Evaluated, events: Sequence[Event]) -> str:
    at = f"evaluation after {event.updates:,} updates, {event.steps:,} steps"
    return f"{at}: {run_verdict(events).sentence} ({score_line(event.scores)})"
