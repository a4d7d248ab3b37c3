"""`selfplay`: many processes play an agent's games and store them.

Knows the options and what the display says; `api` makes the session, which does the work.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from numzero import api
from numzero.commands.display import StatusDisplay, echo
from numzero.commands.environment import env_arg_option
from numzero.commands.trust import trust_option
from numzero.drawing.words import duration, number
from numzero.runtime.family import no_orphans
from numzero.training.config import MOST_WORKERS, arguments_of
from numzero.training.play_many import SelfPlaySession, SelfPlayTotals

__all__ = ["selfplay"]

RATED_AFTER_SECONDS = 1.0
"""What the first moments have per second says nothing."""


@click.command()
@click.option("--workers", type=click.IntRange(1, MOST_WORKERS), default=None, help="Processes; default one per core.")
@click.option(
    "--env", "game", help="tictactoe, a gymnasium id, or module:Class; an --agent must play it; default: what it plays."
)
@trust_option
@env_arg_option
@click.option(
    "--agent", "agent_folder", type=click.Path(path_type=Path), help="Agent or run; default: the shipped one."
)
@click.option("--simulations", type=click.IntRange(min=0), help="Per move; default: the agent's own.")
@click.option(
    "--batch",
    "batch_size",
    type=click.IntRange(1, 65536),
    default=64,
    show_default=True,
    help="Games in lockstep per process.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("selfplay"),
    show_default=True,
    help="Folder of the games.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), help="Decides all that is drawn; default: a new one, which is shown."
)
@click.option("--games", type=click.IntRange(min=1), help="End after so many finished games.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="End after so many minutes.")
@click.option("--json", "as_json", is_flag=True, help="Print the totals as one JSON object.")
@no_orphans(ends_rest=True)
def selfplay(
    workers: int | None,
    game: str | None,
    trusts: bool,
    env_args: tuple[str, ...],
    agent_folder: Path | None,
    simulations: int | None,
    batch_size: int,
    out: Path,
    seed: int | None,
    games: int | None,
    minutes: float | None,
    as_json: bool,
) -> None:
    """Play games with an agent in many processes, until ^C, and store every finished one.

    Without --agent and --env it plays tic-tac-toe with the agent that ships. The games are in OUT/replay.sqlite; a
    second run adds to them.

    \b
    Example:
      python cli.py selfplay --workers 16
      python cli.py selfplay --env CartPole-v1 --games 100 --out cartpole-games
    """
    session = api.prepare_selfplay(
        out,
        agent_folder,
        game=game,
        trust=trusts,
        game_arguments=arguments_of(env_args),
        workers=workers,
        simulations=simulations,
        batch_size=batch_size,
        seed=seed,
        games=games,
    )
    task = session.task
    plural = "" if session.workers == 1 else "es"
    title = (
        f"self-play: {task.game}, {session.workers} process{plural}, {task.search.num_simulations} simulations, "
        f"seed {session.seed}"
    )
    with StatusDisplay(title, quiet=as_json) as display:
        display.say(title)
        totals = session.run(minutes=minutes, show=lambda so_far: display.show(_rows(so_far)), say=display.say)
        display.show(_rows(totals), now=True)
    if as_json:
        echo(json.dumps(_summary(session)))
    else:
        echo(f"{session.num_stored:,} games of {task.game} stored in {session.store} (seed {session.seed})")


def _rows(totals: SelfPlayTotals) -> dict[str, str]:
    mean, is_early = totals.mean_return(), totals.seconds < RATED_AFTER_SECONDS
    rates = {name: "" if is_early else f" ({rate:,.1f}/s)" for name, rate in totals.rates().items()}
    return {
        "games": f"{totals.games:,}{rates['games_per_second']}",
        "moves": f"{totals.steps:,}{rates['moves_per_second']}",
        "simulations": f"{totals.simulations:,}{rates['simulations_per_second']}",
        "mean return": "-" if mean is None else number(mean),
        "time": duration(totals.seconds),
    }


def _summary(session: SelfPlaySession) -> dict[str, Any]:
    totals = session.totals
    return {
        "game": session.task.game,
        "workers": session.workers,
        "simulations": session.task.search.num_simulations,
        "seed": session.seed,
        "games": totals.games,
        "moves": totals.steps,
        "seconds": totals.seconds,
        **totals.rates(),
        "mean_return": totals.mean_return(),
        "stored": session.num_stored,
        "store": str(session.store),
    }
