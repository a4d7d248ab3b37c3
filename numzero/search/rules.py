"""What an edge is worth: a function for each rule, its formula beside it.

Knows one node of a tree and its children; knows nothing of how trees grow (`kernels.py`). `choose_at_root` and `choose`
are the only places where rules are told apart; where chance decides, all of them follow `chance_choice`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import search_inline, search_kernel
from numzero.search.tree import EXHAUSTED, ROOT, UNVISITED, Tree

__all__ = ["EPSILON", "GUMBEL", "PAPER", "PARENT_SIBLINGS", "RULES", "TINY", "Rule", "chance_choice", "choose"]
__all__ += ["choose_at_root", "considered_visits", "is_afterstate"]

PAPER = 0
"""pUCT, Q scaled by the bounds of the whole tree (Schrittwieser et al. 2020, appendix B)."""
PARENT_SIBLINGS = 1
"""pUCT, Q scaled by the node's value and its visited children (mctx's muzero_policy)."""
GUMBEL = 2
"""Sequential halving at the root, deterministic improved policy below (Danihelka et al. 2022, section 5)."""
RULES = {"paper": PAPER, "parent_siblings": PARENT_SIBLINGS, "gumbel": GUMBEL}

EPSILON = 1e-8
"""Smallest range that Q values are scaled by."""
TINY = 1.1754944e-38
"""Smallest normal float32: keeps a vanishing prior from dividing zero by zero."""
UNCLEAR = -2
"""No node, nor `UNVISITED`: the whole formula must tell."""
CLEARLY = 1e-9
"""Scores that differ by more are told apart however they are computed; doubles of size 1 err by 1e-15."""
ROUNDING = 1e-14
"""Values that differ by less than so much of their size may be equal where they are computed otherwise."""
LEAST = 2.2250738585072014e-308
"""Smallest normal float64: where all tried actions are worth nothing beside the untried, and the untried have no prior
that float32 could tell from 0."""

Float32Array = NDArray[np.float32]
Int32Array = NDArray[np.int32]


class Rule(NamedTuple):
    """How actions are chosen inside the tree; made by `search.make_rule`."""

    kind: int
    """`PAPER`, `PARENT_SIBLINGS` or `GUMBEL`."""
    exploration: NDArray[np.float64]
    """`[N + 2]` sqrt(n) * (c1 + log((n + c2 + 1) / c2)) for a node of n visits."""
    considered_visits: NDArray[np.int32]
    """`[M + 1, S]` for m considered actions, the visits that an action must have to be tried in simulation s."""
    value_scale: float
    """c_scale of Gumbel MuZero."""
    visit_offset: float
    """c_visit of Gumbel MuZero."""
    tree_wide: bool
    """Gumbel: scale Q by the bounds of the whole tree instead of the node's own."""
    rescale: bool
    """Gumbel: scale Q to [0, 1]; False takes it as it is."""
    lowest_weight: NDArray[np.float64]
    """`[N + 2]` exp(-sigma) of a node whose most visited child has n visits: what a Q scaled to 0 weighs beside 1."""
    num_actions: int
    """A, the edges of a node that decides."""
    num_outcomes: int
    """C, the edges of an afterstate; 0: no node is one, else those of odd depth."""
    max_depth: int
    """Longest path below the root, in edges."""
    initial_bounds: tuple[float, float]
    """What `q_bounds` starts from: known value bounds, or (inf, -inf)."""
    least_range: float
    """The smallest range of Q that is stretched to [0, 1]; `EPSILON` or more."""
    scratch: NDArray[np.float64]
    """`[max(A, C)]` work space of one node."""


def considered_visits(num_considered: int, num_simulations: int) -> list[int]:
    """Visits an action must have to be tried in each simulation of sequential halving.

    Danihelka et al. 2022, algorithm 2, as mctx lays it out: each phase gives the remaining actions equal visits, then
    the better half remains; leftover simulations repeat the last two.
    """
    if num_considered <= 1:
        return list(range(num_simulations))
    num_phases = math.ceil(math.log2(num_considered))
    visits = [0] * num_considered
    sequence: list[int] = []
    remaining = num_considered
    while len(sequence) < num_simulations:
        for _ in range(max(1, num_simulations // (num_phases * remaining))):
            sequence.extend(visits[:remaining])
            for i in range(remaining):
                visits[i] += 1
        remaining = max(2, remaining // 2)
    return sequence[:num_simulations]


@search_inline
def choose_at_root(tree: Tree, rule: Rule, b: int) -> int:
    """The child of the root to be followed, or `UNVISITED` for its `next_action`."""
    return _halving_choice(tree, rule, b) if rule.kind == GUMBEL else _puct_choice(tree, rule, b, ROOT)


@search_inline
def choose(tree: Tree, rule: Rule, b: int, node: int) -> int:
    """The child to be followed from a node below the root that has some, or `UNVISITED` for its `next_action`."""
    return _improved_choice(tree, rule, b, node) if rule.kind == GUMBEL else _puct_choice(tree, rule, b, node)


@search_inline
def is_afterstate(rule: Rule, depth: int) -> bool:
    """Whether chance decides in nodes of this depth (Antonoglou et al. 2022, section 4)."""
    return rule.num_outcomes > 0 and depth % 2 == 1


@search_kernel
def chance_choice(tree: Tree, b: int, node: int) -> int:
    """The child, or `UNVISITED` for `next_action`, of largest P(o) / (1 + N(o)); the lowest outcome of equals.

    Antonoglou et al. 2022, section 4, draws an outcome from P; this follows mctx's stochastic_muzero_policy, whose
    visits approach P without a draw.
    """
    best_child = UNVISITED
    best_outcome = tree.next_action[b, node]
    best = -np.inf if best_outcome == EXHAUSTED else np.float64(tree.children_prior[b, node, best_outcome])
    child = tree.first_child[b, node]
    while child > UNVISITED:
        score = np.float64(tree.prior[b, child]) / (1 + tree.node_visits[b, child])
        outcome = tree.action_from_parent[b, child]
        if score > best or (score == best and outcome < best_outcome):
            best, best_child, best_outcome = score, child, outcome
        child = tree.next_sibling[b, child]
    return best_child


@search_inline
def _puct_choice(tree: Tree, rule: Rule, b: int, node: int) -> int:
    """The child, or `UNVISITED` for `next_action`, of the largest pUCT score; the lowest action of equals.

    Qn(s,a) + P(s,a) * sqrt(N(s)) / (1 + N(s,a)) * (c1 + log((N(s) + c2 + 1) / c2)),
    Schrittwieser et al. 2020, appendix B, equation 2, in the seed's notation: N(s) counts the node's own evaluation.
    """
    exploration = rule.exploration[tree.node_visits[b, node]]
    low, high = _puct_bounds(tree, rule, b, node)
    scale = 1.0 / max(high - low, rule.least_range)
    best_child = UNVISITED
    best_action = tree.next_action[b, node]
    best = -np.inf if best_action == EXHAUSTED else tree.children_prior[b, node, best_action] * exploration
    child = tree.first_child[b, node]
    while child > UNVISITED:
        score = (tree.q[b, child] - low) * scale + tree.prior[b, child] * exploration / (1 + tree.node_visits[b, child])
        action = tree.action_from_parent[b, child]
        if score > best or (score == best and action < best_action):
            best, best_child, best_action = score, child, action
        child = tree.next_sibling[b, child]
    return best_child


@search_inline
def _puct_bounds(tree: Tree, rule: Rule, b: int, node: int) -> tuple[float, float]:
    """The range that Q is scaled by: of the whole tree, or of the node's own value and its visited children."""
    low, high = tree.q_bounds[b, 0], tree.q_bounds[b, 1]
    if rule.kind == PARENT_SIBLINGS:
        low = tree.value_sum[b, node] / tree.node_visits[b, node]
        high = low
        child = tree.first_child[b, node]
        while child > UNVISITED:
            low, high = min(low, tree.q[b, child]), max(high, tree.q[b, child])
            child = tree.next_sibling[b, child]
    return low, high


@search_inline
def _halving_choice(tree: Tree, rule: Rule, b: int) -> int:
    """Sequential halving: among the root's actions that are due, the largest gumbel + logit + sigma(completed Q)."""
    num_legal = 0
    for a in range(tree.root_legal.shape[1]):
        num_legal += tree.root_legal[b, a]
    row = min(num_legal, rule.considered_visits.shape[0] - 1)
    simulation = min(tree.node_visits[b, ROOT] - 1, rule.considered_visits.shape[1] - 1)
    due = rule.considered_visits[row, simulation]
    if due == 0 and tree.next_action[b, ROOT] != EXHAUSTED:
        return UNVISITED
    child = _best_scored(tree, rule, b, due)
    if child == UNVISITED and tree.next_action[b, ROOT] == EXHAUSTED:  # beyond the planned simulations: nobody is due
        child = _least_visited(tree, b)
    return child


@search_inline
def _best_scored(tree: Tree, rule: Rule, b: int, visits: int) -> int:
    """Of the root's children with `visits` visits, the best by gumbel + logit + sigma; `UNVISITED` if none has."""
    low, scale, sigma, _, _ = _sigma_of(tree, rule, b, ROOT)
    best_child = UNVISITED
    best_action = EXHAUSTED
    best = -np.inf
    child = tree.first_child[b, ROOT]
    while child > UNVISITED:
        if tree.node_visits[b, child] == visits:
            action = tree.action_from_parent[b, child]
            score = tree.root_preference[b, action] + _scaled(tree.q[b, child], low, scale) * sigma
            score = max(-1e9, score)
            if score > best or (score == best and action < best_action):
                best, best_child, best_action = score, child, action
        child = tree.next_sibling[b, child]
    return best_child


@search_inline
def _least_visited(tree: Tree, b: int) -> int:
    """Of the root's children the least visited, the lowest action of equals."""
    best = tree.first_child[b, ROOT]
    child = tree.next_sibling[b, best]
    while child > UNVISITED:
        fewer = tree.node_visits[b, child] - tree.node_visits[b, best]
        if fewer < 0 or (fewer == 0 and tree.action_from_parent[b, child] < tree.action_from_parent[b, best]):
            best = child
        child = tree.next_sibling[b, child]
    return int(best)


@search_inline
def _sigma_of(tree: Tree, rule: Rule, b: int, node: int) -> tuple[float, float, float, float, float]:
    """(low, scale, sigma, v_mix, top): sigma(Q) of an action, Q completed, is sigma * _scaled(Q, low, scale).

    sigma = (c_visit + max N) * c_scale (Danihelka et al. 2022, equation 8); Q is scaled to [0, 1] by the completed
    values of the node, or by the bounds of the tree. Where a rule takes Q as it is, sigma takes the range back in: the
    same but for low, which every action loses. v_mix, of actions not tried: the raw value and the prior-weighted mean
    of the others' Q (appendix D). top: the largest _scaled(...) of all actions that can be played.
    """
    visits, most, num_children = 0, 0, 0
    prior_sum, weighted = 0.0, 0.0
    low, high = np.inf, -np.inf
    child = tree.first_child[b, node]
    while child > UNVISITED:
        prior, q, n = _at_least_tiny(tree.prior[b, child]), tree.q[b, child], tree.node_visits[b, child]
        prior_sum += prior
        weighted += prior * q
        visits += n
        most = max(most, n)
        low, high = min(low, q), max(high, q)
        num_children += 1
        child = tree.next_sibling[b, child]
    mixed = np.float64(tree.raw_value[b, node])
    if visits > 0:
        mixed = (mixed + visits * (weighted / prior_sum)) / (1.0 + visits)
    best = high if tree.next_action[b, node] == EXHAUSTED else max(high, mixed)
    if num_children < rule.num_actions:
        low, high = min(low, mixed), max(high, mixed)
    if rule.tree_wide and tree.q_bounds[b, 0] <= tree.q_bounds[b, 1]:
        low, high = tree.q_bounds[b, 0], tree.q_bounds[b, 1]
    sigma = (rule.visit_offset + most) * rule.value_scale
    if not rule.rescale:
        low, high = min(low, mixed), max(high, mixed)
        sigma *= max(high - low, rule.least_range)
    scale = 1.0 / max(high - low, rule.least_range)
    return low, scale, sigma, mixed, _scaled(best, low, scale)


@search_inline
def _at_least_tiny(prior: float) -> float:
    """As float64: interpreted, a float32 would drag the rest of the formula down to its precision."""
    return max(np.float64(prior), TINY)


@search_inline
def _scaled(q: float, low: float, scale: float) -> float:
    """`q` scaled into [0, 1]."""
    return min(max((q - low) * scale, 0.0), 1.0)


@search_inline
def _clear_choice(tree: Tree, rule: Rule, b: int, node: int) -> int:
    """What `_improved_choice` returns where there are two values and it is no near thing; else `UNCLEAR`.

    Two actions that were tried, or one and all that were not, have two values between them, which are 0 and 1 when they
    are scaled. So weights are priors, one of them times `lowest_weight`, and which of p1 / total - n1 / visits and
    p2 / total - n2 / visits is larger is told without an exponential or a division.
    """
    first = tree.first_child[b, node]
    second = tree.next_sibling[b, first]
    visits, n1, n2 = tree.node_visits[b, node], tree.node_visits[b, first], 0
    p1, q1 = np.float64(tree.prior[b, first]), tree.q[b, first]
    least, rest, spare = rule.least_range + ROUNDING * abs(q1), 0.0, 0.0
    if second > UNVISITED:
        p2, q2, n2 = np.float64(tree.prior[b, second]), tree.q[b, second], tree.node_visits[b, second]
        rest, spare = p2, max(1.0 - p1 - p2, 0.0)
    else:
        p2 = np.float64(tree.children_prior[b, node, tree.next_action[b, node]])
        q2 = np.float64(tree.raw_value[b, node])
        rest = max(1.0 - p1, 0.0)
        least *= 1 + n1  # v_mix lies so much nearer to q1 than the raw value
    lowest = rule.lowest_weight[max(n1, n2)]
    w1, w2 = (1.0, lowest) if q1 > q2 else (lowest, 1.0)
    ahead = visits * (p1 * w1 - p2 * w2) - (p1 * w1 + rest * w2) * (n1 - n2)
    near = visits * (CLEARLY + spare)
    if abs(q1 - q2) > least:
        # Two branches, not one value of two: the walk goes on where the processor expects it to, a third faster.
        if ahead > near:
            return int(first)
        if ahead < -near:
            return int(second)
    return UNCLEAR


@search_inline
def _has_two_values(tree: Tree, rule: Rule, b: int, node: int) -> bool:
    """Whether a node that has a child has two completed values at most, by which alone they are scaled."""
    has_more = tree.next_sibling[b, tree.first_child[b, node]] > UNVISITED
    is_of_two = rule.num_actions == 2 or (rule.num_actions > 2 and not has_more)
    return is_of_two and rule.rescale and not rule.tree_wide


@search_inline
def _improved_choice(tree: Tree, rule: Rule, b: int, node: int) -> int:
    """The child, or `UNVISITED` for `next_action`, of largest pi'(a) - N(s,a) / (1 + sum_b N(s,b)).

    Danihelka et al. 2022, section 5, equation 14; pi' = softmax(logits + sigma(completed Q)) ~ p * exp(sigma). All
    actions not tried share one sigma, so their part of the sum is what the children leave of the prior.
    """
    if _has_two_values(tree, rule, b, node):
        clear = _clear_choice(tree, rule, b, node)
        if clear != UNCLEAR:
            return clear
    low, scale, sigma, mixed, top = _sigma_of(tree, rule, b, node)
    total, left, visits = 0.0, 1.0, tree.node_visits[b, node]
    i = 0
    child = tree.first_child[b, node]
    while child > UNVISITED:
        prior = _at_least_tiny(tree.prior[b, child])
        rule.scratch[i] = prior * math.exp(sigma * (_scaled(tree.q[b, child], low, scale) - top))
        total += rule.scratch[i]
        left -= prior
        i += 1
        child = tree.next_sibling[b, child]
    untried = 0.0
    # Where all were tried, rounding leaves 1e-8 of the prior, and exp makes much of it if v_mix is above every Q. Plain
    # searches that scale Q keep that share: the agents that there are were trained with it.
    if tree.next_action[b, node] != EXHAUSTED or (left > 0.0 and rule.rescale and rule.num_outcomes == 0):
        untried = math.exp(sigma * (_scaled(mixed, low, scale) - top))
    total = max(total + max(left, 0.0) * untried, LEAST)
    best_child = UNVISITED
    best_action = tree.next_action[b, node]
    best = -np.inf
    if best_action != EXHAUSTED:
        best = _at_least_tiny(tree.children_prior[b, node, best_action]) * untried / total
    i = 0
    child = tree.first_child[b, node]
    while child > UNVISITED:
        score = rule.scratch[i] / total - tree.node_visits[b, child] / visits
        action = tree.action_from_parent[b, child]
        if score > best or (score == best and action < best_action):
            best, best_child, best_action = score, child, action
        i += 1
        child = tree.next_sibling[b, child]
    return best_child


@search_kernel
def _improved_policy(tree: Tree, rule: Rule, policy: Float32Array, value: Float32Array) -> None:
    for b in range(value.shape[0]):
        low, scale, sigma, mixed, top = _sigma_of(tree, rule, b, ROOT)
        for a in range(policy.shape[1]):
            rule.scratch[a] = mixed
        child = tree.first_child[b, ROOT]
        while child > UNVISITED:
            rule.scratch[tree.action_from_parent[b, child]] = tree.q[b, child]
            child = tree.next_sibling[b, child]
        total, expected = 0.0, 0.0
        for a in range(policy.shape[1]):
            weight = 0.0
            if tree.root_legal[b, a]:
                prior = _at_least_tiny(tree.children_prior[b, ROOT, a])
                weight = prior * math.exp(sigma * (_scaled(rule.scratch[a], low, scale) - top))
            policy[b, a] = weight
            total += weight
            expected += weight * rule.scratch[a]
        for a in range(policy.shape[1]):
            policy[b, a] /= total
        value[b] = expected / total


@search_kernel
def _halving_winner(tree: Tree, rule: Rule, action: Int32Array) -> None:
    for b in range(action.shape[0]):
        most = 0
        child = tree.first_child[b, ROOT]
        while child > UNVISITED:
            most = max(most, tree.node_visits[b, child])
            child = tree.next_sibling[b, child]
        winner = _best_scored(tree, rule, b, most)
        action[b] = tree.next_action[b, ROOT] if winner == UNVISITED else tree.action_from_parent[b, winner]
