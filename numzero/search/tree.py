"""The search tree: B trees as arrays, allocated once.

Knows the layout, the node numbers, the sentinels and how to read a finished tree out. Knows nothing of how a tree grows
(`kernels.py`) nor why (`policies.py`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_PARENT", "ROOT", "UNVISITED", "Tree", "allocate", "check_invariants", "memory_bytes", "node_values"]
__all__ += ["principal_variation", "root_q_values", "root_values"]

ROOT = 0
"""Node number of the root."""
UNVISITED = -1
"""In `children_index`: this edge has not been followed yet."""
NO_PARENT = -1
"""In `parent` and `action_from_parent` of the root."""


class Tree(NamedTuple):
    """B search trees of up to N nodes and A actions. The node expanded in simulation i is node i + 1.

    Rows of nodes at or beyond `num_nodes` are left over from earlier searches and mean nothing.
    """

    num_nodes: NDArray[np.int32]
    """`[B]` how many nodes exist."""
    parent: NDArray[np.int32]
    """`[B, N]` parent's number, `NO_PARENT` at the root."""
    action_from_parent: NDArray[np.int32]
    """`[B, N]` action that leads here from the parent, `NO_PARENT` at the root."""
    node_visits: NDArray[np.int32]
    """`[B, N]` evaluations of the node itself and of all below it: N(s), 1 when just expanded."""
    value_sum: NDArray[np.float64]
    """`[B, N]` sum of all values backed up through the node, its own network value included; the player to move's
    view."""
    raw_value: NDArray[np.float32]
    """`[B, N]` the network's own value of the node."""
    reward: NDArray[np.float32]
    """`[B, N]` reward of the edge into the node, seen from the player who moved."""
    discount: NDArray[np.float32]
    """`[B, N]` discount of the edge into the node: gamma, -gamma where the turn passed, 0 at an end."""
    children_index: NDArray[np.int32]
    """`[B, N, A]` node behind each edge or `UNVISITED`."""
    children_visits: NDArray[np.int32]
    """`[B, N, A]` how often each edge was followed."""
    children_q: NDArray[np.float64]
    """`[B, N, A]` Q(s, a) = reward + discount * value of the child, for a visited edge; 0 for an unvisited one."""
    children_prior: NDArray[np.float32]
    """`[B, N, A]` prior probabilities P(s, a). Of a node seen once and never searched below, still its raw logits: the
    softmax is paid when a search first passes through (most leaves never need it)."""
    q_bounds: NDArray[np.float64]
    """`[B, 2]` the smallest and the largest Q seen on any backed-up edge of the tree during this search."""
    root_legal: NDArray[np.bool_]
    """`[B, A]` which actions are legal at the root."""
    root_score: NDArray[np.float64]
    """`[B, A]` Gumbel noise plus logits of the root (largest legal logit 0), -inf where illegal; rule `gumbel` only."""
    latent: NDArray[np.float32]
    """`[B, N, H]` hidden state of each node, flattened."""


def allocate(batch_size: int, num_nodes: int, num_actions: int, latent_size: int) -> Tree:
    """Arrays for `batch_size` trees of at most `num_nodes` nodes (one more than the simulations of a search)."""
    b, n, a = batch_size, num_nodes, num_actions
    return Tree(
        num_nodes=np.zeros(b, np.int32),
        parent=np.full((b, n), NO_PARENT, np.int32),
        action_from_parent=np.full((b, n), NO_PARENT, np.int32),
        node_visits=np.zeros((b, n), np.int32),
        value_sum=np.zeros((b, n)),
        raw_value=np.zeros((b, n), np.float32),
        reward=np.zeros((b, n), np.float32),
        discount=np.zeros((b, n), np.float32),
        children_index=np.full((b, n, a), UNVISITED, np.int32),
        children_visits=np.zeros((b, n, a), np.int32),
        children_q=np.zeros((b, n, a)),
        children_prior=np.zeros((b, n, a), np.float32),
        q_bounds=np.zeros((b, 2)),
        root_legal=np.ones((b, a), np.bool_),
        root_score=np.zeros((b, a)),
        latent=np.zeros((b, n, latent_size), np.float32),
    )


def memory_bytes(tree: Tree) -> int:
    """Bytes that the arrays of all B trees hold."""
    return sum(array.nbytes for array in tree)


def node_values(tree: Tree) -> NDArray[np.float64]:
    """`[B, N]` v(s): the mean of all values backed up through each node; 0 for a node that does not exist."""
    exists = np.arange(tree.parent.shape[1]) < tree.num_nodes[:, None]
    return np.where(exists, tree.value_sum / np.maximum(tree.node_visits, 1), 0.0)


def root_values(tree: Tree) -> NDArray[np.float32]:
    """`[B]` v(root): the mean over the network's own value and every simulation."""
    return (tree.value_sum[:, ROOT] / tree.node_visits[:, ROOT]).astype(np.float32)


def root_q_values(tree: Tree) -> NDArray[np.float32]:
    """`[B, A]` Q of each root action, NaN where it was never followed."""
    visited = tree.children_visits[:, ROOT] > 0
    return np.where(visited, tree.children_q[:, ROOT], np.nan).astype(np.float32)


def principal_variation(tree: Tree, row: int, first_action: int | None = None) -> list[int]:
    """The most visited line of tree `row`, from the root (ties: lowest action), or from `first_action` at the root."""
    line: list[int] = []
    node, action = ROOT, first_action
    while True:
        visits = tree.children_visits[row, node]
        if action is None:
            if not visits.any():
                return line
            action = int(visits.argmax())
        line.append(action)
        node = int(tree.children_index[row, node, action])
        if node == UNVISITED:
            return line
        action = None


def check_invariants(tree: Tree) -> None:
    """Raise `AssertionError`, naming tree and node, unless every tree is consistent. Slow: for tests and debugging."""
    for row in range(tree.parent.shape[0]):
        count = int(tree.num_nodes[row])
        assert 1 <= count <= tree.parent.shape[1], f"tree {row}: num_nodes {count}"
        assert tree.parent[row, ROOT] == NO_PARENT, f"tree {row}: the root has a parent"
        for node in range(count):
            _check_node(tree, row, node)
        assert not tree.children_visits[row, ROOT][~tree.root_legal[row]].any(), f"tree {row}: illegal root visits"


def _check_node(tree: Tree, row: int, node: int) -> None:
    where = f"tree {row}, node {node}"
    visits, edges = int(tree.node_visits[row, node]), tree.children_visits[row, node]
    followed = tree.children_index[row, node] != UNVISITED
    assert (edges[~followed] == 0).all(), f"{where}: visits on an edge without a child"
    assert (edges[followed] > 0).all(), f"{where}: a child whose edge has no visits"
    if node != ROOT:
        parent, action = int(tree.parent[row, node]), int(tree.action_from_parent[row, node])
        assert 0 <= parent < node, f"{where}: parent {parent} does not precede it"
        assert tree.children_index[row, parent, action] == node, f"{where}: its parent does not point to it"
        assert tree.children_visits[row, parent, action] == visits, f"{where}: edge and node visits differ"
    assert visits >= 1 + edges.sum(), f"{where}: {visits} visits, {edges.sum()} below"
    _check_values(tree, row, node, where)


def _check_values(tree: Tree, row: int, node: int, where: str) -> None:
    children = tree.children_index[row, node]
    low, high = tree.q_bounds[row]
    total = float(tree.raw_value[row, node]) * (
        int(tree.node_visits[row, node]) - tree.children_visits[row, node].sum()
    )
    for action in np.flatnonzero(children != UNVISITED):
        child = children[action]
        mean = tree.value_sum[row, child] / tree.node_visits[row, child]
        q = float(tree.reward[row, child]) + float(tree.discount[row, child]) * mean
        assert np.isclose(q, tree.children_q[row, node, action], rtol=1e-9, atol=1e-9), f"{where}: Q of action {action}"
        assert low <= tree.children_q[row, node, action] <= high, f"{where}: Q of action {action} outside the bounds"
        total += q * tree.children_visits[row, node, action]
    assert np.isclose(total, tree.value_sum[row, node], rtol=1e-6, atol=1e-6), f"{where}: not the mean of its values"
