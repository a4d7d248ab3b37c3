"""The search tree: B trees as arrays, allocated once.

Knows the layout, the node numbers, the sentinels and how to read a finished tree out. Knows nothing of how a tree grows
(`kernels.py`) nor why (`rules.py`).

An edge is the node behind it: what belongs to an edge (action, prior, visits, Q) is stored with the node it leads to,
and a node's children form a chain. Actions never tried cost nothing but their prior: selection looks at the children
there are and at one more, the best of the untried (`next_action`), however many actions there be.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["EXHAUSTED", "NO_PARENT", "ROOT", "UNOPENED", "UNVISITED", "Tree", "allocate", "check_invariants"]
__all__ += ["children_index", "children_q", "children_visits", "memory_bytes", "node_bytes", "node_values"]
__all__ += ["principal_variation", "root_values"]

ROOT = 0
"""Node number of the root."""
UNVISITED = -1
"""No such node: the end of a chain of children, or an edge that has not been followed yet.

Kernels go on while a node is `> UNVISITED`, and up while it is `> ROOT`: LLVM then knows that its number is not
negative, and leaves out what Numba does for negative indices, a tenth to a fifth of the tree's time."""
NO_PARENT = -1
"""In `parent` and `action_from_parent` of the root."""
EXHAUSTED = -1
"""In `next_action`: every action has been tried."""
UNOPENED = -2
"""In `next_action`: the search has not passed through this node yet."""


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
    first_child: NDArray[np.int32]
    """`[B, N]` the newest child, `UNVISITED` if there is none."""
    next_sibling: NDArray[np.int32]
    """`[B, N]` the child of the same parent that was expanded before this one, `UNVISITED` for the first."""
    next_action: NDArray[np.int32]
    """`[B, N]` of the actions not tried yet the one to be tried first: the highest prior (at a root
    of rule `gumbel` the highest `root_preference`), the lowest of equals; `EXHAUSTED` or `UNOPENED`."""
    node_visits: NDArray[np.int32]
    """`[B, N]` evaluations of the node itself and of all below it: N(s), 1 when just expanded. Also N(s, a) of
    the edge into the node."""
    value_sum: NDArray[np.float64]
    """`[B, N]` sum of all values backed up through the node, its own network value included; the player to move's
    view."""
    raw_value: NDArray[np.float32]
    """`[B, N]` the network's own value of the node."""
    reward: NDArray[np.float32]
    """`[B, N]` reward of the edge into the node, seen from the player who moved."""
    discount: NDArray[np.float32]
    """`[B, N]` discount of the edge into the node: gamma, -gamma where the turn passed, 0 at an end."""
    prior: NDArray[np.float32]
    """`[B, N]` P(s, a) of the edge into the node."""
    q: NDArray[np.float64]
    """`[B, N]` Q(s, a) = reward + discount * value of the node, of the edge into it; 0 at the root."""
    children_prior: NDArray[np.float32]
    """`[B, N, A]` prior probabilities P(s, a); where afterstates have C edges `[B, N, max(A, C)]`, -inf of an edge that
    a node below the root does not have. Of an `UNOPENED` node still its raw logits: the softmax is paid when a search
    first passes through (many leaves never need it)."""
    q_bounds: NDArray[np.float64]
    """`[B, 2]` the smallest and the largest Q seen on any backed-up edge of the tree during this search."""
    root_legal: NDArray[np.bool_]
    """`[B, A]` which actions are legal at the root."""
    root_preference: NDArray[np.float64]
    """`[B, A]` the order in which root actions are first tried: the prior, or in rule `gumbel` noise plus logit
    (largest legal logit 0); -inf where illegal."""
    latent: NDArray[np.float32]
    """`[B, N, H]` hidden state of each node, flattened."""


def allocate(batch_size: int, num_nodes: int, num_actions: int, latent_size: int) -> Tree:
    """Arrays for `batch_size` trees of at most `num_nodes` nodes (one more than the simulations of a search)."""
    nodes = (batch_size, num_nodes)
    return Tree(
        num_nodes=np.zeros(batch_size, np.int32),
        parent=np.full(nodes, NO_PARENT, np.int32),
        action_from_parent=np.full(nodes, NO_PARENT, np.int32),
        first_child=np.full(nodes, UNVISITED, np.int32),
        next_sibling=np.full(nodes, UNVISITED, np.int32),
        next_action=np.full(nodes, UNOPENED, np.int32),
        node_visits=np.zeros(nodes, np.int32),
        value_sum=np.zeros(nodes),
        raw_value=np.zeros(nodes, np.float32),
        reward=np.zeros(nodes, np.float32),
        discount=np.zeros(nodes, np.float32),
        prior=np.zeros(nodes, np.float32),
        q=np.zeros(nodes),
        children_prior=np.zeros((*nodes, num_actions), np.float32),
        q_bounds=np.zeros((batch_size, 2)),
        root_legal=np.ones((batch_size, num_actions), np.bool_),
        root_preference=np.zeros((batch_size, num_actions)),
        latent=np.zeros((*nodes, latent_size), np.float32),
    )


def memory_bytes(tree: Tree) -> int:
    """Bytes that the arrays of all B trees hold."""
    return sum(array.nbytes for array in tree)


def node_bytes(num_actions: int, latent_size: int) -> int:
    """Bytes that one node more takes in one tree."""
    one, two = (memory_bytes(allocate(1, num_nodes, num_actions, latent_size)) for num_nodes in (1, 2))
    return two - one


def node_values(tree: Tree) -> NDArray[np.float64]:
    """`[B, N]` v(s): the mean of all values backed up through each node; 0 for a node that does not exist."""
    return np.where(_exists(tree), tree.value_sum / np.maximum(tree.node_visits, 1), 0.0)


def root_values(tree: Tree) -> NDArray[np.float32]:
    """`[B]` v(root): the mean over the network's own value and every simulation."""
    return (tree.value_sum[:, ROOT] / tree.node_visits[:, ROOT]).astype(np.float32)


def children_index(tree: Tree, num_parents: int | None = None) -> NDArray[np.int32]:
    """`[B, N, A]` node behind each edge or `UNVISITED`; only of the first `num_parents` nodes if that is given."""
    shape = (tree.children_prior.shape[0], num_parents or tree.parent.shape[1], tree.children_prior.shape[2])
    index = np.full(shape, UNVISITED, np.int32)
    row, node = np.nonzero(_exists(tree) & (tree.parent >= ROOT) & (tree.parent < shape[1]))
    index[row, tree.parent[row, node], tree.action_from_parent[row, node]] = node
    return index


def children_visits(tree: Tree, num_parents: int | None = None) -> NDArray[np.int32]:
    """`[B, N, A]` N(s, a) of each edge; only of the first `num_parents` nodes if that is given."""
    index = children_index(tree, num_parents)
    rows = np.arange(len(index))[:, None, None]
    return np.where(index == UNVISITED, 0, tree.node_visits[rows, index]).astype(np.int32)


def children_q(tree: Tree, num_parents: int | None = None) -> NDArray[np.float64]:
    """`[B, N, A]` Q(s, a) of each edge, NaN where unvisited; only of the first `num_parents` nodes if that is given."""
    index = children_index(tree, num_parents)
    rows = np.arange(len(index))[:, None, None]
    return np.where(index == UNVISITED, np.nan, tree.q[rows, index])


def principal_variation(tree: Tree, row: int, first_action: int | None = None) -> list[int]:
    """The most visited line of tree `row`, from the root (ties: lowest action), or from `first_action` at the root."""
    line: list[int] = []
    node = ROOT
    while children := _children(tree, row, node):
        if first_action is not None and not line:
            children = [child for child in children if tree.action_from_parent[row, child] == first_action]
            if not children:
                break
        node = min(children, key=lambda n: (-int(tree.node_visits[row, n]), int(tree.action_from_parent[row, n])))
        line.append(int(tree.action_from_parent[row, node]))
    return line if line or first_action is None else [first_action]


def _exists(tree: Tree) -> NDArray[np.bool_]:
    """`[B, N]` which nodes there are."""
    return np.arange(tree.parent.shape[1]) < tree.num_nodes[:, None]


def _children(tree: Tree, row: int, node: int) -> list[int]:
    """The chain of a node's children, newest first."""
    chain: list[int] = []
    child = int(tree.first_child[row, node])
    while child != UNVISITED and len(chain) <= tree.children_prior.shape[2]:
        chain.append(child)
        child = int(tree.next_sibling[row, child])
    return chain


def check_invariants(tree: Tree) -> None:
    """Raise `AssertionError`, naming tree and node, unless every tree is consistent. Slow: for tests and debugging."""
    for row in range(tree.parent.shape[0]):
        count = int(tree.num_nodes[row])
        assert 1 <= count <= tree.parent.shape[1], f"tree {row}: num_nodes {count}"
        assert tree.parent[row, ROOT] == NO_PARENT, f"tree {row}: the root has a parent"
        chained = sorted(child for node in range(count) for child in _children(tree, row, node))
        assert chained == list(range(1, count)), f"tree {row}: the chains of children hold {chained}"
        for node in range(count):
            _check_node(tree, row, node)
        tried = [int(tree.action_from_parent[row, child]) for child in _children(tree, row, ROOT)]
        assert tree.root_legal[row, tried].all(), f"tree {row}: illegal root visits"


def _check_node(tree: Tree, row: int, node: int) -> None:
    where = f"tree {row}, node {node}"
    children = _children(tree, row, node)
    actions = [int(tree.action_from_parent[row, child]) for child in children]
    assert len(set(actions)) == len(actions), f"{where}: two children of one action"
    for child, action in zip(children, actions, strict=True):
        assert tree.parent[row, child] == node < child, f"{where}: child {child} is not its own or precedes it"
        assert tree.prior[row, child] == tree.children_prior[row, node, action], f"{where}: prior of action {action}"
    below = sum(int(tree.node_visits[row, child]) for child in children)
    assert tree.node_visits[row, node] >= 1 + below, f"{where}: {tree.node_visits[row, node]} visits, {below} below"
    _check_next_action(tree, row, node, actions, where)
    _check_values(tree, row, node, children, where)


def _check_next_action(tree: Tree, row: int, node: int, tried: list[int], where: str) -> None:
    if tree.next_action[row, node] == UNOPENED:
        assert not tried, f"{where}: children of an unopened node"
        return
    preference = (tree.root_preference[row] if node == ROOT else tree.children_prior[row, node]).astype(np.float64)
    preference[tried] = -np.inf
    best = int(preference.argmax()) if (preference > -np.inf).any() else EXHAUSTED
    assert tree.next_action[row, node] == best, f"{where}: next_action {tree.next_action[row, node]}, best is {best}"


def _check_values(tree: Tree, row: int, node: int, children: list[int], where: str) -> None:
    low, high = tree.q_bounds[row]
    own = tree.node_visits[row, node] - sum(tree.node_visits[row, child] for child in children)
    total = float(tree.raw_value[row, node]) * int(own)
    for child in children:
        mean = tree.value_sum[row, child] / tree.node_visits[row, child]
        q = float(tree.reward[row, child]) + float(tree.discount[row, child]) * mean
        assert np.isclose(q, tree.q[row, child], rtol=1e-9, atol=1e-9), f"{where}: Q of child {child}"
        assert low <= tree.q[row, child] <= high, f"{where}: Q of child {child} outside the bounds"
        total += q * int(tree.node_visits[row, child])
    assert np.isclose(total, tree.value_sum[row, node], rtol=1e-6, atol=1e-6), f"{where}: not the mean of its values"
