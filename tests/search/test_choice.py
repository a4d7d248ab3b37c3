"""The short way to a choice between two values: it says what the formula says, or that it does not know."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from numzero.search import SearchConfig, Tree
from numzero.search.rules import UNCLEAR, _clear_choice, _has_two_values, _improved_choice
from numzero.search.search import make_rule
from numzero.search.tree import EXHAUSTED, UNVISITED, allocate
from numzero.search.vectors import softmax
from tests.search.problems import random_problem

NODE, CHILD, OTHER = 1, 2, 3
PRECISE = 40
"""Decimal digits."""


def inner_node(
    logits: list[float], values: list[float], visits: list[int], raw_value: float, own_visits: int = 1
) -> Tree:
    """A node below the root whose first actions were tried: their Q, and how often."""
    tree = allocate(1, 4, len(logits), 1)
    tree.num_nodes[0] = 2 + len(values)
    tree.children_prior[0, NODE] = np.array(logits, np.float32)
    softmax(tree.children_prior[0, NODE])
    tree.raw_value[0, NODE] = raw_value
    tree.node_visits[0, NODE] = own_visits + sum(visits)
    for action, (value, count) in enumerate(zip(values, visits, strict=True)):
        child = CHILD + action
        tree.action_from_parent[0, child] = action
        tree.q[0, child], tree.node_visits[0, child] = value, count
        tree.prior[0, child] = tree.children_prior[0, NODE, action]
        tree.next_sibling[0, child] = tree.first_child[0, NODE]
        tree.first_child[0, NODE] = child
    untried = tree.children_prior[0, NODE, len(values) :]
    tree.next_action[0, NODE] = len(values) + int(untried.argmax()) if len(untried) else EXHAUSTED
    return tree


def scores(tree: Tree, config: SearchConfig) -> list[Decimal]:
    """pi'(a) - N(a) / (1 + sum of N) of each action, with forty digits; Danihelka et al. 2022, equation 14."""
    prior = [Decimal(float(each)) for each in tree.children_prior[0, NODE]]
    q = {int(tree.action_from_parent[0, n]): Decimal(float(tree.q[0, n])) for n in range(CHILD, tree.num_nodes[0])}
    visits = {int(tree.action_from_parent[0, n]): int(tree.node_visits[0, n]) for n in range(CHILD, tree.num_nodes[0])}
    mean = sum(prior[a] * q[a] for a in q) / sum(prior[a] for a in q)
    mixed = (Decimal(float(tree.raw_value[0, NODE])) + sum(visits.values()) * mean) / (1 + sum(visits.values()))
    completed = [q.get(a, mixed) for a in range(len(prior))]
    width = max(max(completed) - min(completed), Decimal(config.least_range), Decimal("1e-8"))
    sigma = (Decimal(config.visit_offset) + max(visits.values())) * Decimal(config.value_scale)
    weight = [p * (sigma * (each - min(completed)) / width).exp() for p, each in zip(prior, completed, strict=True)]
    return [w / sum(weight) - Decimal(visits.get(a, 0)) / int(tree.node_visits[0, NODE]) for a, w in enumerate(weight)]


numbers = st.one_of(
    st.floats(-3, 3, width=32), st.sampled_from([0.0, 0.5, 1.0, 1.0 + 1e-9, 1.0 + 1e-7, 1e6, 1e6 + 0.125, -1e12])
)


@given(
    logits=st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=4),
    values=st.lists(numbers, min_size=2, max_size=2),
    visits=st.lists(st.integers(1, 300), min_size=2, max_size=2),
    raw_value=numbers,
    own_visits=st.integers(1, 3),
    value_scale=st.sampled_from([0.0, 0.01, 0.1, 1.0]),
    visit_offset=st.sampled_from([0.0, 1.0, 50.0]),
    least_range=st.sampled_from([0.0, 0.5]),
)
@example([0.0, 0.0], [1.0, 1.0], [3, 3], 0.0, 1, 0.1, 50.0, 0.0)  # a tie
@example([0.0, 0.0], [1.0, 0.0], [200, 1], 0.0, 1, 0.1, 50.0, 0.0)
@example([0.0, 0.0, 0.0], [0.0, 0.0], [9, 9], 1.0, 1, 0.1, 50.0, 0.0)
def test_what_is_clear_is_what_the_formula_says(
    logits: list[float],
    values: list[float],
    visits: list[int],
    raw_value: float,
    own_visits: int,
    value_scale: float,
    visit_offset: float,
    least_range: float,
) -> None:
    """Of two tried actions, or of one and what is not tried, whatever their priors, visits and values."""
    config = SearchConfig(
        rule="gumbel", value_scale=value_scale, visit_offset=visit_offset, least_range=least_range, num_simulations=1000
    )
    num_tried = 2 if len(logits) == 2 and visits[0] % 2 else 1
    tree = inner_node(logits, values[:num_tried], visits[:num_tried], raw_value, own_visits)
    rule = make_rule(config, len(logits), 1000)
    assert _has_two_values(tree, rule, 0, NODE)
    found = _clear_choice(tree, rule, 0, NODE)
    with localcontext() as context:
        context.prec = PRECISE
        score = scores(tree, config)
    ranked = sorted(range(len(score)), key=lambda action: (-score[action], action))
    chosen = CHILD + ranked[0] if ranked[0] < num_tried else UNVISITED
    if found != UNCLEAR:
        assert found == chosen
        assert found == _improved_choice(tree, rule, 0, NODE)


def test_nodes_of_two_actions_are_clear() -> None:
    """All but a few, in the trees that searches grow: else nothing is gained."""
    problem = random_problem(np.random.default_rng(0), num_states=50, num_actions=2, num_roots=4)
    config = SearchConfig(rule="gumbel", num_simulations=60)
    tree, rule = problem.run(config).tree, make_rule(config, 2, 60)
    choices = [
        _clear_choice(tree, rule, b, node)
        for b in range(4)
        for node in range(1, tree.num_nodes[b])
        if tree.first_child[b, node] != UNVISITED
    ]
    assert choices.count(UNCLEAR) < len(choices) / 20


def test_more_values_and_other_scales_are_left_to_the_formula() -> None:
    """Three values; scaled by the bounds of the tree, or not at all; a game of one action."""
    config = SearchConfig(rule="gumbel", num_simulations=10)
    three = inner_node([0.0, 0.0, 0.0], [1.0, 0.0], [1, 1], 0.5)
    assert not _has_two_values(three, make_rule(config, 3, 10), 0, NODE)
    two = inner_node([0.0, 0.0], [1.0, 0.0], [1, 1], 0.5)
    assert _has_two_values(two, make_rule(config, 2, 10), 0, NODE)
    for changes in ({"tree_wide_scaling": True}, {"rescale_values": False}):
        other = SearchConfig(rule="gumbel", num_simulations=10, **changes)
        assert not _has_two_values(two, make_rule(other, 2, 10), 0, NODE)
    one = inner_node([0.0], [1.0], [1], 0.5)
    assert not _has_two_values(one, make_rule(config, 1, 10), 0, NODE)
