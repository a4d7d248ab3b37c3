"""`evaluate`: how good an agent is.

Knows options and what is printed; `api` measures.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from numzero import api
from numzero.commands.display import echo
from numzero.commands.environment import env_arg_option
from numzero.commands.trust import takes_trust
from numzero.drawing.words import duration, number, score_line
from numzero.errors import UserError
from numzero.games import Trust
from numzero.judging.evaluate import Progress, scores_only, unfinished_words
from numzero.judging.verdict import beside, cut_alike, interval, sample_of
from numzero.runtime.family import no_orphans
from numzero.training.config import arguments_of

__all__ = ["evaluate"]

OF_GAMES = ("opponent", "games", "seed", "max_steps", "opening_moves", "exhaustive", "env", "trusts")
"""Options that say nothing of positions."""


@click.command()
@click.argument("agent", type=click.Path(path_type=Path))
@click.option(
    "--opponent",
    help="random, exact (of solved games, as tictactoe), mcts:1000 (a tree search of so many simulations by the rules "
    "of a board), backgammon-count (of backgammon), "
    '"gtp:gnugo --mode gtp" (a program that speaks GTP, and its arguments), or an agent\'s folder; '
    "default: random. With one player: random alone, which plays as many episodes beside the agent.",
)
@click.option("--games", type=click.IntRange(min=1), default=100, show_default=True, help="Games or episodes.")
@click.option(
    "--simulations", type=click.IntRange(min=0), help="Per move; 0: the bare policy; default: the agent's own."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides openings and episodes.")
@click.option(
    "--max-steps",
    type=click.IntRange(min=1),
    help="Cut off episodes that have not ended by then; default: the game's longest. Where it names none: 10,000, or "
    "1,000 where training saw none end.",
)
@click.option(
    "--opening-moves",
    type=click.IntRange(min=0),
    help="Random moves at the beginning of each game of two, the same for both colours; default: 2, none against "
    "random and exact play.",
)
@click.option(
    "--positions",
    help="Instead of games: how often the agent's move gives away the outcome, without search and with it, in the sets "
    "of a file that says what each move is worth, or in those that come with numzero: connectfour.",
)
@click.option("--exhaustive", is_flag=True, help="Also judge every position of a solved game, as tictactoe is.")
@takes_trust
@env_arg_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@no_orphans(ends_rest=True)
def evaluate(
    agent: Path,
    opponent: str | None,
    games: int,
    simulations: int | None,
    seed: int,
    max_steps: int | None,
    opening_moves: int | None,
    positions: str | None,
    exhaustive: bool,
    trust: Trust,
    env_args: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure the AGENT in a folder (or a run's newest agent), without noise.

    \b
    Example:
      python cli.py evaluate models/tictactoe --opponent exact --games 1000 --simulations 25
      python cli.py evaluate runs/c4 --opponent mcts:1000
      python cli.py evaluate runs/c4 --positions connectfour --simulations 200
      python cli.py evaluate runs/go --opponent "gtp:gnugo --mode gtp --level 1 --never-resign"
      python cli.py evaluate models/cartpole --games 100 --json
      python cli.py evaluate models/cartpole --opponent random
    """
    if positions is not None:
        _refuse_games()
        _judge_positions(agent, positions, simulations, env_args, as_json=as_json)
        return
    result = api.evaluate(
        agent,
        opponent,
        games=games,
        simulations=simulations,
        seed=seed,
        exhaustive=exhaustive,
        max_steps=max_steps,
        opening_moves=opening_moves,
        trust=trust,
        game_arguments=arguments_of(env_args),
        progress=_progress_line(),
    )
    if "unfinished" in result:
        echo(unfinished_words(result, games) + " See --max-steps.", err=True)
    scores = {name: value for name, value in scores_only(result).items() if not name.startswith(("points", "gain"))}
    chance = scores.pop("random", None)
    if as_json:
        echo(json.dumps(result | ({} if chance is None else _beside_random(scores, chance, games))))
        return
    against = f" against {opponent or 'random'}" if "wins" in scores else ""
    head = f"{result['game']}, {games} games{against}, {result['simulations']} simulations, seed {seed}"
    echo(f"{head}, {duration(result['seconds'])}: {score_line(scores)}{_points_words(result)}")
    if chance is not None:
        echo(f"a random policy, as many episodes: {score_line(chance)}")
        said = _beside_random(scores, chance, games)
        (low, high), (least, most) = said["interval"], said["random_interval"]
        echo(
            f"{said['verdict']}; 95 % intervals of the means: {number(low)} to {number(high)}, "
            f"{number(least)} to {number(most)}"
        )


def _refuse_games() -> None:
    """Refuse options that say how games are played, or which game may be made: positions name a board of our own."""
    context = click.get_current_context()
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in OF_GAMES and context.get_parameter_source(parameter.name) is not ParameterSource.DEFAULT
    ]
    if given:
        raise UserError(
            f"positions are judged without games, so that {', '.join(given)} would change nothing. Leave that out, or "
            "--positions."
        )


def _judge_positions(
    agent: Path, positions: str, simulations: int | None, env_args: tuple[str, ...], *, as_json: bool
) -> None:
    """Print how often the agent's move is a mistake, a line for each set."""
    found = api.mistakes(
        agent,
        positions,
        simulations=simulations,
        game_arguments=arguments_of(env_args),
        progress=_progress_line(),
    )
    if as_json:
        echo(json.dumps(found))
        return
    echo(
        f"{found['game']}, {duration(found['seconds'])}: mistakes in per cent, where another move has a better outcome "
        "under best play; 95 % intervals"
    )
    rows = [("", "positions", *map(_searched, found["sets"][0]["mistakes"]))]
    for each in found["sets"]:
        shares = [_share(count, each["positions"]) for count in each["mistakes"].values()]
        rows.append((each["name"], f"{each['positions']:,}", *shares))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        figures = "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        echo(f"{name:{widths[0]}}  {figures}")


def _searched(simulations: str) -> str:
    return "no search" if simulations == "0" else f"{simulations} simulations"


def _share(found: Mapping[str, Any], positions: int) -> str:
    return f"{found['count'] / positions:.1%} ({found['low']:.1%} to {found['high']:.1%})"


def _beside_random(scores: Mapping[str, Any], chance: Mapping[str, Any], games: int) -> dict[str, Any]:
    """The agent beside a random policy, in figures and in words."""
    agent, other = sample_of(scores, games), sample_of(chance, games)
    verdict = beside(agent, other if cut_alike(scores, chance) else None)
    intervals = {"interval": interval(agent), "random_interval": interval(other)}
    return intervals | {"outcome": verdict.outcome, "verdict": verdict.sentence}


def _points_words(result: Mapping[str, Any]) -> str:
    """The share of points of a match, and what many more games would come to."""
    if "points" not in result:
        return ""
    low, high = result["points_low"], result["points_high"]
    words = f"; {result['points']:.1%} of points, {low:.1%} to {high:.1%} with 95 % confidence"
    if "mean_gain" in result:
        low, high = result["gain_low"], result["gain_high"]
        words += f"; a game brought {result['mean_gain']:.2f}, {low:.2f} to {high:.2f} with 95 % confidence"
    return words


def _progress_line() -> Progress | None:
    """Overwrites one line of a terminal with how far an evaluation is; None where stderr is no terminal."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        end = "\n" if done == total else ""
        print(f"\r{done:,} of {total:,} ", end=end, file=sys.stderr, flush=True)

    return show
