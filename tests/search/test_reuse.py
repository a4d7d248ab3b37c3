"""A new root keeps what was searched below it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numzero.search import NonFiniteOutputError, Search, SearchConfig, Tree, check_invariants, steps
from numzero.search.tree import UNVISITED, children_index, children_visits
from tests.search.problems import Problem, configs, problems, random_problem

PUCT = ("paper", "parent_siblings")


def statistics(
    tree: Tree, row: int, node: int, skip: set[int] | None = None
) -> dict[tuple[int, ...], tuple[float, ...]]:
    """Visits, Q, value sum and state of every node below `node`, by the actions that lead there."""
    index = children_index(tree)[row]
    found: dict[tuple[int, ...], tuple[float, ...]] = {}
    todo: list[tuple[int, tuple[int, ...]]] = [(node, ())]
    while todo:
        parent, line = todo.pop()
        for action in np.flatnonzero(index[parent] != UNVISITED).tolist():
            if line or action not in (skip or set()):
                child = int(index[parent, action])
                numbers = (tree.node_visits[row, child], tree.q[row, child], tree.value_sum[row, child])
                found[(*line, action)] = (*map(float, numbers), float(tree.latent[row, child, 0]))
                todo.append((child, (*line, action)))
    return found


@given(problem=problems(), config=configs(rules=PUCT), data=st.data())
def test_all_below_the_new_root_stays_as_it_was(problem: Problem, config: SearchConfig, data: st.DataObject) -> None:
    """After a move nothing that was searched below it is lost or changed, but what became illegal; then it grows."""
    search = Search(problem.model, config, len(problem.roots))
    before = search.run(problem.roots, problem.legal)
    action = before.action.copy()
    legal = problem.legal[:, ::-1].copy()
    kept = []
    for b, a in enumerate(action):
        node = int(children_index(before.tree)[b, 0, a])
        illegal = set(np.flatnonzero(~legal[b]).tolist())
        kept.append(statistics(before.tree, b, node, illegal) if node != UNVISITED else {})
    search.advance(action)
    after = search.run(problem.model.next_state[problem.roots, action], legal)
    check_invariants(after.tree)
    most = max(sum(v[0] for line, v in row.items() if len(line) == 1) for row in kept)
    assert after.num_simulations == config.num_simulations - most
    for b, row in enumerate(kept):
        grown = statistics(after.tree, b, 0)
        assert set(row) <= set(grown)
        assert all(grown[line][0] >= numbers[0] and grown[line][3] == numbers[3] for line, numbers in row.items())
        if after.num_simulations == 0:
            assert grown == row
    assert not children_visits(after.tree, 1)[:, 0][~legal].any()


def test_visits_that_were_kept_are_not_searched_again() -> None:
    """The root ends with the budget's visits, and its value is the mean of its own evaluation and what was kept."""
    problem = random_problem(np.random.default_rng(3), num_states=30, num_actions=3, num_roots=1)
    problem.legal[:] = True
    search = Search(problem.model, SearchConfig(num_simulations=40), 1)
    before = search.run(problem.roots, problem.legal)
    action = before.action
    child = int(children_index(before.tree)[0, 0, action[0]])
    num_kept = int(before.tree.node_visits[0, child]) - 1
    assert num_kept > 5
    search.advance(action)
    after = search.run(problem.model.next_state[problem.roots, action], problem.legal)
    assert after.num_simulations == 40 - num_kept
    assert after.tree.node_visits[0, 0] == 41
    assert after.visit_counts.sum() == 40


@given(problem=problems(), config=configs(rules=PUCT))
def test_an_edge_never_followed_keeps_nothing(problem: Problem, config: SearchConfig) -> None:
    """The next search is bit for bit a fresh one."""
    search = Search(problem.model, config, len(problem.roots))
    first = search.run(problem.roots, problem.legal)
    fresh = (first.visit_counts.copy(), first.tree.value_sum.copy(), first.tree.q_bounds.copy())
    untried = np.argmin(children_visits(first.tree, 1)[:, 0], axis=1).astype(np.int32)
    if children_visits(first.tree, 1)[np.arange(len(untried)), 0, untried].any():
        return
    search.advance(untried)
    again = search.run(problem.roots, problem.legal)
    assert (again.visit_counts == fresh[0]).all()
    count = again.tree.num_nodes.min()
    assert (again.tree.value_sum[:, :count] == fresh[1][:, :count]).all()
    assert (again.tree.q_bounds == fresh[2]).all()


def test_two_moves_may_pass_between_searches() -> None:
    """The own move and the opponent's: the grandchild becomes the root."""
    problem = random_problem(np.random.default_rng(3), num_states=30, num_actions=2, num_roots=2)
    problem.legal[:] = True
    search = Search(problem.model, SearchConfig(num_simulations=60), 2)
    tree = search.run(problem.roots, problem.legal).tree
    index = children_index(tree)
    rows = np.arange(2)
    own = children_visits(tree)[:, 0].argmax(axis=1).astype(np.int32)
    child = index[rows, 0, own]
    reply = children_visits(tree)[rows, child].argmax(axis=1).astype(np.int32)
    expected = [statistics(tree, b, int(index[b, child[b], reply[b]])) for b in range(2)]
    state = problem.model.next_state[problem.model.next_state[problem.roots, own], reply]
    search.advance(own)
    search.advance(reply)
    after = search.run(state, problem.legal)
    check_invariants(after.tree)
    for b in range(2):
        grown = statistics(after.tree, b, 0)
        assert expected[b]
        assert all(grown[line][0] >= numbers[0] for line, numbers in expected[b].items())


@pytest.mark.parametrize("how", ["forget", "gumbel"])
def test_nothing_is_kept_after_forgetting_nor_by_gumbel(how: str) -> None:
    """A new game, or sequential halving, begins with an empty root."""
    problem = random_problem(np.random.default_rng(3), num_states=30, num_actions=3, num_roots=2)
    rule = "gumbel" if how == "gumbel" else "paper"
    search = Search(problem.model, SearchConfig(rule=rule, num_simulations=20), 2)  # type: ignore[arg-type]
    first = search.run(problem.roots, problem.legal).visit_counts
    search.advance(first.argmax(axis=1).astype(np.int32))
    if how == "forget":
        search.forget()
    again = search.run(problem.roots, problem.legal)
    assert (again.visit_counts == first).all()
    assert again.num_simulations == 20


def test_a_real_position_that_makes_nan_is_named() -> None:
    """The kept tree is checked against the model's new view of its root too."""
    problem = random_problem(np.random.default_rng(3), num_states=30, num_actions=3, num_roots=1)
    search = Search(problem.model, SearchConfig(num_simulations=10), 1)
    search.advance(search.run(problem.roots, problem.legal).action)
    problem.model.value[:] = np.nan
    with pytest.raises(NonFiniteOutputError, match=r"initial.*'value'"):
        search.run(problem.roots, problem.legal)


def test_whichever_child_became_illegal_leaves_the_chain() -> None:
    """The first, one in the middle, the last that was made: the others stay, with their statistics."""
    problem = random_problem(np.random.default_rng(0), 6, 4, 3)
    search = Search(problem.model, SearchConfig(rule="paper", num_simulations=200), len(problem.roots))
    everything = np.ones_like(problem.legal)
    for gone in range(4):
        search.forget()
        before = search.run(problem.roots, everything)
        assert (before.visit_counts > 0).all()
        legal = everything.copy()
        legal[:, gone] = False
        number = np.zeros(201, np.int32)
        steps.keep_subtree(before.tree, np.full(len(legal), -1, np.int32), legal, number)
        found = children_visits(before.tree)[:, 0]
        expected = np.where(legal, before.visit_counts, 0)
        np.testing.assert_array_equal(found, expected)
