"""`inspect`: what an agent's search sees in one position.

Knows options, the way to a position and how to read a tree out; `tree_picture` renders.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from numzero.commands.display import echo
from numzero.commands.tree_picture import Node, as_json, as_text, lay_out, png, require_pillow, svg
from numzero.commands.trust import load_agent, takes_trust
from numzero.runtime.family import no_orphans
from numzero.text import plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numzero.agent import Agent
    from numzero.games import Game, Trust
    from numzero.search import Tree

__all__ = ["inspect", "read_tree"]

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
    from numzero.games import make_game

    _require_drawable(out)
    loaded = load_agent(agent, trust)
    game = make_game(loaded.info.spec.name, 1)
    try:
        line = _play(game, [name.strip() for name in moves.split(",")] if moves.strip() else [], seed)
        found, tree = _search(loaded, game, simulations, depth, children)
    finally:
        game.close()
    report = {"game": loaded.info.spec.name, "moves": line, "seed": seed, **found}
    title = _title(report, loaded.info.spec.num_players)
    if out is not None:
        _draw(out, tree, title, zero_sum=loaded.info.spec.num_players == 2)
    if as_object:
        echo(json.dumps({**report, "tree": as_json(tree)}))
        return
    echo("\n".join([report["board"], "", *map(plain, title), "", *as_text(tree)]))
    if out is not None:
        echo(f"\nThe picture is in {out}.")


def _require_drawable(out: Path | None) -> None:
    """Refuse, before any work is done, a picture that cannot be drawn."""
    from numzero.errors import UserError

    if out is None:
        return
    if out.suffix.lower() not in (".svg", ".png"):
        raise UserError(f"--out must end in .svg or .png; got {str(out)!r}. Name a picture.")
    if out.suffix.lower() == ".png":
        require_pillow()


def _play(game: Game, moves: Sequence[str], seed: int) -> list[str]:
    """Play `moves` from a reset; returns them.

    Raises:
        UserError: a move is unknown or not legal, or the game is over before the search.
    """
    from numzero.errors import UserError

    game.reset(np.ones(1, np.bool_), np.random.default_rng(seed))
    names = game.spec.action_names
    over = False
    for number, move in enumerate([*moves, None], start=1):
        if over:
            raise UserError(
                f"--moves must lead to a position where a move is left; {game.spec.name} was over after "
                f"{number - 1} of {len(moves)}. Give fewer."
            )
        if move is None:
            break
        legal = game.legal()[0]
        if move not in names or not legal[names.index(move)]:
            raise UserError(
                f"--moves must be legal one after the other; move {number}, {move!r}, is not one of the legal ones in "
                f"{game.spec.name}: {', '.join(np.asarray(names)[legal])}."
            )
        step = game.step(np.array([names.index(move)], np.int32))
        over = bool(step.terminated[0] | step.truncated[0])
    return list(moves)


def _search(
    agent: Agent, game: Game, simulations: int | None, depth: int, children: int
) -> tuple[dict[str, Any], Node]:
    """What the search says of the position, as plain values, and its tree."""
    from numzero.search import principal_variation

    result = agent.search(game.observation(), game.legal(), simulations=simulations)
    line = principal_variation(result.tree, 0, int(result.action[0]))
    names = game.spec.action_names
    found = {
        "board": game.render(0),
        "player": int(game.to_play()[0]),
        "rule": agent.info.search.rule,
        "simulations": result.num_simulations,
        "action": names[line[0]],
        "value": float(result.root_value[0]),
        "principal_variation": [names[action] for action in line],
    }
    return found, read_tree(result.tree, 0, names, line, depth=depth, num_children=children)


def read_tree(
    tree: Tree, row: int, names: Sequence[str], line: Sequence[int], *, depth: int, num_children: int
) -> Node:
    """Tree `row` as nodes to show.

    Args:
        tree: a finished search.
        row: which of its B trees.
        names: `[A]` what the actions are called.
        line: the actions that the search expects, from the root; marked as principal.
        depth: children are shown of nodes fewer than this many edges below the root.
        num_children: of each node at most this many: the most visited, of equals the one on the line, then the lowest
            action. The root's legal actions that were never tried follow by their prior.
    """
    from numzero.search.tree import ROOT, children_index

    index = children_index(tree)[row]  # [N, A]

    def read(node: int, name: str, level: int, principal: bool) -> Node:
        expected = line[level] if principal and level < len(line) else None
        tried, untried = _order(tree, row, node, index[node], expected)
        order = tried + untried
        shown = order[:num_children] if level < depth else []
        children = [
            read(int(index[node, action]), names[action], level + 1, action == expected)
            if action in tried
            else Node(names[action], 0, None, float(tree.children_prior[row, node, action]), None, action == expected)
            for action in shown
        ]
        visits = int(tree.node_visits[row, node])
        return Node(
            name=name,
            visits=visits,
            q=None if node == ROOT else float(tree.q[row, node]),
            prior=None if node == ROOT else float(tree.prior[row, node]),
            value=float(tree.value_sum[row, node]) / visits,
            principal=principal,
            children=tuple(children),
            num_more=len(order) - len(shown),
            more_visits=sum(int(tree.node_visits[row, index[node, a]]) for a in tried[len(shown) :]),
        )

    return read(ROOT, "root", 0, True)


def _order(
    tree: Tree, row: int, node: int, children: NDArray[np.int32], expected: int | None
) -> tuple[list[int], list[int]]:
    """A node's actions as they are shown: those tried, by visits, and at the root those that might have been, by prior.

    `children` `[A]` are the nodes behind its edges; `expected` is the action on the expected line, first of equals.
    """
    from numzero.search.tree import ROOT, UNVISITED

    visits = tree.node_visits[row, children]  # [A]
    prior = tree.children_prior[row, node]  # [A]
    tried = np.flatnonzero(children != UNVISITED).tolist()
    untried = np.flatnonzero(tree.root_legal[row] & (children == UNVISITED)).tolist() if node == ROOT else []
    return (
        sorted(tried, key=lambda action: (-visits[action], action != expected, action)),
        sorted(untried, key=lambda action: (-prior[action], action != expected, action)),
    )


def _title(report: dict[str, Any], num_players: int) -> list[str]:
    """What was searched, and what came of it."""
    after = f" after {', '.join(report['moves'])}" if report["moves"] else ""
    mover = f"player {report['player'] + 1} to move, " if num_players == 2 else ""
    plural = "" if report["simulations"] == 1 else "s"
    return [
        f"{report['game']}{after}: {mover}{report['simulations']} simulation{plural} by rule {report['rule']}, "
        f"seed {report['seed']}",
        f"value {report['value']:+.3f}; expects {' '.join(report['principal_variation'])}",
    ]


def _draw(out: Path, tree: Node, title: Sequence[str], *, zero_sum: bool) -> None:
    """Write the picture; its suffix has been checked."""
    from numzero.errors import UserError
    from numzero.files import write_file

    picture = lay_out(tree, title, zero_sum=zero_sum)
    content = png(picture) if out.suffix.lower() == ".png" else svg(picture)
    try:
        write_file(out, content)
    except OSError as error:
        raise UserError(f"--out must be a file that can be written; got {str(out)!r}: {error.strerror}.") from error
