"""From a finished search to a tree for people.

Knows where a search keeps what is shown of a node; knows nothing of how it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from numzero.drawing.trees import Node
from numzero.search import Tree
from numzero.search.tree import ROOT, UNVISITED, children_index

__all__ = ["read_tree"]


def read_tree(
    tree: Tree,
    row: int,
    names: Sequence[str] | Callable[[int], Sequence[str]],
    line: Sequence[int],
    *,
    depth: int,
    num_children: int,
    outcomes: Sequence[str] = (),
) -> Node:
    """Tree `row` as nodes to show.

    Args:
        tree: a finished search.
        row: which of its B trees.
        names: `[A]` what the actions are called; a function of the node where they have others in each.
        line: what the search expects, from the root, actions and outcomes of chance; marked as principal.
        depth: children are shown of nodes fewer than this many edges below the root.
        num_children: of each node at most this many: the most visited, of equals the one on the line, then the lowest
            action. The root's legal actions that were never tried follow by their prior.
        outcomes: `[C]` what those of chance are called, which decides in nodes of odd depth; nothing where it has no
            say.
    """
    index = children_index(tree)[row]  # [N, A]

    def read(node: int, name: str, level: int, principal: bool) -> Node:
        expected = line[level] if principal and level < len(line) else None
        is_chance = bool(outcomes) and level % 2 == 1
        called = outcomes if is_chance else names(node) if callable(names) else names
        tried, untried = _order(tree, row, node, index[node], expected)
        order = tried + untried
        shown = order[:num_children] if level < depth else []
        children = [
            read(int(index[node, action]), called[action], level + 1, action == expected)
            if action in tried
            else Node(called[action], 0, None, float(tree.children_prior[row, node, action]), None, action == expected)
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
            is_chance=is_chance,
            more_visits=sum(int(tree.node_visits[row, index[node, a]]) for a in tried[len(shown) :]),
        )

    return read(ROOT, "root", 0, True)


def _order(
    tree: Tree, row: int, node: int, children: NDArray[np.int32], expected: int | None
) -> tuple[list[int], list[int]]:
    """A node's actions as they are shown: those tried, by visits, and at the root those that might have been, by prior.

    `children` `[A]` are the nodes behind its edges; `expected` is the action on the expected line, first of equals.
    """
    visits = tree.node_visits[row, children]  # [A]
    prior = tree.children_prior[row, node]  # [A]
    tried = np.flatnonzero(children != UNVISITED).tolist()
    untried = np.flatnonzero(tree.root_legal[row] & (children == UNVISITED)).tolist() if node == ROOT else []
    return (
        sorted(tried, key=lambda action: (-visits[action], action != expected, action)),
        sorted(untried, key=lambda action: (-prior[action], action != expected, action)),
    )
