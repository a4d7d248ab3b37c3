"""Every compiled step of the search: reset, select, expand, backup, for B trees at a time.

Knows `Tree` and `Rule`, arrays and numbers; draws no random numbers, calls no model, allocates nothing. Kernels assume
what their wrappers in `steps.py` have checked. How they are compiled, and that edits of other files are seen, is the
business of `numzero/compiled.py`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import search_inline, search_kernel
from numzero.search.dense import (
    DENSE_ACTION,
    DENSE_RESIDUAL,
    LATENT,
    NORM,
    RELU,
    ROWS,
    SILU,
    SYMLOG,
    DenseModel,
)
from numzero.search.model import RecurrentOutput
from numzero.search.tiles import LANES, add_product
from numzero.search.tree import EXHAUSTED, NO_PARENT, ROOT, UNOPENED, UNVISITED, Tree

__all__ = ["EPSILON", "GUMBEL", "OUTPUT_NAMES", "PAPER", "PARENT_SIBLINGS", "TINY", "Rule"]

PAPER = 0
"""pUCT, Q scaled by the bounds of the whole tree (Schrittwieser et al. 2020, appendix B)."""
PARENT_SIBLINGS = 1
"""pUCT, Q scaled by the node's value and its visited children (mctx's muzero_policy)."""
GUMBEL = 2
"""Sequential halving at the root, deterministic improved policy below (Danihelka et al. 2022, section 5)."""

Float32Array = NDArray[np.float32]
Int32Array = NDArray[np.int32]

EPSILON = 1e-8
"""Smallest range that Q values are scaled by."""
COLDEST = 1e-3
"""Temperatures between 0 and this count as this: nothing is drawn from powers that overflow."""
TINY = 1.1754944e-38
"""Smallest normal float32: keeps a vanishing prior from dividing zero by zero."""

# Of `_exp`. All float32: compiled, a Python number would turn the whole formula into float64.
ZERO, HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
EXP_LOWEST, EXP_HIGHEST = np.float32(-87.0), np.float32(88.0)
LOG2_E, LN_2_HIGH, LN_2_LOW = np.float32(1.44269504088896341), np.float32(0.693359375), np.float32(-2.12194440e-4)
EXP_1, EXP_2, EXP_3 = np.float32(1.6666665459e-1), np.float32(4.1665795894e-2), np.float32(8.3334519073e-3)
EXP_4, EXP_5 = np.float32(1.3981999507e-3), np.float32(1.9875691500e-4)

OUTPUT_NAMES = ("", "value", "policy_logits", "reward", "discount")


class Rule(NamedTuple):
    """How actions are chosen inside the tree; made by `policies.make_rule`."""

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
    max_depth: int
    """Longest path below the root, in edges."""
    initial_bounds: tuple[float, float]
    """What `q_bounds` starts from: known value bounds, or (inf, -inf)."""
    scratch: NDArray[np.float64]
    """`[A]` work space of one node."""


@search_kernel
def _resume(
    tree: Tree,
    rule: Rule,
    latent: Float32Array,
    logits: Float32Array,
    value: Float32Array,
    legal: NDArray[np.bool_],
) -> int:
    for b in range(value.shape[0]):
        bad = _bad_output(0.0, 0.0, value[b], logits, b)
        if bad:
            return int(b * len(OUTPUT_NAMES) + bad)
        if tree.num_nodes[b] == 0:
            tree.num_nodes[b] = 1
            tree.first_child[b, ROOT] = UNVISITED
        _write_root(tree, b, latent, logits, value[b], legal)
        _prefer_by_prior(tree, b)
        visits, total = 1, np.float64(value[b])
        child = tree.first_child[b, ROOT]
        while child != UNVISITED:
            action = tree.action_from_parent[b, child]
            tree.prior[b, child] = tree.children_prior[b, ROOT, action]
            tree.root_preference[b, action] = -np.inf
            visits += tree.node_visits[b, child]
            total += tree.node_visits[b, child] * tree.q[b, child]
            child = tree.next_sibling[b, child]
        tree.next_action[b, ROOT] = _next_untried(tree.root_preference[b], UNOPENED)
        tree.node_visits[b, ROOT] = visits
        tree.value_sum[b, ROOT] = total
        tree.q_bounds[b, 0], tree.q_bounds[b, 1] = rule.initial_bounds
        for node in range(1, tree.num_nodes[b]):
            tree.q_bounds[b, 0] = min(tree.q_bounds[b, 0], tree.q[b, node])
            tree.q_bounds[b, 1] = max(tree.q_bounds[b, 1], tree.q[b, node])
    return 0


@search_inline
def _write_root(
    tree: Tree, b: int, latent: Float32Array, logits: Float32Array, value: float, legal: NDArray[np.bool_]
) -> None:
    """What the root is by itself: its evaluation, its masked prior, and no way in."""
    tree.raw_value[b, ROOT] = value
    tree.parent[b, ROOT] = NO_PARENT
    tree.action_from_parent[b, ROOT] = NO_PARENT
    tree.next_sibling[b, ROOT] = UNVISITED
    tree.reward[b, ROOT] = 0.0
    tree.discount[b, ROOT] = 1.0
    tree.prior[b, ROOT] = 1.0
    tree.q[b, ROOT] = 0.0
    for h in range(latent.shape[1]):
        tree.latent[b, ROOT, h] = latent[b, h]
    for a in range(legal.shape[1]):
        tree.root_legal[b, a] = legal[b, a]
        tree.children_prior[b, ROOT, a] = logits[b, a] if legal[b, a] else -np.inf
    _softmax(tree.children_prior[b, ROOT])


@search_kernel
def _keep_subtree(tree: Tree, action: Int32Array, legal: NDArray[np.bool_], number: Int32Array) -> None:
    for b in range(action.shape[0]):
        root = ROOT if action[b] < 0 else _find_child(tree, b, ROOT, action[b])
        count = 0
        for node in range(tree.num_nodes[b]):
            number[node] = UNVISITED
            above = tree.parent[b, node]
            kept = root != UNVISITED and (node == root or (node > root and number[above] != UNVISITED))
            if kept and above == root and node != root:
                kept = legal[b, tree.action_from_parent[b, node]]
            if kept:
                number[node] = count
                count += 1
        if root != UNVISITED:
            _drop_from_chain(tree, b, root, number)
        for node in range(tree.num_nodes[b]):
            if number[node] != UNVISITED:
                _move_node(tree, b, node, number)
        tree.num_nodes[b] = count


@search_inline
def _drop_from_chain(tree: Tree, b: int, parent: int, number: Int32Array) -> None:
    """Take children that are not kept out of the parent's chain."""
    last = UNVISITED
    child = tree.first_child[b, parent]
    while child != UNVISITED:
        following = tree.next_sibling[b, child]
        if number[child] != UNVISITED:
            last = child
        elif last == UNVISITED:
            tree.first_child[b, parent] = following
        else:
            tree.next_sibling[b, last] = following
        child = following


@search_inline
def _move_node(tree: Tree, b: int, old: int, number: Int32Array) -> None:
    """Copy a node to its new, never higher number."""
    new = number[old]
    for links in (tree.parent, tree.first_child, tree.next_sibling):
        link = links[b, old]
        links[b, new] = number[link] if link >= 0 else link
    for integers in (tree.action_from_parent, tree.next_action, tree.node_visits):
        integers[b, new] = integers[b, old]
    for floats in (tree.raw_value, tree.reward, tree.discount, tree.prior):
        floats[b, new] = floats[b, old]
    for doubles in (tree.value_sum, tree.q):
        doubles[b, new] = doubles[b, old]
    for a in range(tree.children_prior.shape[2]):
        tree.children_prior[b, new, a] = tree.children_prior[b, old, a]
    for h in range(tree.latent.shape[2]):
        tree.latent[b, new, h] = tree.latent[b, old, h]


@search_inline
def _write_node(tree: Tree, b: int, node: int, value: float, logits: Float32Array) -> None:
    """A fresh node: raw value, logits, no visits, no children."""
    tree.node_visits[b, node] = 0
    tree.value_sum[b, node] = 0.0
    tree.raw_value[b, node] = value
    tree.first_child[b, node] = UNVISITED
    tree.next_action[b, node] = UNOPENED
    for a in range(logits.shape[1]):
        tree.children_prior[b, node, a] = logits[b, a]


@search_kernel
def _softmax(x: Float32Array) -> None:
    """In place; -inf becomes 0."""
    largest = _largest(x)
    for i in range(x.shape[0]):
        x[i] = _exp(x[i] - largest)
    scale = ONE / _sum(x)
    for i in range(x.shape[0]):
        x[i] *= scale


@search_inline
def _exp(x: np.float32) -> np.float32:
    """Exponential of a float32, within 1e-7 of it, 0 below -87 and without an end at 88; NaN stays NaN.

    2 ** n times a polynomial in the rest (Cephes' expf). Unlike the library's function LLVM makes vectors of it: 0.4 ns
    for an element instead of 2.3, and the same bits compiled and interpreted.
    """
    clipped = min(max(x, EXP_LOWEST), EXP_HIGHEST)
    n = np.floor(clipped * LOG2_E + HALF)
    r = clipped - n * LN_2_HIGH - n * LN_2_LOW
    series = (((((EXP_5 * r + EXP_4) * r + EXP_3) * r + EXP_2) * r + EXP_1) * r + HALF) * r * r + r + ONE
    power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    return series * power if x >= EXP_LOWEST else (ZERO if x < EXP_LOWEST else x)


@search_kernel
def _sum(x: Float32Array) -> np.float32:
    """The sum, in eight parts: one chain of additions would wait for each of them."""
    a, b, c, d, e, f, g, h = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    whole = x.shape[0] - x.shape[0] % 8
    for i in range(0, whole, 8):
        a, b, c, d = a + x[i], b + x[i + 1], c + x[i + 2], d + x[i + 3]
        e, f, g, h = e + x[i + 4], f + x[i + 5], g + x[i + 6], h + x[i + 7]
    for i in range(whole, x.shape[0]):
        a += x[i]
    return ((a + e) + (b + f)) + ((c + g) + (d + h))


@search_kernel
def _largest(x: Float32Array) -> np.float32:
    """The maximum of one element or more."""
    a, b, c, d = x[0], x[0], x[0], x[0]
    whole = x.shape[0] - x.shape[0] % 4
    for i in range(0, whole, 4):
        a, b, c, d = max(a, x[i]), max(b, x[i + 1]), max(c, x[i + 2]), max(d, x[i + 3])
    for i in range(whole, x.shape[0]):
        a = max(a, x[i])
    return max(max(a, b), max(c, d))


@search_inline
def _prefer_by_prior(tree: Tree, b: int) -> None:
    """The legal root actions are tried in the order of their priors."""
    for a in range(tree.root_legal.shape[1]):
        tree.root_preference[b, a] = tree.children_prior[b, ROOT, a] if tree.root_legal[b, a] else -np.inf
    tree.next_action[b, ROOT] = _next_untried(tree.root_preference[b], UNOPENED)


@search_inline
def _next_untried(preference: NDArray[np.floating], last: int) -> int:
    """The action to be tried after `last` (or first, if `UNOPENED`): the next lower preference, the lowest of equals.

    Actions that were never tried differ only in their preference, so they are tried in its order, whatever the rule.
    """
    best_action = EXHAUSTED
    best = -np.inf
    limit = preference[last] if last >= 0 else np.inf
    for a in range(preference.shape[0]):
        if preference[a] > best and (preference[a] < limit or (preference[a] == limit and a > last)):
            best = preference[a]
            best_action = a
    return best_action


@search_kernel
def _mix_root_prior(tree: Tree, noise: NDArray[np.float64], fraction: float) -> None:
    for b in range(noise.shape[0]):
        for a in range(noise.shape[1]):
            tree.children_prior[b, ROOT, a] = (1.0 - fraction) * np.float64(
                tree.children_prior[b, ROOT, a]
            ) + fraction * noise[b, a]
        _prefer_by_prior(tree, b)


@search_kernel
def _set_root_gumbel(tree: Tree, logits: Float32Array, gumbel: NDArray[np.float64]) -> None:
    for b in range(logits.shape[0]):
        largest = -np.inf
        for a in range(logits.shape[1]):
            if tree.root_legal[b, a]:
                largest = max(largest, np.float64(logits[b, a]))
        for a in range(logits.shape[1]):
            score = gumbel[b, a] + (logits[b, a] - largest)
            tree.root_preference[b, a] = score if tree.root_legal[b, a] else -np.inf
        tree.next_action[b, ROOT] = _next_untried(tree.root_preference[b], UNOPENED)


@search_kernel
def _select(tree: Tree, rule: Rule, parent: Int32Array, action: Int32Array, latent: Float32Array) -> None:
    for b in range(parent.shape[0]):
        _select_in(tree, rule, b, parent, action, latent)


@search_inline
def _select_in(tree: Tree, rule: Rule, b: int, parent: Int32Array, action: Int32Array, latent: Float32Array) -> None:
    """Walk tree b from its root to an edge."""
    node = ROOT
    child = _halving_choice(tree, rule, b) if rule.kind == GUMBEL else _puct_choice(tree, rule, b, ROOT)
    depth = 1
    while child != UNVISITED and depth < rule.max_depth:
        node = child
        depth += 1
        if tree.first_child[b, node] == UNVISITED:
            if tree.next_action[b, node] == UNOPENED:
                _softmax(tree.children_prior[b, node])
                tree.next_action[b, node] = _next_untried(tree.children_prior[b, node], UNOPENED)
            child = UNVISITED
        elif rule.kind == GUMBEL:
            child = _improved_choice(tree, rule, b, node)
        else:
            child = _puct_choice(tree, rule, b, node)
    parent[b] = node
    action[b] = tree.next_action[b, node] if child == UNVISITED else tree.action_from_parent[b, child]
    for h in range(latent.shape[1]):
        latent[b, h] = tree.latent[b, node, h]


@search_inline
def _puct_bounds(tree: Tree, rule: Rule, b: int, node: int) -> tuple[float, float]:
    """The range that Q is scaled by: of the whole tree, or of the node's own value and its visited children."""
    low, high = tree.q_bounds[b, 0], tree.q_bounds[b, 1]
    if rule.kind == PARENT_SIBLINGS:
        low = tree.value_sum[b, node] / tree.node_visits[b, node]
        high = low
        child = tree.first_child[b, node]
        while child != UNVISITED:
            low, high = min(low, tree.q[b, child]), max(high, tree.q[b, child])
            child = tree.next_sibling[b, child]
    return low, high


@search_inline
def _puct_choice(tree: Tree, rule: Rule, b: int, node: int) -> int:
    """The child, or `UNVISITED` for `next_action`, of the largest pUCT score; the lowest action of equals.

    Qn(s,a) + P(s,a) * sqrt(N(s)) / (1 + N(s,a)) * (c1 + log((N(s) + c2 + 1) / c2)),
    Schrittwieser et al. 2020, appendix B, equation 2, in the seed's notation: N(s) counts the node's own evaluation.
    """
    exploration = rule.exploration[tree.node_visits[b, node]]
    low, high = _puct_bounds(tree, rule, b, node)
    scale = 1.0 / max(high - low, EPSILON)
    best_child = UNVISITED
    best_action = tree.next_action[b, node]
    best = -np.inf if best_action == EXHAUSTED else tree.children_prior[b, node, best_action] * exploration
    child = tree.first_child[b, node]
    while child != UNVISITED:
        score = (tree.q[b, child] - low) * scale + tree.prior[b, child] * exploration / (1 + tree.node_visits[b, child])
        action = tree.action_from_parent[b, child]
        if score > best or (score == best and action < best_action):
            best, best_child, best_action = score, child, action
        child = tree.next_sibling[b, child]
    return best_child


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
    while child != UNVISITED:
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
    while child != UNVISITED:
        fewer = tree.node_visits[b, child] - tree.node_visits[b, best]
        if fewer < 0 or (fewer == 0 and tree.action_from_parent[b, child] < tree.action_from_parent[b, best]):
            best = child
        child = tree.next_sibling[b, child]
    return int(best)


@search_kernel
def _halving_winner(tree: Tree, rule: Rule, action: Int32Array) -> None:
    for b in range(action.shape[0]):
        most = 0
        child = tree.first_child[b, ROOT]
        while child != UNVISITED:
            most = max(most, tree.node_visits[b, child])
            child = tree.next_sibling[b, child]
        winner = _best_scored(tree, rule, b, most)
        action[b] = tree.next_action[b, ROOT] if winner == UNVISITED else tree.action_from_parent[b, winner]


@search_kernel
def _root_edges(tree: Tree, visits: Int32Array, q: Float32Array) -> None:
    for b in range(visits.shape[0]):
        for a in range(visits.shape[1]):
            visits[b, a] = 0
            q[b, a] = np.nan
        child = tree.first_child[b, ROOT]
        while child != UNVISITED:
            action = tree.action_from_parent[b, child]
            visits[b, action] = tree.node_visits[b, child]
            q[b, action] = tree.q[b, child]
            child = tree.next_sibling[b, child]


@search_inline
def _sigma_of(tree: Tree, rule: Rule, b: int, node: int) -> tuple[float, float, float, float, float]:
    """(low, scale, sigma, v_mix, top): an action's sigma(completed Q) is sigma * _scaled(completed Q, low, scale).

    sigma = (c_visit + max N) * c_scale (Danihelka et al. 2022, equation 8); Q is scaled to [0, 1] by the completed
    values of the node, or by the bounds of the tree. v_mix, of actions not tried: the raw value and the prior-weighted
    mean of the others' Q (appendix D). top: the largest _scaled(...) of all actions that can be played.
    """
    visits, most, num_children = 0, 0, 0
    prior_sum, weighted = 0.0, 0.0
    low, high = np.inf, -np.inf
    child = tree.first_child[b, node]
    while child != UNVISITED:
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
    if num_children < tree.children_prior.shape[2]:
        low, high = min(low, mixed), max(high, mixed)
    if rule.tree_wide and tree.q_bounds[b, 0] <= tree.q_bounds[b, 1]:
        low, high = tree.q_bounds[b, 0], tree.q_bounds[b, 1]
    scale = 1.0 / max(high - low, EPSILON)
    return low, scale, (rule.visit_offset + most) * rule.value_scale, mixed, _scaled(best, low, scale)


@search_inline
def _at_least_tiny(prior: float) -> float:
    """As float64: interpreted, a float32 would drag the rest of the formula down to its precision."""
    return max(np.float64(prior), TINY)


@search_inline
def _scaled(q: float, low: float, scale: float) -> float:
    """`q` scaled into [0, 1]."""
    return min(max((q - low) * scale, 0.0), 1.0)


@search_inline
def _improved_choice(tree: Tree, rule: Rule, b: int, node: int) -> int:
    """The child, or `UNVISITED` for `next_action`, of largest pi'(a) - N(s,a) / (1 + sum_b N(s,b)).

    Danihelka et al. 2022, section 5, equation 14; pi' = softmax(logits + sigma(completed Q)) ~ p * exp(sigma). All
    actions not tried share one sigma, so their part of the sum is what the children leave of the prior.
    """
    low, scale, sigma, mixed, top = _sigma_of(tree, rule, b, node)
    untried = math.exp(sigma * (_scaled(mixed, low, scale) - top))
    total, left, visits = 0.0, 1.0, tree.node_visits[b, node]
    i = 0
    child = tree.first_child[b, node]
    while child != UNVISITED:
        prior = _at_least_tiny(tree.prior[b, child])
        rule.scratch[i] = prior * math.exp(sigma * (_scaled(tree.q[b, child], low, scale) - top))
        total += rule.scratch[i]
        left -= prior
        i += 1
        child = tree.next_sibling[b, child]
    total += max(left, 0.0) * untried
    best_child = UNVISITED
    best_action = tree.next_action[b, node]
    best = -np.inf
    if best_action != EXHAUSTED:
        best = _at_least_tiny(tree.children_prior[b, node, best_action]) * untried / total
    i = 0
    child = tree.first_child[b, node]
    while child != UNVISITED:
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
        while child != UNVISITED:
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
def _draw_actions(
    policy: Float32Array, temperature: NDArray[np.float64], number: NDArray[np.float64], action: Int32Array
) -> None:
    for b in range(action.shape[0]):
        best = 0
        for a in range(1, policy.shape[1]):
            if policy[b, a] > policy[b, best]:
                best = a
        action[b] = best
        if temperature[b] > 0.0:
            exponent = 1.0 / max(temperature[b], COLDEST)
            total = 0.0
            for a in range(policy.shape[1]):
                total += _sharpened(policy[b, a], policy[b, best], exponent)
            left = number[b] * total
            cumulative = 0.0
            for a in range(policy.shape[1]):
                cumulative += _sharpened(policy[b, a], policy[b, best], exponent)
                if cumulative > left:
                    action[b] = a
                    break


@search_inline
def _sharpened(probability: float, largest: float, exponent: float) -> float:
    """(p / largest) ** exponent, and 0 of 0, whatever the exponent."""
    share = np.float64(probability) / np.float64(largest)
    power = share if exponent == 1.0 else share**exponent
    return power if share > 0.0 else 0.0


@search_kernel
def _expand_and_backup(tree: Tree, parent: Int32Array, action: Int32Array, output: RecurrentOutput) -> int:
    for b in range(parent.shape[0]):
        bad = _expand_and_backup_in(tree, b, parent[b], action[b], output)
        if bad:
            return int(b * len(OUTPUT_NAMES) + bad)
    return 0


@search_kernel
def _advance(
    tree: Tree, rule: Rule, parent: Int32Array, action: Int32Array, latent: Float32Array, output: RecurrentOutput
) -> int:
    for b in range(parent.shape[0]):
        bad = _expand_and_backup_in(tree, b, parent[b], action[b], output)
        if bad:
            return int(b * len(OUTPUT_NAMES) + bad)
        _select_in(tree, rule, b, parent, action, latent)
    return 0


@search_inline
def _expand_and_backup_in(tree: Tree, b: int, parent: int, action: int, output: RecurrentOutput) -> int:
    """One evaluated edge of tree b; 0, or the position in OUTPUT_NAMES of an output that is not finite."""
    value = output.value[b]
    bad = _bad_output(output.reward[b], output.discount[b], value, output.policy_logits, b)
    if not bad:
        node = _find_child(tree, b, parent, action)
        if node == UNVISITED:
            node = _add_child(tree, b, parent, action)
            tree.reward[b, node] = output.reward[b]
            tree.discount[b, node] = output.discount[b]
            _write_node(tree, b, node, value, output.policy_logits)
            for h in range(tree.latent.shape[2]):
                tree.latent[b, node, h] = output.latent[b, h]
        _backup(tree, b, node, value)
    return bad


@search_inline
def _bad_output(reward: float, discount: float, value: float, logits: Float32Array, b: int) -> int:
    """Position in OUTPUT_NAMES of the first output that is not finite, else 0."""
    finite = True
    for a in range(logits.shape[1]):
        finite &= abs(logits[b, a]) < np.inf
    bad = 0
    if not abs(discount) < np.inf:
        bad = 4
    if not abs(reward) < np.inf:
        bad = 3
    if not finite:
        bad = 2
    if not abs(value) < np.inf:
        bad = 1
    return bad


@search_inline
def _find_child(tree: Tree, b: int, parent: int, action: int) -> int:
    """The node behind the edge if there is one (where the depth limit stopped the walk), else `UNVISITED`."""
    child = tree.first_child[b, parent]
    while child != UNVISITED and tree.action_from_parent[b, child] != action:
        child = tree.next_sibling[b, child]
    return int(child)


@search_inline
def _add_child(tree: Tree, b: int, parent: int, action: int) -> int:
    """A new node at the head of the parent's chain; the parent's next action moves on."""
    node = tree.num_nodes[b]
    tree.num_nodes[b] = node + 1
    tree.parent[b, node] = parent
    tree.action_from_parent[b, node] = action
    tree.prior[b, node] = tree.children_prior[b, parent, action]
    tree.next_sibling[b, node] = tree.first_child[b, parent]
    tree.first_child[b, parent] = node
    if parent == ROOT:
        tree.next_action[b, parent] = _next_untried(tree.root_preference[b], action)
    else:
        tree.next_action[b, parent] = _next_untried(tree.children_prior[b, parent], action)
    return int(node)


@search_inline
def _backup(tree: Tree, b: int, node: int, value: float) -> None:
    """Add `value` to the node and, with rewards and discounts, to all above; refresh Q and bounds on the way."""
    low, high = tree.q_bounds[b, 0], tree.q_bounds[b, 1]
    total = np.float64(value)
    tree.node_visits[b, node] += 1
    tree.value_sum[b, node] += total
    while node != ROOT:
        reward, discount = np.float64(tree.reward[b, node]), np.float64(tree.discount[b, node])
        q = reward + discount * (tree.value_sum[b, node] / tree.node_visits[b, node])
        tree.q[b, node] = q
        low, high = min(low, q), max(high, q)
        total = reward + discount * total
        node = tree.parent[b, node]
        tree.node_visits[b, node] += 1
        tree.value_sum[b, node] += total
    tree.q_bounds[b, 0], tree.q_bounds[b, 1] = low, high


@search_kernel
def _simulate_dense(
    tree: Tree,
    rule: Rule,
    dense: DenseModel,
    parent: Int32Array,
    action: Int32Array,
    latent: Float32Array,
    output: RecurrentOutput,
    num_simulations: int,
) -> int:
    for first in range(0, parent.shape[0], ROWS):
        last = min(first + ROWS, parent.shape[0])
        for _ in range(num_simulations):
            for b in range(first, last):
                _select_in(tree, rule, b, parent, action, latent)
            _evaluate_rows(dense, latent, action, output, first, last)
            for b in range(first, last):
                bad = _expand_and_backup_in(tree, b, parent[b], action[b], output)
                if bad:
                    return int(b * len(OUTPUT_NAMES) + bad)
    return 0


@search_kernel
def _evaluate_dense(dense: DenseModel, latent: Float32Array, action: Int32Array, output: RecurrentOutput) -> None:
    for first in range(0, action.shape[0], ROWS):
        _evaluate_rows(dense, latent, action, output, first, min(first + ROWS, action.shape[0]))


@search_kernel
def _evaluate_rows(
    dense: DenseModel, latent: Float32Array, action: Int32Array, output: RecurrentOutput, first: int, last: int
) -> None:
    """The network for rows `first` to before `last`, at most `ROWS`, layer by layer: weights are read once.

    Not inlined: compiled into both of its callers it took the first move of all a third longer, and was no faster.
    """
    x, y = 0, 1
    num_rows = last - first
    for r in range(num_rows):
        for i in range(latent.shape[1]):
            dense.work[x, r, i] = latent[first + r, i]
    for layer in range(dense.program.shape[0]):
        op, size = dense.program[layer, 0], dense.program[layer, 2]
        if op <= DENSE_RESIDUAL:
            for r in range(num_rows):
                _write_summand(dense, layer, dense.work[y, r], latent[first + r], action[first + r])
            _multiply(dense, layer, dense.work[x], dense.work[y], num_rows)
            x, y = y, x
        elif op == LATENT:
            for r in range(num_rows):
                for i in range(size):
                    output.latent[first + r, i] = dense.work[x, r, i]
        else:
            for r in range(num_rows):
                _activate(dense, layer, dense.work[x, r, :size])
    for r in range(num_rows):
        _read_heads(dense, dense.work[x, r], output, first + r)


@search_inline
def _read_heads(dense: DenseModel, logits: Float32Array, output: RecurrentOutput, b: int) -> None:
    """Policy logits, and the scalars that the other logits stand for."""
    num_actions, num_values = output.policy_logits.shape[1], dense.value_bins.shape[0]
    for a in range(num_actions):
        output.policy_logits[b, a] = logits[a]
    end = num_actions + num_values
    output.value[b] = _expectation(logits[num_actions:end], dense.value_bins)
    begin, end = end, end + dense.reward_bins.shape[0]
    output.reward[b] = _expectation(logits[begin:end], dense.reward_bins) if begin < end else 0.0
    begin, end = end, end + dense.discount_bins.shape[0]
    output.discount[b] = _expectation(logits[begin:end], dense.discount_bins) if begin < end else dense.discount


@search_inline
def _activate(dense: DenseModel, layer: int, x: Float32Array) -> None:
    """Every layer that works in place."""
    op = dense.program[layer, 0]
    if op == RELU:
        for i in range(x.shape[0]):
            x[i] = max(x[i], ZERO)
    elif op == SILU:
        for i in range(x.shape[0]):
            x[i] = x[i] / (ONE + _exp(-x[i]))
    elif op == NORM:
        _normalise(dense, layer, x)
    elif op == SYMLOG:
        for i in range(x.shape[0]):
            x[i] = math.copysign(math.log(1.0 + float(abs(x[i]))), x[i])
    else:
        _scale_range(dense, x)


@search_inline
def _write_summand(dense: DenseModel, layer: int, y: Float32Array, latent: Float32Array, action: int) -> None:
    """Fill `y` with what a product is added to: the bias, the action's row of a table, or the latent that came in."""
    op, size, bias = dense.program[layer, 0], dense.program[layer, 2], dense.program[layer, 4]
    if op == DENSE_RESIDUAL:
        for j in range(size):
            y[j] = latent[j]
    else:
        row = bias + (action * size if op == DENSE_ACTION else 0)
        for j in range(size):
            y[j] = dense.weights[row + j]


@search_inline
def _multiply(dense: DenseModel, layer: int, x: Float32Array, y: Float32Array, num_rows: int) -> None:
    """Add x W to `y`, four rows at a time, then the others one by one: each row gets the same bits either way."""
    num_inputs, start = dense.program[layer, 1], dense.program[layer, 3]
    num_outputs = -(-dense.program[layer, 2] // LANES) * LANES
    whole = num_rows - num_rows % 4
    for r in range(0, whole, 4):
        add_product(4, y[r:], x[r:], dense.weights, start, num_inputs, num_outputs)
    for r in range(whole, num_rows):
        add_product(1, y[r:], x[r:], dense.weights, start, num_inputs, num_outputs)


@search_inline
def _normalise(dense: DenseModel, layer: int, x: Float32Array) -> None:
    """LayerNorm in place."""
    scale, bias = dense.program[layer, 3], dense.program[layer, 4]
    share = ONE / np.float32(x.shape[0])
    mean = _sum(x) * share
    for i in range(x.shape[0]):
        x[i] -= mean
    factor = ONE / math.sqrt(_sum_of_squares(x) * share + np.float32(dense.epsilon))
    for i in range(x.shape[0]):
        x[i] = x[i] * factor * dense.weights[scale + i] + dense.weights[bias + i]


@search_kernel
def _sum_of_squares(x: Float32Array) -> np.float32:
    """As `_sum`."""
    a, b, c, d, e, f, g, h = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    whole = x.shape[0] - x.shape[0] % 8
    for i in range(0, whole, 8):
        a, b, c, d = (
            a + x[i] * x[i],
            b + x[i + 1] * x[i + 1],
            c + x[i + 2] * x[i + 2],
            d + x[i + 3] * x[i + 3],
        )
        e, f, g, h = (
            e + x[i + 4] * x[i + 4],
            f + x[i + 5] * x[i + 5],
            g + x[i + 6] * x[i + 6],
            h + x[i + 7] * x[i + 7],
        )
    for i in range(whole, x.shape[0]):
        a += x[i] * x[i]
    return ((a + e) + (b + f)) + ((c + g) + (d + h))


@search_inline
def _scale_range(dense: DenseModel, x: Float32Array) -> None:
    """Min-max to [0, 1] in place."""
    low, high = x[0], x[0]
    for i in range(1, x.shape[0]):
        low, high = min(low, x[i]), max(high, x[i])
    spread = max(high - low, np.float32(dense.epsilon))
    for i in range(x.shape[0]):
        x[i] = (x[i] - low) / spread


@search_kernel
def _expectation(logits: Float32Array, bins: Float32Array) -> float:
    """The mean of `bins` under softmax(logits); overwrites the logits."""
    largest = _largest(logits)
    for i in range(bins.shape[0]):
        logits[i] = _exp(logits[i] - largest)
    total = _sum(logits)
    for i in range(bins.shape[0]):
        logits[i] *= bins[i]
    return float(_sum(logits) / total)
