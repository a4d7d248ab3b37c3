"""What the search's graph keeps and notices: its rule, trees, scores, edges, as the values of nodes to be.

Knows shapes and meanings; knows nothing of how anything is computed. Node i of tree b has the number i B + b.
"""

from __future__ import annotations

from typing import NamedTuple

from numzero.graphs.formulas import Value
from numzero.search import SearchConfig

__all__ = ["Edge", "GraphRule", "GraphTree", "Recalled", "Scores", "of_nodes", "of_roots"]


class GraphRule(NamedTuple):
    """How actions are chosen, and what stays as it is through all S simulations of N = S + 1 nodes."""

    config: SearchConfig
    kind: int
    """`PAPER`, `PARENT_SIBLINGS` or `GUMBEL`."""
    discount: float
    """Of every edge, unless the network tells each one's."""
    num_actions: int
    """A."""
    num_outcomes: int
    """C, the edges of nodes of odd depth; 0: all nodes decide."""
    latent_rank: int
    """Dimensions of a batch of hidden states."""
    has_twins: bool
    """Whether edges may be alike to the last bit until they are followed, as candidates are: no narrow choice."""
    batch_size: Value
    """int64 B."""
    is_single: Value
    """Whether B is 1."""
    trees: Value
    """`[B]` int64 0, 1, 2, ..., the roots' numbers."""
    roots: Value
    """`[B, 1]` the same."""
    by_tree: Value
    """The shape `[n, B]` of one number for each node."""
    by_edge: Value
    """The shape `[n, B, E]`."""
    nodes: Value
    """`[N, B]` int64 all numbers that nodes can have."""
    is_root: Value
    """`[N, B]` 1 of the first row, else 0."""
    preference: Value
    """`[B, E]` the order in which root actions are first tried; -inf where illegal."""
    exploration: Value
    """`[N + 1]` sqrt(n) * (c1 + log((n + c2 + 1) / c2)) for a node of n visits."""
    due: Value
    """`[S, B, 1]` visits that an action must have to be tried in each simulation."""

    @property
    def num_edges(self) -> int:
        """E, the most that a node has: A, or C where that is more."""
        return max(self.num_actions, self.num_outcomes)


class GraphTree(NamedTuple):
    """Trees of n nodes each while they grow; the node expanded in simulation i is node i + 1 of its tree.

    A matrix of nodes grows by B rows with each simulation, what is `[N, B]` has room for all. A simulation that ends at
    the depth limit leaves its row unused.
    """

    own: Value
    """`[n B, 1]` int64 each node's number."""
    child: Value
    """`[n B, E]` int64 node behind each edge; the node's own number where the edge was never followed."""
    prior: Value
    """`[n B, E]` P(s, a); -inf where there is no such edge, and of pUCT where it is illegal."""
    log_prior: Value | None
    """`[n B, E]` log P(s, a), -inf where illegal; rule `gumbel` only."""
    raw_value: Value | None
    """`[n B, 1]` the network's own value; rule `gumbel` only."""
    visits: Value
    """`[N, B]` N(s), 0 of a node that is not there."""
    value_sum: Value
    """`[N, B]` sum of all values backed up through the node."""
    reward: Value
    """`[N, B]` reward of the edge into the node."""
    discount: Value | None
    """`[N, B]` discount of the edge into the node; where the network tells it."""
    q: Value
    """`[N, B]` Q of the edge into the node; means nothing at the root."""
    depth: Value | None
    """`[n B]` int64 edges from the root; where there is a depth limit, or chance."""
    low: Value | None
    """`[1, B]` the smallest Q seen on any edge; where Q is scaled by the whole tree's."""
    high: Value | None
    """`[1, B]` the largest."""
    twin: Value | None
    """`[n B, E]` int64 the first edge whose candidate is the same; of vectors of choices, with a margin."""
    margin: Value | None
    """`[B]` the smallest lead of any choice so far; where it is asked for."""
    paths: Value
    """Sequence, per simulation `[3 N, B]`: for each node on the way from the root to the new one 1, the reward
    collected from there to it, and the product of the discounts; 0 for other nodes."""
    latents: Value
    """Sequence, per simulation the new nodes' hidden states."""


class Scores(NamedTuple):
    """What the search thinks of all edges, `[n B, E]`."""

    seen: Value
    """Which edges were followed."""
    visits: Value
    """N(s, a)."""
    q: Value
    """Q(s, a); means nothing where the edge was never followed."""
    score: Value
    """The largest of a row is followed, except at the root of rule `gumbel`."""
    boost: Value
    """What Q adds: scaled to [0, 1] in pUCT, sigma(completed Q) in rule `gumbel`."""
    value: Value
    """`[n B, 1]` what the search makes of each node's value: the mean, or the improved policy's completed Q."""


class Edge(NamedTuple):
    """What a simulation expands in each tree."""

    parent: Value
    """`[B, 1]` int64."""
    action: Value
    """`[B, 1]` int64."""
    node: Value
    """`[1, B]` int64 the number of the node behind it."""


class Recalled(NamedTuple):
    """What was noted of the parents when they were new."""

    latent: Value
    """`[B, ...]` hidden states."""
    passed: Value
    """`[N, B]` 1 of a parent and of those above it."""
    collected: Value
    """`[N, B]` reward from there to the parent."""
    factor: Value
    """`[N, B]` product of the discounts from there to the parent."""


def of_nodes(column: Value, nodes: Value) -> Value:
    """What `column` `[N, B]` has of nodes, by their numbers."""
    return column.reshaped([-1]).at(nodes)


def of_roots(rule: GraphRule, rows: Value) -> Value:
    """The first B rows of what all nodes have."""
    return rows.at(rule.trees)
