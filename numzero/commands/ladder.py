"""`ladder`: who is how strong, by everyone's games against everyone.

Knows options and lines; `judging.ladder` plays, rates and writes.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import msgspec

from numzero import api
from numzero.commands.display import echo
from numzero.judging.evaluate import OPENING_MOVES
from numzero.judging.ladder import PAGE, Meeting
from numzero.runtime.family import no_orphans

__all__ = ["ladder"]


@click.command()
@click.argument("contestants", nargs=-1, required=True)
@click.option("--game", required=True, help="A game of two, which all contestants play.")
@click.option("--games", type=click.IntRange(min=2), default=100, show_default=True, help="Of each pair, even.")
@click.option("--simulations", type=click.IntRange(min=0), help="Of agents, per move; default: their own.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides openings.")
@click.option(
    "--opening-moves",
    type=click.IntRange(min=0),
    default=OPENING_MOVES,
    show_default=True,
    help="Random moves at the beginning of each game, the same for both colours and all pairs.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of the ladder; goes on where it was."
)
@click.option("--json", "as_json", is_flag=True, help="Print the ratings and all results as one JSON object.")
@no_orphans(ends_rest=True)
def ladder(
    contestants: tuple[str, ...],
    game: str,
    games: int,
    simulations: int | None,
    seed: int,
    opening_moves: int,
    out: Path,
    as_json: bool,
) -> None:
    """Rate CONTESTANTS: everyone plays everyone, and Elo follows by maximum likelihood, with error bars.

    A contestant is the folder of an agent or a run, or an opponent as `evaluate` names them: random, exact, mcts:1000,
    "gtp:gnugo --mode gtp". Writes games.json, ladder.md and ladder.svg into the folder as games end; a game is played
    once, so that contestants may join and more games be asked for later.

    \b
    Example:
      python cli.py ladder models/tictactoe random exact mcts:50 --game tictactoe --games 20 --out ladders/ttt
      python cli.py ladder runs/c4/agents/000002000 runs/c4 mcts:300 --game connectfour --out ladders/c4
    """
    whole = api.prepare_ladder(
        contestants,
        out,
        game=game,
        games=games,
        simulations=simulations,
        seed=seed,
        opening_moves=opening_moves,
    )

    def report(meeting: Meeting, left: int) -> None:
        if not as_json:
            scores = f"{meeting.wins} won, {meeting.draws} drawn, {meeting.losses} lost"
            echo(f"{meeting.one} against {meeting.other}: {scores} ({left:,} games to go)", err=True)

    try:
        whole.run(report)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Stopped. To go on: the same command again.") from None
    if as_json:
        standings = msgspec.to_builtins(whole.standings())
        echo(json.dumps({"standings": standings, **msgspec.to_builtins(whole.record)}))
    else:
        echo((whole.folder / PAGE).read_text("utf-8"), nl=False)
