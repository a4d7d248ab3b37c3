"""The phases of a search: reset, select, expand, backup, read-out, for B trees at a time.

Knows `Tree` and arrays; asks `rules.py` which edge to follow and `plain/` what a plain network says. Draws no random
numbers, calls no model, allocates nothing. Kernels assume what their wrappers in `steps.py` have checked. How they are
compiled, and that edits of other files are seen, is the business of `numzero/compiled.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import search_inline, search_kernel
from numzero.search.model import RecurrentOutput
from numzero.search.plain.dense import ROWS, DenseNetwork
from numzero.search.plain.kernels import evaluate_block
from numzero.search.rules import Rule, chance_choice, choose, choose_at_root, is_afterstate
from numzero.search.tree import EXHAUSTED, NO_PARENT, ROOT, UNOPENED, UNVISITED, Tree
from numzero.search.vectors import largest_below, softmax

__all__ = ["OUTPUT_NAMES"]

Float32Array = NDArray[np.float32]
Int32Array = NDArray[np.int32]

COLDEST = 1e-3
"""Temperatures between 0 and this count as this: nothing is drawn from powers that overflow."""
OUTPUT_NAMES = ("", "value", "policy_logits", "reward", "discount")


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
        while child > UNVISITED:
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
    softmax(tree.children_prior[b, ROOT])


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
    limit = np.inf
    if last >= 0:
        limit = np.float64(preference[last])
        for a in range(last + 1, preference.shape[0]):
            if preference[a] == limit:
                return a
    best = largest_below(preference, limit)
    action = EXHAUSTED
    if best > -np.inf:
        action = 0
        while preference[action] != best:
            action += 1
    return action


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
    child = choose_at_root(tree, rule, b)
    depth = 1
    while child > UNVISITED and depth < rule.max_depth:
        node = child
        depth += 1
        if tree.first_child[b, node] == UNVISITED:
            _open(tree, rule, b, node, depth - 1)
            child = UNVISITED
        elif is_afterstate(rule, depth - 1):
            child = chance_choice(tree, b, node)
        else:
            child = choose(tree, rule, b, node)
    parent[b] = node
    action[b] = tree.next_action[b, node] if child == UNVISITED else tree.action_from_parent[b, child]
    for h in range(latent.shape[1]):
        latent[b, h] = tree.latent[b, node, h]


@search_inline
def _open(tree: Tree, rule: Rule, b: int, node: int, depth: int) -> None:
    """The first time that a search passes through: logits become priors, and there is an action to be tried first."""
    if tree.next_action[b, node] == UNOPENED:
        if rule.num_outcomes == 0:
            softmax(tree.children_prior[b, node])
        else:
            num_edges = rule.num_outcomes if is_afterstate(rule, depth) else rule.num_actions
            softmax(tree.children_prior[b, node, :num_edges])
            for a in range(num_edges, tree.children_prior.shape[2]):
                tree.children_prior[b, node, a] = -np.inf
        tree.next_action[b, node] = _next_untried(tree.children_prior[b, node], UNOPENED)


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


@search_kernel
def _expand_and_backup(tree: Tree, parent: Int32Array, action: Int32Array, output: RecurrentOutput) -> int:
    for b in range(parent.shape[0]):
        bad = _expand_and_backup_in(tree, b, parent[b], action[b], output)
        if bad:
            return int(b * len(OUTPUT_NAMES) + bad)
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
    while child > UNVISITED and tree.action_from_parent[b, child] != action:
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
def _write_node(tree: Tree, b: int, node: int, value: float, logits: Float32Array) -> None:
    """A fresh node: raw value, logits, no visits, no children."""
    tree.node_visits[b, node] = 0
    tree.value_sum[b, node] = 0.0
    tree.raw_value[b, node] = value
    tree.first_child[b, node] = UNVISITED
    tree.next_action[b, node] = UNOPENED
    for a in range(logits.shape[1]):
        tree.children_prior[b, node, a] = logits[b, a]


@search_inline
def _backup(tree: Tree, b: int, node: int, value: float) -> None:
    """Add `value` to the node and, with rewards and discounts, to all above; refresh Q and bounds on the way."""
    low, high = tree.q_bounds[b, 0], tree.q_bounds[b, 1]
    total = np.float64(value)
    tree.node_visits[b, node] += 1
    tree.value_sum[b, node] += total
    while node > ROOT:
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
    network: DenseNetwork,
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
            evaluate_block(network, latent, action, output, first, last, tree.node_visits[first, ROOT] - 1)
            for b in range(first, last):
                bad = _expand_and_backup_in(tree, b, parent[b], action[b], output)
                if bad:
                    return int(b * len(OUTPUT_NAMES) + bad)
    return 0


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
    while child > UNVISITED:
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


@search_kernel
def _root_edges(tree: Tree, visits: Int32Array, q: Float32Array) -> None:
    for b in range(visits.shape[0]):
        for a in range(visits.shape[1]):
            visits[b, a] = 0
            q[b, a] = np.nan
        child = tree.first_child[b, ROOT]
        while child > UNVISITED:
            action = tree.action_from_parent[b, child]
            visits[b, action] = tree.node_visits[b, child]
            q[b, action] = tree.q[b, child]
            child = tree.next_sibling[b, child]


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


@search_kernel
def _draw_legal(legal: NDArray[np.bool_], number: NDArray[np.float64], action: Int32Array) -> None:
    for b in range(action.shape[0]):
        num_legal = 0
        for a in range(legal.shape[1]):
            num_legal += legal[b, a]
        left = np.int64(number[b] * num_legal)
        action[b] = 0
        for a in range(legal.shape[1]):
            if legal[b, a]:
                if left == 0:
                    action[b] = a
                    break
                left -= 1


@search_inline
def _sharpened(probability: float, largest: float, exponent: float) -> float:
    """(p / largest) ** exponent, and 0 of 0, whatever the exponent."""
    share = np.float64(probability) / np.float64(largest)
    power = share if exponent == 1.0 else share**exponent
    return power if share > 0.0 else 0.0
