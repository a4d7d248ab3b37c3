"""The tree's own rules: what `check_invariants` catches, how kernels keep it, how it is read out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from numzero.search import SearchConfig, Tree, check_invariants, kernels, memory_bytes, principal_variation
from numzero.search.policies import make_rule
from numzero.search.tree import NO_PARENT, UNVISITED, allocate, node_values
from tests.search.problems import Problem, configs, problems, random_problem


def grown_tree() -> Tree:
    """Two trees of 31 nodes; root action 0 is illegal, action 1 was followed first and often."""
    problem = random_problem(np.random.default_rng(1), num_states=50, num_actions=3, num_roots=2)
    problem.legal[:] = [False, True, True]
    problem.model.logits[:] = [0.0, 1.0, 0.0]
    tree = problem.run(SearchConfig(num_simulations=30)).tree
    check_invariants(tree)
    return tree


def double_the_visits_of_node_1(tree: Tree) -> None:
    """Its mean, and so every value, stays as it was."""
    tree.node_visits[1, 1] *= 2
    tree.value_sum[1, 1] *= 2


DAMAGE: list[tuple[str, Callable[[Tree], object]]] = [
    ("tree 1: num_nodes 0", lambda t: t.num_nodes.__setitem__(1, 0)),
    ("tree 1: num_nodes 32", lambda t: t.num_nodes.__setitem__(1, 32)),
    ("tree 1: the root has a parent", lambda t: t.parent.__setitem__((1, 0), 0)),
    ("tree 1: illegal root visits", lambda t: t.root_legal.__setitem__((1, 1), False)),
    ("tree 1, node 0: visits on an edge without a child", lambda t: t.children_index.__setitem__((1, 0, 1), UNVISITED)),
    ("tree 1, node 0: a child whose edge has no visits", lambda t: t.children_visits.__setitem__((1, 0, 1), 0)),
    ("tree 1, node 1: parent 1 does not precede it", lambda t: t.parent.__setitem__((1, 1), 1)),
    ("tree 1, node 1: parent -1 does not precede it", lambda t: t.parent.__setitem__((1, 1), NO_PARENT)),
    ("tree 1, node 1: its parent does not point to it", lambda t: t.action_from_parent.__setitem__((1, 1), 2)),
    ("tree 1, node 1: edge and node visits differ", double_the_visits_of_node_1),
    ("tree 1, node 0: 30 visits, 30 below", lambda t: t.node_visits.__setitem__((1, 0), 30)),
    ("tree 1, node 0: Q of action 1$", lambda t: t.reward.__setitem__((1, 1), t.reward[1, 1] + 1e-3)),
    (
        "tree 1, node 0: Q of action 1 outside the bounds",
        lambda t: t.q_bounds.__setitem__((1, 1), t.children_q[1, 0, 1] - 1e-3),
    ),
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
        kernels.reset(self.tree, root, self.problem.legal, self.rule)
        kernels.set_root_gumbel(self.tree, root.policy_logits, self.problem.gumbel)
        self.num_simulations, self.selected = 0, False

    @precondition(lambda self: not self.selected and self.num_simulations + 1 < self.room)
    @rule()
    def select(self) -> None:
        kernels.select(self.tree, self.rule, self.parent, self.action, self.latent)
        self.selected = True
        states = self.tree.latent[np.arange(len(self.parent)), self.parent]
        assert (states == self.latent).all()

    @precondition(lambda self: self.selected)
    @rule()
    def expand_and_backup(self) -> None:
        output = self.problem.model.recurrent(self.latent, self.action)
        kernels.expand_and_backup(self.tree, self.parent, self.action, output)
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
    kernels.reset(tree, root, problem.legal, rule)
    kernels.set_root_gumbel(tree, root.policy_logits, problem.gumbel)
    parent, action, latent = np.zeros(3, np.int32), np.zeros(3, np.int32), np.zeros((3, 1), np.float32)
    for _ in range(49):
        kernels.select(tree, rule, parent, action, latent)
        kernels.expand_and_backup(tree, parent, action, problem.model.recurrent(latent, action))
    assert np.ptp(tree.children_visits[:, 0, 1:], axis=1).max() <= 1
    assert not tree.children_visits[:, 0, 0].any()


def test_principal_variation_follows_the_most_visited_line() -> None:
    """From the root or from a given first action; empty without visits; it ends where nothing was followed."""
    tree = grown_tree()
    line = principal_variation(tree, 1)
    node = 0
    for action in line:
        assert action == tree.children_visits[1, node].argmax()
        node = tree.children_index[1, node, action]
    assert not tree.children_visits[1, node].any()
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
    """Twice the trees take twice the bytes, and an edge takes 20 of them."""
    assert memory_bytes(allocate(6, 9, 5, 8)) == 2 * memory_bytes(allocate(3, 9, 5, 8))
    per_root_action = 1 + 8
    grown = memory_bytes(allocate(1, 10, 6, 8)) - memory_bytes(allocate(1, 10, 5, 8))
    assert grown == 10 * (4 + 4 + 8 + 4) + per_root_action
