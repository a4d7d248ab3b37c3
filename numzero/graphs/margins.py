"""How narrowly the search's graph decided, for whoever compares it with another: as nodes.

Knows scores and trees; knows nothing of what makes a score.
"""

from __future__ import annotations

import math

from numzero.graphs.formulas import INT64, Value, where
from numzero.graphs.search_tree import GraphRule, GraphTree, Recalled, Scores, of_nodes

__all__ = ["lead", "narrowest", "without_twins"]


def narrowest(rule: GraphRule, tree: GraphTree, scores: Scores, recalled: Recalled, halving: Value | None) -> Value:
    """The smallest lead of any choice so far, with those that led to what is expanded.

    halving: `[B, E]` the roots' score where it is another one.
    """
    score, graph = scores.score, scores.score.graph
    if halving is not None:
        score = graph.op("ScatterND", score, rule.roots, halving)
    if rule.has_twins:
        keys = tree.prior if halving is None else graph.op("ScatterND", tree.prior, rule.roots, rule.preference)
        score = without_twins(keys, scores.seen, score, tree.twin)
    passed = of_nodes(recalled.passed, tree.own.reshaped([-1])) > 0.0
    leads = where(passed, lead(score), math.inf).reshaped(rule.by_tree).reduced("Min", 0, keep=False)
    return graph.op("Min", tree.margin, leads)


def without_twins(keys: Value, seen: Value, score: Value, twin: Value | None = None) -> Value:
    """`[R, E]` -inf where another edge before it would be taken, however numbers are rounded.

    That is one with the same key, if neither was followed; or with the same candidate and score, since what was found
    behind both is then the same computation.
    """
    graph = score.graph
    fresh = where(seen, math.nan, keys)  # equal to nothing
    same = _pairs(fresh)
    if twin is not None:
        same = graph.op("Or", same, graph.op("And", _pairs(twin), _pairs(score)))
    earlier = graph.op("Trilu", same.cast(INT64), graph.constant(-1), upper=0).reduced("Sum", 2, keep=False)
    return where(earlier > 0, -math.inf, score)


def _pairs(edges: Value) -> Value:
    """`[R, E, E]` which of `[R, E]` are equal."""
    graph = edges.graph
    return graph.op("Unsqueeze", edges, graph.constant([2])).equals(graph.op("Unsqueeze", edges, graph.constant([1])))


def lead(score: Value) -> Value:
    """`[R]` by how much the largest of each row `[R, A]` leads, infinity where there is no rival."""
    graph = score.graph
    nobody = where(score.at([0], axis=1) > -math.inf, -math.inf, -math.inf)
    rivals = graph.op("Concat", score, nobody, axis=1)
    best = graph.ops(2, "TopK", rivals, graph.constant([2]), axis=1)[0]
    return best.at(0, axis=1) - best.at(1, axis=1)
