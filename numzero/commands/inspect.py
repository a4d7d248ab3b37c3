"""`inspect`: what an agent's search sees in one position.

Knows options and what is printed; `api` searches and `drawing.trees` renders.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from numzero import api
from numzero.commands.display import echo
from numzero.commands.environment import env_arg_option
from numzero.commands.trust import takes_trust
from numzero.drawing.trees import as_json, as_text, require_drawable, save
from numzero.games import Trust
from numzero.runtime.family import no_orphans
from numzero.text import plain
from numzero.training.config import arguments_of

__all__ = ["inspect"]

DEEPEST = 100
"""Trees are shown by recursion."""


@click.command()
@click.argument("agent", type=click.Path(path_type=Path))
@click.option("--simulations", type=click.IntRange(min=0), help="Search budget; default: the agent's own.")
@click.option("--moves", default="", help="Names of the actions that lead to the position, parted by commas.")
@click.option(
    "--depth", type=click.IntRange(1, DEEPEST), default=3, show_default=True, help="Moves below the root to show."
)
@click.option(
    "--children",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Moves to show in each node, the most visited.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the episode's start.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Also draw the tree into this file: .svg, or .png (needs Pillow)."
)
@takes_trust
@env_arg_option
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object with the nested tree.")
@no_orphans(ends_rest=True)
def inspect(
    agent: Path,
    simulations: int | None,
    moves: str,
    depth: int,
    children: int,
    seed: int,
    out: Path | None,
    trust: Trust,
    env_args: tuple[str, ...],
    as_object: bool,
) -> None:
    """Show what the search of the AGENT in a folder (or of a run's newest agent) sees in one position.

    Each line of the tree is a move: its visits, Q (its worth to who plays it), the network's prior, and the value of
    the position behind it to who moves there, a mean over the visits. The value above the tree is the search's own
    (rule gumbel weighs by its improved policy). Stars mark the line that the search expects; the root also lists moves
    never tried. Nothing is drawn by chance but the episode's start.

    \b
    Example:
      python cli.py inspect models/tictactoe --moves 5,1
      python cli.py inspect models/tictactoe --moves 5,1 --simulations 100 --depth 4 --out tree.svg
      python cli.py inspect models/cartpole --seed 7 --json
    """
    if out is not None:
        require_drawable(out)
    names = [name.strip() for name in moves.split(",")] if moves.strip() else []
    seen = api.inspect(
        agent,
        names,
        simulations=simulations,
        depth=depth,
        children=children,
        seed=seed,
        trust=trust,
        game_arguments=arguments_of(env_args),
    )
    if out is not None:
        save(out, seen.tree, seen.title(), zero_sum=seen.num_players == 2)
    if as_object:
        echo(json.dumps({**seen.found, "tree": as_json(seen.tree)}))
        return
    echo("\n".join([seen.found["board"], "", *map(plain, seen.title()), "", *as_text(seen.tree)]))
    if out is not None:
        echo(f"\nThe picture is in {out}.")
