"""Every compiled step of the search: reset, select, expand, backup, for B trees at a time.

Knows `Tree` and `Rule`, arrays and numbers; draws no random numbers, calls no model, allocates nothing. All kernels
live in this one file because Numba's cache does not see changes in other files. Kernels assume what their wrappers
have checked.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from numzero.search.model import InitialOutput, RecurrentOutput
from numzero.search.tree import NO_PARENT, ROOT, UNVISITED, Tree

__all__ = ["GUMBEL", "PAPER", "PARENT_SIBLINGS", "NonFiniteOutputError", "Rule", "expand_and_backup", "halving_winner"]
__all__ += ["improved_policy", "mix_root_prior", "reset", "select", "set_root_gumbel"]

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
TINY = 1.1754944e-38
"""Smallest normal float32: keeps a vanishing prior from dividing zero by zero."""

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


class NonFiniteOutputError(ValueError):
    """The model produced NaN or infinity; the message names the output and the row. The tree must not be used."""


def reset(tree: Tree, root: InitialOutput, legal: NDArray[np.bool_], rule: Rule) -> None:
    """Start B searches: node 0 becomes the root, visited once, with the network's value and masked prior.

    Args:
        tree: filled.
        root: the model's output for the B root positions.
        legal: `[B, A]` bool; every row needs a legal action.
        rule: its initial bounds are used.

    Raises:
        ValueError: a row without a legal action; arrays of other rows or actions than the tree's.
        NonFiniteOutputError: NaN or infinity in value or policy_logits.
    """
    expected = tree.root_legal.shape
    if not (legal.shape == root.policy_logits.shape == expected and root.value.shape == expected[:1]):
        raise ValueError(
            f"legal and policy_logits must be [B, A] = {list(expected)} and value [B], as the search was made for; got "
            f"{list(legal.shape)}, {list(root.policy_logits.shape)} and {list(root.value.shape)}."
        )
    if not legal.any(axis=1).all():
        rows = np.flatnonzero(~legal.any(axis=1)).tolist()
        raise ValueError(f"every root needs a legal action; rows {rows} have none. Do not search finished games.")
    latent = root.latent.reshape(root.latent.shape[0], -1)
    _raise_if_bad(_reset(tree, rule, latent, root.policy_logits, root.value, legal), "initial")


def select(
    tree: Tree, rule: Rule, parent: NDArray[np.int32], action: NDArray[np.int32], latent: NDArray[np.float32]
) -> None:
    """Walk each tree from its root to an edge to be followed next.

    Args:
        tree: read; only raw logits of nodes entered for the first time become priors.
        rule: how to choose.
        parent: `[B]` int32, filled with the node to expand from.
        action: `[B]` int32, filled with the action to expand.
        latent: `[B, H]` float32, filled with the parents' hidden states.
    """
    _select(tree, rule, parent, action, latent)


def expand_and_backup(
    tree: Tree, parent: NDArray[np.int32], action: NDArray[np.int32], output: RecurrentOutput
) -> None:
    """Add the node behind each selected edge and back its value up to the root.

    An edge whose child exists (the depth limit stopped there) is evaluated again into the same node.

    Raises:
        NonFiniteOutputError: NaN or infinity in a scalar or the logits; the trees are spoilt.
    """
    latent = output.latent.reshape(output.latent.shape[0], -1)
    code = _expand_and_backup(
        tree, parent, action, latent, output.reward, output.discount, output.policy_logits, output.value
    )
    _raise_if_bad(code, "recurrent")


def mix_root_prior(tree: Tree, noise: NDArray[np.float64], fraction: float) -> None:
    """P(root, a) <- (1 - fraction) * P(root, a) + fraction * noise; `noise` `[B, A]`, 0 where illegal, sums to 1."""
    prior = tree.children_prior[:, ROOT]
    prior[:] = (1.0 - fraction) * prior + fraction * noise


def set_root_gumbel(tree: Tree, logits: NDArray[np.float32], gumbel: NDArray[np.float64]) -> None:
    """Prepare the roots for rule `gumbel`: `root_score` is `gumbel` `[B, A]` + logits, -inf where illegal."""
    if gumbel.shape != tree.root_score.shape:
        raise ValueError(f"gumbel must be [B, A] = {list(tree.root_score.shape)}; got {list(gumbel.shape)}.")
    _set_root_gumbel(tree, logits, gumbel)


def improved_policy(tree: Tree, rule: Rule, policy: NDArray[np.float32], value: NDArray[np.float32]) -> None:
    """Gumbel's policy target, softmax(logits + sigma(completed Q)) over the legal root actions, and its value.

    Danihelka et al. 2022, section 4.

    Args:
        tree: finished searches.
        rule: gives sigma.
        policy: `[B, A]` filled.
        value: `[B]` filled with sum_a policy(a) * completed Q(a).
    """
    _improved_policy(tree, rule, policy, value)


def halving_winner(tree: Tree, rule: Rule, action: NDArray[np.int32]) -> None:
    """Gumbel's move, filled into `action` `[B]`: of the most visited, the best by gumbel + logit + sigma."""
    _halving_winner(tree, rule, action)


def _raise_if_bad(code: int, function: str) -> None:
    if code:
        row, output = divmod(code, len(OUTPUT_NAMES))
        raise NonFiniteOutputError(
            f"the model's {function}() returned NaN or infinity in {OUTPUT_NAMES[output]!r}, row {row}. "
            "Check its weights and its input."
        )


@njit(cache=True)
def _reset(
    tree: Tree, rule: Rule, latent: Float32Array, logits: Float32Array, value: Float32Array, legal: NDArray[np.bool_]
) -> int:
    for b in range(value.shape[0]):
        if not math.isfinite(value[b]):
            return b * len(OUTPUT_NAMES) + 1
        tree.num_nodes[b] = 1
        tree.q_bounds[b, 0], tree.q_bounds[b, 1] = rule.initial_bounds
        finite = True
        for a in range(logits.shape[1]):
            finite &= math.isfinite(logits[b, a])
            tree.root_legal[b, a] = legal[b, a]
        if not finite:
            return b * len(OUTPUT_NAMES) + 2
        _write_node(tree, b, ROOT, value[b], logits)
        for h in range(latent.shape[1]):
            tree.latent[b, ROOT, h] = latent[b, h]
        tree.parent[b, ROOT] = NO_PARENT
        tree.action_from_parent[b, ROOT] = NO_PARENT
        tree.reward[b, ROOT] = 0.0
        tree.discount[b, ROOT] = 1.0
        _softmax_prior(tree, b, ROOT, True)
        tree.node_visits[b, ROOT] = 1
        tree.value_sum[b, ROOT] = value[b]
    return 0


@njit(cache=True)
def _write_node(tree: Tree, b: int, node: int, value: float, logits: Float32Array) -> None:
    """A fresh node without visits: raw value, logits, no children."""
    tree.node_visits[b, node] = 0
    tree.value_sum[b, node] = 0.0
    tree.raw_value[b, node] = value
    for a in range(logits.shape[1]):
        tree.children_prior[b, node, a] = logits[b, a]
        tree.children_index[b, node, a] = UNVISITED
        tree.children_visits[b, node, a] = 0
        tree.children_q[b, node, a] = 0.0


@njit(cache=True)
def _softmax_prior(tree: Tree, b: int, node: int, masked: bool) -> None:
    """In place: the node's logits become probabilities, 0 for an illegal action where `masked`."""
    prior = tree.children_prior[b, node]
    largest = np.float32(-np.inf)
    for a in range(prior.shape[0]):
        if not (masked and not tree.root_legal[b, a]):
            largest = max(largest, prior[a])
    total = np.float32(0.0)
    for a in range(prior.shape[0]):
        legal = not (masked and not tree.root_legal[b, a])
        prior[a] = math.exp(np.float64(prior[a] - largest)) if legal else 0.0  # as Python's exp: test_bits
        total += prior[a]
    scale = np.float32(1.0) / total
    for a in range(prior.shape[0]):
        prior[a] *= scale


@njit(cache=True)
def _set_root_gumbel(tree: Tree, logits: Float32Array, gumbel: NDArray[np.float64]) -> None:
    for b in range(logits.shape[0]):
        largest = -np.inf
        for a in range(logits.shape[1]):
            if tree.root_legal[b, a]:
                largest = max(largest, np.float64(logits[b, a]))
        for a in range(logits.shape[1]):
            score = gumbel[b, a] + (logits[b, a] - largest)
            tree.root_score[b, a] = score if tree.root_legal[b, a] else -np.inf


@njit(cache=True)
def _select(tree: Tree, rule: Rule, parent: Int32Array, action: Int32Array, latent: Float32Array) -> None:
    for b in range(parent.shape[0]):
        node = ROOT
        chosen = _root_action(tree, rule, b)
        depth = 1
        child = tree.children_index[b, node, chosen]
        while child != UNVISITED and depth < rule.max_depth:
            node = child
            if tree.node_visits[b, node] == 1:
                _softmax_prior(tree, b, node, False)
            chosen = _interior_action(tree, rule, b, node)
            depth += 1
            child = tree.children_index[b, node, chosen]
        parent[b] = node
        action[b] = chosen
        for h in range(latent.shape[1]):
            latent[b, h] = tree.latent[b, node, h]


@njit(cache=True)
def _root_action(tree: Tree, rule: Rule, b: int) -> int:
    if rule.kind == GUMBEL:
        return _halving_action(tree, rule, b)
    low, high = _puct_bounds(tree, rule, b, ROOT)
    return _puct_action(tree, rule, b, ROOT, low, high, True)


@njit(cache=True)
def _interior_action(tree: Tree, rule: Rule, b: int, node: int) -> int:
    if rule.kind == GUMBEL:
        return _improved_action(tree, rule, b, node)
    low, high = _puct_bounds(tree, rule, b, node)
    return _puct_action(tree, rule, b, node, low, high, False)


@njit(cache=True)
def _puct_bounds(tree: Tree, rule: Rule, b: int, node: int) -> tuple[float, float]:
    """The range that Q is scaled by: of the whole tree, or of the node's own value and its visited children."""
    if rule.kind == PAPER:
        return tree.q_bounds[b, 0], tree.q_bounds[b, 1]
    low = tree.value_sum[b, node] / tree.node_visits[b, node]
    high = low
    for a in range(tree.children_q.shape[2]):
        if tree.children_visits[b, node, a] > 0:
            low = min(low, tree.children_q[b, node, a])
            high = max(high, tree.children_q[b, node, a])
    return low, high


@njit(cache=True)
def _puct_action(tree: Tree, rule: Rule, b: int, node: int, low: float, high: float, masked: bool) -> int:
    """Largest Qn(s,a) + P(s,a) * sqrt(N(s)) / (1 + N(s,a)) * (c1 + log((N(s) + c2 + 1) / c2)); the lowest of equals.

    Schrittwieser et al. 2020, appendix B, equation 2, in the seed's notation: N(s) counts the node's own evaluation.
    """
    exploration = rule.exploration[tree.node_visits[b, node]]
    scale = 1.0 / max(high - low, EPSILON)
    best = -np.inf
    best_action = 0
    for a in range(tree.children_prior.shape[2]):
        if masked and not tree.root_legal[b, a]:
            continue
        visits = tree.children_visits[b, node, a]
        score = tree.children_prior[b, node, a] * exploration / (1 + visits)
        if visits > 0:
            score += (tree.children_q[b, node, a] - low) * scale
        if score > best:
            best = score
            best_action = a
    return best_action


@njit(cache=True)
def _halving_action(tree: Tree, rule: Rule, b: int) -> int:
    """Sequential halving: among the actions that are due, the largest gumbel + logit + sigma(completed Q)."""
    num_legal = 0
    for a in range(tree.root_legal.shape[1]):
        num_legal += tree.root_legal[b, a]
    row = min(num_legal, rule.considered_visits.shape[0] - 1)
    simulation = tree.node_visits[b, ROOT] - 1
    due = rule.considered_visits[row, min(simulation, rule.considered_visits.shape[1] - 1)]
    chosen = _best_scored(tree, rule, b, due)
    return chosen if chosen >= 0 else _least_visited(tree, b)  # beyond the planned simulations: nobody is due


@njit(cache=True)
def _best_scored(tree: Tree, rule: Rule, b: int, visits: int) -> int:
    """Of the legal root actions with exactly `visits` visits, the best by gumbel + logit + sigma; -1 if none has."""
    _completed_sigma(tree, rule, b, ROOT)
    best = -np.inf
    best_action = -1
    for a in range(tree.root_legal.shape[1]):
        if tree.root_legal[b, a] and tree.children_visits[b, ROOT, a] == visits:
            score = max(-1e9, tree.root_score[b, a] + rule.scratch[a])
            if score > best:
                best = score
                best_action = a
    return best_action


@njit(cache=True)
def _least_visited(tree: Tree, b: int) -> int:
    best_action = -1
    for a in range(tree.root_legal.shape[1]):
        if tree.root_legal[b, a] and (
            best_action < 0 or tree.children_visits[b, ROOT, a] < tree.children_visits[b, ROOT, best_action]
        ):
            best_action = a
    return best_action


@njit(cache=True)
def _halving_winner(tree: Tree, rule: Rule, action: Int32Array) -> None:
    for b in range(action.shape[0]):
        most = 0
        for a in range(tree.root_legal.shape[1]):
            most = max(most, tree.children_visits[b, ROOT, a])
        action[b] = _best_scored(tree, rule, b, most)


@njit(cache=True)
def _improved_action(tree: Tree, rule: Rule, b: int, node: int) -> int:
    """Largest pi'(a) - N(s,a) / (1 + sum_b N(s,b)); pi' = softmax(logits + sigma(completed Q)).

    Danihelka et al. 2022, section 5, equation 14. With priors p in place of logits: pi' ~ p * exp(sigma).
    """
    if tree.node_visits[b, node] == 1:
        return _largest_prior(tree, b, node)
    _completed_sigma(tree, rule, b, node)
    num_actions = tree.children_prior.shape[2]
    largest = -np.inf
    for a in range(num_actions):
        largest = max(largest, rule.scratch[a])
    total = 0.0
    visits = 0
    for a in range(num_actions):
        weight = max(np.float64(tree.children_prior[b, node, a]), TINY) * math.exp(rule.scratch[a] - largest)
        rule.scratch[a] = weight
        total += weight
        visits += tree.children_visits[b, node, a]
    best = -np.inf
    best_action = 0
    for a in range(num_actions):
        score = rule.scratch[a] / total - tree.children_visits[b, node, a] / (1.0 + visits)
        if score > best:
            best = score
            best_action = a
    return best_action


@njit(cache=True)
def _largest_prior(tree: Tree, b: int, node: int) -> int:
    best_action = 0
    for a in range(1, tree.children_prior.shape[2]):
        if tree.children_prior[b, node, a] > tree.children_prior[b, node, best_action]:
            best_action = a
    return best_action


@njit(cache=True)
def _mixed_value(tree: Tree, b: int, node: int) -> float:
    """v_mix: the raw value and the prior-weighted mean of the visited Q (Danihelka et al. 2022, appendix D)."""
    visits = 0
    prior_sum = 0.0
    weighted = 0.0
    for a in range(tree.children_prior.shape[2]):
        if tree.children_visits[b, node, a] > 0:
            prior = max(np.float64(tree.children_prior[b, node, a]), TINY)
            visits += tree.children_visits[b, node, a]
            prior_sum += prior
            weighted += prior * tree.children_q[b, node, a]
    if visits == 0:
        return float(tree.raw_value[b, node])
    return float((tree.raw_value[b, node] + visits * (weighted / prior_sum)) / (1.0 + visits))


@njit(cache=True)
def _completed_sigma(tree: Tree, rule: Rule, b: int, node: int) -> None:
    """scratch[a] = (c_visit + max N) * c_scale * completed Q scaled to [0, 1] (Danihelka et al. 2022, equation 8)."""
    mixed = _mixed_value(tree, b, node)
    low, high = np.inf, -np.inf
    most = 0
    for a in range(tree.children_prior.shape[2]):
        visits = tree.children_visits[b, node, a]
        rule.scratch[a] = tree.children_q[b, node, a] if visits > 0 else mixed
        low = min(low, rule.scratch[a])
        high = max(high, rule.scratch[a])
        most = max(most, visits)
    if rule.tree_wide and tree.q_bounds[b, 0] <= tree.q_bounds[b, 1]:
        low, high = tree.q_bounds[b, 0], tree.q_bounds[b, 1]
    scale = 1.0 / max(high - low, EPSILON)
    sigma = (rule.visit_offset + most) * rule.value_scale
    for a in range(tree.children_prior.shape[2]):
        rule.scratch[a] = sigma * min(max((rule.scratch[a] - low) * scale, 0.0), 1.0)


@njit(cache=True)
def _improved_policy(tree: Tree, rule: Rule, policy: Float32Array, value: Float32Array) -> None:
    for b in range(value.shape[0]):
        mixed = _mixed_value(tree, b, ROOT)
        _completed_sigma(tree, rule, b, ROOT)
        largest = -np.inf
        for a in range(policy.shape[1]):
            if tree.root_legal[b, a]:
                largest = max(largest, rule.scratch[a])
        total = 0.0
        for a in range(policy.shape[1]):
            prior = max(np.float64(tree.children_prior[b, ROOT, a]), TINY) if tree.root_legal[b, a] else 0.0
            rule.scratch[a] = prior * math.exp(min(rule.scratch[a] - largest, 0.0))
            total += rule.scratch[a]
        expected = 0.0
        for a in range(policy.shape[1]):
            probability = rule.scratch[a] / total
            policy[b, a] = probability
            expected += probability * (tree.children_q[b, ROOT, a] if tree.children_visits[b, ROOT, a] > 0 else mixed)
        value[b] = expected


@njit(cache=True)
def _expand_and_backup(
    tree: Tree,
    parent: Int32Array,
    action: Int32Array,
    latent: Float32Array,
    reward: Float32Array,
    discount: Float32Array,
    logits: Float32Array,
    value: Float32Array,
) -> int:
    for b in range(parent.shape[0]):
        bad = _bad_output(reward[b], discount[b], value[b], logits, b)
        if bad:
            return b * len(OUTPUT_NAMES) + bad
        node = _expand(tree, b, parent[b], action[b], reward[b], discount[b], value[b], logits)
        for h in range(latent.shape[1]):
            tree.latent[b, node, h] = latent[b, h]
        _backup(tree, b, node, value[b])
    return 0


@njit(cache=True)
def _bad_output(reward: float, discount: float, value: float, logits: Float32Array, b: int) -> int:
    """Position in OUTPUT_NAMES of the first output that is not finite, else 0."""
    if not math.isfinite(value):
        return 1
    finite = True
    for a in range(logits.shape[1]):
        finite &= math.isfinite(logits[b, a])
    if not finite:
        return 2
    if not math.isfinite(reward):
        return 3
    return 0 if math.isfinite(discount) else 4


@njit(cache=True)
def _expand(
    tree: Tree, b: int, parent: int, action: int, reward: float, discount: float, value: float, logits: Float32Array
) -> int:
    """The node behind the edge: a new one, or at the depth limit the one that is there."""
    node = int(tree.children_index[b, parent, action])
    if node != UNVISITED:
        return node
    node = int(tree.num_nodes[b])
    tree.num_nodes[b] = node + 1
    tree.children_index[b, parent, action] = node
    tree.parent[b, node] = parent
    tree.action_from_parent[b, node] = action
    tree.reward[b, node] = reward
    tree.discount[b, node] = discount
    _write_node(tree, b, node, value, logits)
    return node


@njit(cache=True)
def _backup(tree: Tree, b: int, node: int, value: float) -> None:
    """Add `value` to the node and, with rewards and discounts, to all above; refresh Q and bounds on the way."""
    low, high = tree.q_bounds[b, 0], tree.q_bounds[b, 1]
    total = np.float64(value)
    tree.node_visits[b, node] += 1
    tree.value_sum[b, node] += total
    while node != ROOT:
        parent, action = tree.parent[b, node], tree.action_from_parent[b, node]
        reward, discount = np.float64(tree.reward[b, node]), np.float64(tree.discount[b, node])
        q = reward + discount * (tree.value_sum[b, node] / tree.node_visits[b, node])
        tree.children_q[b, parent, action] = q
        tree.children_visits[b, parent, action] += 1
        low, high = min(low, q), max(high, q)
        total = reward + discount * total
        node = parent
        tree.node_visits[b, node] += 1
        tree.value_sum[b, node] += total
    tree.q_bounds[b, 0], tree.q_bounds[b, 1] = low, high
