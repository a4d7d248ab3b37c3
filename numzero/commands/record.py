"""`record`: a film of an agent at play.

Knows the options and what is printed; `api` plays and writes.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from numzero import api
from numzero.commands.display import echo
from numzero.commands.environment import env_arg_option
from numzero.commands.trust import takes_trust
from numzero.games import Trust
from numzero.runtime.family import no_orphans
from numzero.training.config import arguments_of

__all__ = ["record"]


@click.command()
@click.argument("agent", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The film: .gif, or .mp4 (needs moviepy).")
@click.option("--episodes", type=click.IntRange(1, 100), default=1, show_default=True, help="One after the other.")
@click.option("--max-steps", type=click.IntRange(1), help="Of each episode; default: as many as the film has room for.")
@click.option("--fps", type=click.FloatRange(0.1, 120), help="Frames a second; default: as the environment means it.")
@click.option("--simulations", type=click.IntRange(min=0), help="Per move; default: the agent's own.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the episodes.")
@takes_trust
@env_arg_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@no_orphans(ends_rest=True)
def record(
    agent: Path,
    out: Path,
    episodes: int,
    max_steps: int | None,
    fps: float | None,
    simulations: int | None,
    seed: int,
    trust: Trust,
    env_args: tuple[str, ...],
    as_json: bool,
) -> None:
    """Film the AGENT in a folder (or a run's newest agent) at play.

    An environment draws itself, by its own render(); a game that draws no pictures is filmed as its lines of text.

    \b
    Example:
      python cli.py record models/cartpole --out cartpole.gif
      python cli.py record models/tictactoe --out games.gif --episodes 3 --fps 2
    """
    told = api.record(
        agent,
        out,
        episodes=episodes,
        max_steps=max_steps,
        fps=fps,
        simulations=simulations,
        seed=seed,
        trust=trust,
        game_arguments=arguments_of(env_args),
        on_fault=lambda sentence: echo(sentence, err=True),
    )
    if as_json:
        echo(json.dumps(told))
        return
    returns = ", ".join(f"{each:g}" for each in told["returns"])
    drawn = "drawn by the environment" if told["drawn"] == "pictures" else "drawn as text: there are no pictures of it"
    echo(f"{told['frames']:,} frames of {told['game']}, {drawn}; returns {returns}. The film is {out}.")
    if told["cut_off"]:
        echo(f"{told['cut_off']} of {episodes} episodes were cut off: see --max-steps.", err=True)
