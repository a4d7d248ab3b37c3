"""The tree's own rules: what `check_invariants` catches, how kernels keep it, how it is read out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from numzero.search import SearchConfig, Tree, check_invariants, memory_bytes, principal_variation, steps
from numzero.search.rules import GUMBEL
from numzero.search.search import make_rule
from numzero.search.tree import (
    UNOPENED,
    UNVISITED,
    allocate,
    children_index,
    children_q,
    children_visits,
    node_values,
)
from tests.search.problems import Problem, configs, problems, random_problem


def grown_tree() -> Tree:
    """Two trees of 31 nodes; root action 0 is illegal, action 1 was followed first and often."""
    problem = random_problem(np.random.default_rng(1), num_states=50, num_actions=3, num_roots=2)
    problem.legal[:] = [False, True, True]
    problem.model.logits[:] = [0.0, 1.0, 0.0]
    tree = problem.run(SearchConfig(num_simulations=30)).tree
    check_invariants(tree)
    return tree


def give_two_children_one_action(tree: Tree) -> None:
    """The newest child of the root takes the action of the one before it."""
    child = tree.first_child[1, 0]
    tree.action_from_parent[1, child] = tree.action_from_parent[1, tree.next_sibling[1, child]]


def first_action(tree: Tree) -> int:
    """The action behind node 1 of tree 1."""
    return int(tree.action_from_parent[1, 1])


DAMAGE: list[tuple[str, Callable[[Tree], object]]] = [
    ("tree 1: num_nodes 0", lambda t: t.num_nodes.__setitem__(1, 0)),
    ("tree 1: num_nodes 32", lambda t: t.num_nodes.__setitem__(1, 32)),
    ("tree 1: the root has a parent", lambda t: t.parent.__setitem__((1, 0), 0)),
    ("tree 1: illegal root visits", lambda t: t.root_legal.__setitem__((1, first_action(t)), False)),
    ("tree 1: the chains of children hold", lambda t: t.first_child.__setitem__((1, 0), UNVISITED)),
    ("tree 1: the chains of children hold", lambda t: t.next_sibling.__setitem__((1, 1), 1)),
    ("tree 1, node 0: two children of one action", give_two_children_one_action),
    ("tree 1, node 0: child 1 is not its own", lambda t: t.parent.__setitem__((1, 1), 2)),
    ("tree 1, node 0: prior of action", lambda t: t.prior.__setitem__((1, 1), t.prior[1, 1] + 1e-3)),
    ("tree 1, node 0: 30 visits, 30 below", lambda t: t.node_visits.__setitem__((1, 0), 30)),
    ("tree 1, node 0: children of an unopened node", lambda t: t.next_action.__setitem__((1, 0), UNOPENED)),
    ("tree 1, node 0: next_action", lambda t: t.next_action.__setitem__((1, 0), first_action(t))),
    ("tree 1, node 0: Q of child 1$", lambda t: t.reward.__setitem__((1, 1), t.reward[1, 1] + 1e-3)),
    ("tree 1, node 0: Q of child 1 outside the bounds", lambda t: t.q_bounds.__setitem__((1, 1), t.q[1, 1] - 1e-3)),
    ("tree 1, node 0: not the mean of its values", lambda t: t.raw_value.__setitem__((1, 0), t.raw_value[1, 0] + 1e-3)),
]


@pytest.mark.parametrize(("message", "damage"), DAMAGE, ids=[message for message, _ in DAMAGE])
def test_check_invariants_names_planted_damage(message: str, damage: Callable[[Tree], object]) -> None:
    """Each assertion fails on the damage it is for, in the second of two trees."""
    tree = grown_tree()
    damage(tree)
    with pytest.raises(AssertionError, match=f"^{message}"):
        check_invariants(tree)


class SearchMachine(RuleBasedStateMachine):
    """Kernels in any order their contracts allow, longer than planned, on trees that are used again and again."""

    @initialize(problem=problems(), config=configs(), room=st.integers(1, 30))
    def begin(self, problem: Problem, config: SearchConfig, room: int) -> None:
        self.problem, self.room = problem, room
        b, a = problem.legal.shape
        self.tree = allocate(b, room, a, 1)
        self.rule = make_rule(config, a, room)
        self.parent, self.action = np.zeros(b, np.int32), np.zeros(b, np.int32)
        self.latent = np.zeros((b, 1), np.float32)
        self.reset()

    @rule()
    def reset(self) -> None:
        root = self.problem.model.initial(self.problem.roots)
        steps.reset(self.tree, root, self.problem.legal, self.rule)
        if self.rule.kind == GUMBEL:
            steps.set_root_gumbel(self.tree, root.policy_logits, self.problem.gumbel)
        self.num_simulations, self.selected = 0, False

    @precondition(lambda self: not self.selected and self.num_simulations + 1 < self.room)
    @rule()
    def select(self) -> None:
        steps.select(self.tree, self.rule, self.parent, self.action, self.latent)
        self.selected = True
        states = self.tree.latent[np.arange(len(self.parent)), self.parent]
        assert (states == self.latent).all()

    @precondition(lambda self: self.selected)
    @rule()
    def expand_and_backup(self) -> None:
        output = self.problem.model.recurrent(self.latent, self.action)
        steps.expand_and_backup(self.tree, self.parent, self.action, output)
        self.num_simulations, self.selected = self.num_simulations + 1, False

    @precondition(lambda self: not self.selected)
    @rule(times=st.integers(1, 29))
    def simulate(self, times: int) -> None:
        for _ in range(min(times, self.room - 1 - self.num_simulations)):
            self.select()
            self.expand_and_backup()

    @invariant()
    def consistent(self) -> None:
        check_invariants(self.tree)
        assert (self.tree.node_visits[:, 0] == self.num_simulations + 1).all()
        assert (self.tree.num_nodes <= self.num_simulations + 1).all()


TestSearchMachine = SearchMachine.TestCase
TestSearchMachine.settings = settings(max_examples=settings().max_examples // 3, stateful_step_count=20)


def test_beyond_the_planned_simulations_gumbel_visits_the_least_visited() -> None:
    """Where sequential halving has nobody due, the lowest of the least visited legal actions is next."""
    problem = random_problem(np.random.default_rng(0), num_states=9, num_actions=4, num_roots=3)
    problem.legal[:] = [False, True, True, True]
    tree, rule = allocate(3, 50, 4, 1), make_rule(SearchConfig(rule="gumbel", num_simulations=4), 4, 50)
    root = problem.model.initial(problem.roots)
    steps.reset(tree, root, problem.legal, rule)
    steps.set_root_gumbel(tree, root.policy_logits, problem.gumbel)
    parent, action, latent = np.zeros(3, np.int32), np.zeros(3, np.int32), np.zeros((3, 1), np.float32)
    for _ in range(49):
        steps.select(tree, rule, parent, action, latent)
        steps.expand_and_backup(tree, parent, action, problem.model.recurrent(latent, action))
    visits = children_visits(tree, num_parents=1)[:, 0]
    assert np.ptp(visits[:, 1:], axis=1).max() <= 1
    assert not visits[:, 0].any()


def test_principal_variation_follows_the_most_visited_line() -> None:
    """From the root or from a given first action; empty without visits; it ends where nothing was followed."""
    tree = grown_tree()
    visits, index = children_visits(tree)[1], children_index(tree)[1]
    line = principal_variation(tree, 1)
    node = 0
    for action in line:
        assert action == visits[node].argmax()
        node = index[node, action]
    assert not visits[node].any()
    assert principal_variation(tree, 1, line[0]) == line
    assert principal_variation(tree, 1, 0) == [0]  # illegal, so never followed
    problem = random_problem(np.random.default_rng(1), num_states=5, num_actions=3, num_roots=1)
    assert principal_variation(problem.run(SearchConfig(num_simulations=0)).tree, 0) == []


def test_leftovers_of_an_earlier_search_are_not_read_out() -> None:
    """Rows beyond `num_nodes` mean nothing, and `node_values` shows them as 0."""
    tree = grown_tree()
    tree.num_nodes[:] = 1
    assert (node_values(tree)[:, 1:] == 0).all()
    assert (node_values(tree)[:, 0] == tree.value_sum[:, 0] / tree.node_visits[:, 0]).all()


def test_memory_bytes_counts_every_array() -> None:
    """Twice the trees take twice the bytes; an action more costs each node its prior and nothing else."""
    assert memory_bytes(allocate(6, 9, 5, 8)) == 2 * memory_bytes(allocate(3, 9, 5, 8))
    per_root_action = 1 + 8
    grown = memory_bytes(allocate(1, 10, 6, 8)) - memory_bytes(allocate(1, 10, 5, 8))
    assert grown == 10 * 4 + per_root_action


def test_edges_are_read_out_as_arrays_of_nodes_and_actions() -> None:
    """`children_q` is reward plus discounted mean of the child, NaN where there is none."""
    tree = grown_tree()
    q, index = children_q(tree), children_index(tree)
    assert (np.isnan(q) == (index == UNVISITED)).all()
    row, node, action = np.nonzero(index != UNVISITED)
    child = index[row, node, action]
    mean = tree.value_sum[row, child] / tree.node_visits[row, child]
    np.testing.assert_allclose(q[row, node, action], tree.reward[row, child] + tree.discount[row, child] * mean)
    np.testing.assert_array_equal(children_q(tree, num_parents=1)[:, 0], q[:, 0])
