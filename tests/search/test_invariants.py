"""What holds for every search: one property for each invariant of STYLE.md."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from numzero.search import SearchConfig, SearchResult, check_invariants
from numzero.search.tree import UNVISITED, children_index, children_visits, node_values
from tests.search.problems import Problem, assume_clear, configs, distinct_problems, problems

UNLIMITED = (0,)


def edges(result: SearchResult) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and number of every node but the roots."""
    exists = np.arange(result.tree.parent.shape[1]) < result.tree.num_nodes[:, None]
    exists[:, 0] = False
    return exists.nonzero()


@given(problem=problems(), config=configs())
def test_every_tree_is_consistent(problem: Problem, config: SearchConfig) -> None:
    """`check_invariants` finds nothing, whatever the model, the mask, the rule and the settings."""
    check_invariants(problem.run(config).tree)


@given(problem=problems(), config=configs())
def test_parents_precede_children_and_point_to_them(problem: Problem, config: SearchConfig) -> None:
    """`children_index[parent[n], action[n]] == n`, and no other edge leads anywhere."""
    result = problem.run(config)
    tree, (row, node) = result.tree, edges(result)
    parent, action = tree.parent[row, node], tree.action_from_parent[row, node]
    assert (parent < node).all()
    assert (children_index(tree)[row, parent, action] == node).all()
    assert ((children_index(tree) != UNVISITED).sum(axis=(1, 2)) == tree.num_nodes - 1).all()


@given(problem=problems(), config=configs(depths=UNLIMITED))
def test_visits_are_conserved(problem: Problem, config: SearchConfig) -> None:
    """A node's visits are its own evaluation and those below it; the root has one for each simulation and one more."""
    tree = problem.run(config).tree
    assert (tree.node_visits == 1 + children_visits(tree).sum(axis=2)).all()
    assert (tree.node_visits[:, 0] == config.num_simulations + 1).all()
    assert (tree.num_nodes == config.num_simulations + 1).all()


@given(problem=problems(), config=configs())
def test_illegal_root_actions_are_never_followed(problem: Problem, config: SearchConfig) -> None:
    """No visits, no value, no share of the policy, and never the move; all simulations go to legal actions."""
    result = problem.run(config, rng=np.random.default_rng(0))
    assert not result.visit_counts[~problem.legal].any()
    assert not result.policy_target[~problem.legal].any()
    assert np.isnan(result.q_values[~problem.legal]).all()
    assert problem.legal[np.arange(len(problem.roots)), result.action].all()
    assert (result.visit_counts.sum(axis=1) == config.num_simulations).all()
    np.testing.assert_allclose(result.policy_target.sum(axis=1), 1.0, rtol=1e-5)


@given(problem=problems(), config=configs(depths=UNLIMITED))
def test_a_value_is_the_mean_of_what_was_backed_up(problem: Problem, config: SearchConfig) -> None:
    """Walking each node's own value up to the root by hand gives every node's value sum; the bounds hold every Q."""
    tree = problem.run(config).tree
    for b in range(len(problem.roots)):
        sums = np.zeros(config.num_simulations + 1)
        visits = np.zeros(config.num_simulations + 1)
        for i in range(config.num_simulations + 1):
            node, value = i, float(tree.raw_value[b, i])
            while True:
                sums[node] += value
                visits[node] += 1
                if node == 0:
                    break
                reward, discount = float(tree.reward[b, node]), float(tree.discount[b, node])
                q = reward + discount * sums[node] / visits[node]
                assert tree.q_bounds[b, 0] - 1e-9 <= q <= tree.q_bounds[b, 1] + 1e-9
                node, value = int(tree.parent[b, node]), reward + discount * value
        np.testing.assert_allclose(node_values(tree)[b], sums / visits, rtol=1e-9, atol=1e-9)


@given(problem=problems(), config=configs())
def test_a_row_of_a_batch_equals_its_search_alone(problem: Problem, config: SearchConfig) -> None:
    """Bit for bit: batch mates share nothing."""
    together = problem.run(config)
    for b in range(len(problem.roots)):
        row = slice(b, b + 1)
        alone = Problem(problem.model, problem.roots[row], problem.legal[row], problem.gumbel[row]).run(config)
        for field, array in zip(alone.tree._fields, alone.tree, strict=True):
            assert array.tobytes() == getattr(together.tree, field)[row].tobytes(), field
        for field in ("action", "visit_counts", "q_values", "root_value", "policy_target"):
            assert getattr(alone, field).tobytes() == getattr(together, field)[row].tobytes(), field


@given(problem=distinct_problems(), config=configs(), data=st.data())
def test_permuting_actions_permutes_the_result(problem: Problem, config: SearchConfig, data: st.DataObject) -> None:
    """The search has no favourite action numbers."""
    assume_clear(problem.twins(config))
    order = np.array(data.draw(st.permutations(range(problem.model.num_actions))))
    tables = {name: getattr(problem.model, name)[:, order] for name in ("next_state", "reward", "discount", "logits")}
    permuted = Problem(
        problem.model.replace(**tables), problem.roots, problem.legal[:, order], problem.gumbel[:, order]
    ).run(config)
    plain = problem.run(config)
    np.testing.assert_array_equal(permuted.visit_counts, plain.visit_counts[:, order])
    np.testing.assert_array_equal(permuted.tree.parent, plain.tree.parent)
    np.testing.assert_allclose(permuted.q_values, plain.q_values[:, order], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(permuted.policy_target, plain.policy_target[:, order], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(permuted.root_value, plain.root_value, rtol=1e-4, atol=1e-4)
    if config.rule == "gumbel":
        assert (order[permuted.action] == plain.action).all()


@given(
    problem=distinct_problems(),
    config=configs(("paper",)),
    gamma=st.sampled_from([1.0, 0.5]),
    scale=st.sampled_from([0.125, 2.0, 1024.0]),
    shift=st.integers(-400, 400).map(lambda n: n / 4),
)
def test_the_paper_rule_ignores_the_unit_and_the_zero_of_values(
    problem: Problem, config: SearchConfig, gamma: float, scale: float, shift: float
) -> None:
    """Values a v + k and rewards a r + k (1 - discount) make every Q a Q + k, and leave the tree as it was."""
    config = dataclasses.replace(config, value_bounds=None, least_range=0.0)
    value, reward = np.round(64 * problem.model.value) / 64, np.round(64 * problem.model.reward) / 64  # exact sums
    discount = np.sign(problem.model.discount) * np.float32(gamma)
    problem = problem._replace(model=problem.model.replace(value=value, reward=reward, discount=discount))
    assume_clear(problem.twins(config))
    tables = {"value": scale * value + shift, "reward": scale * reward + shift * (1 - discount)}
    moved = problem._replace(model=problem.model.replace(**{k: v.astype(np.float32) for k, v in tables.items()}))
    plain, other = problem.run(config), moved.run(config)
    np.testing.assert_array_equal(other.tree.parent, plain.tree.parent)
    np.testing.assert_array_equal(other.visit_counts, plain.visit_counts)
    np.testing.assert_allclose(other.q_values, scale * plain.q_values + shift, rtol=1e-5, atol=1e-4 * scale)
    np.testing.assert_allclose(other.root_value, scale * plain.root_value + shift, rtol=1e-5, atol=1e-4 * scale)


def in_the_running(num_considered: int, num_simulations: int) -> Iterator[int]:
    """How many actions remain, for each simulation of sequential halving."""
    remaining, phases = num_considered, max(1, math.ceil(math.log2(num_considered)))
    while True:
        yield from [remaining] * (remaining * max(1, num_simulations // (phases * remaining)))
        remaining = min(remaining, max(2, remaining // 2))


@given(problem=problems(), config=configs(("gumbel",), depths=UNLIMITED))
def test_halving_visits_differ_by_at_most_one_within_a_phase(problem: Problem, config: SearchConfig) -> None:
    """After every simulation those still in the running have equal visits or one more, and nobody else is visited."""
    tree = problem.run(config).tree
    for b, legal in enumerate(problem.legal):
        first_edge = [-1]  # the root action above each node
        for parent, action in zip(tree.parent[b, 1:], tree.action_from_parent[b, 1:], strict=True):
            first_edge.append(int(action) if parent == 0 else first_edge[parent])
        visits = np.zeros(len(legal), np.int64)
        considered = in_the_running(min(config.max_considered_actions, int(legal.sum())), config.num_simulations)
        for action, remaining in zip(first_edge[1:], considered, strict=False):
            visits[action] += 1
            best = np.sort(visits)[::-1][:remaining]
            assert best[0] - best[-1] <= 1
            assert visits[action] == best[0]


def bandit(problem: Problem) -> Problem:
    """The same problem where every episode ends after one action."""
    return problem._replace(model=problem.model.replace(discount=np.zeros_like(problem.model.discount)))


@given(problem=problems(), config=configs(("gumbel",)))
def test_gumbels_improved_policy_earns_at_least_the_priors_reward_on_a_bandit(
    problem: Problem, config: SearchConfig
) -> None:
    """Where every legal action was tried, tilting the prior by its true rewards can only gain."""
    num_actions = problem.model.num_actions
    config = dataclasses.replace(config, num_simulations=2 * num_actions, max_considered_actions=num_actions)
    result = bandit(problem).run(config)
    assert (result.visit_counts > 0)[problem.legal].all()
    reward = problem.model.reward[problem.roots]
    gained = (result.policy_target * reward).sum(axis=1) - (result.tree.children_prior[:, 0] * reward).sum(axis=1)
    assert (gained >= -1e-5).all()
    np.testing.assert_allclose(result.root_value, (result.policy_target * reward).sum(axis=1), rtol=1e-4, atol=1e-4)


@given(problem=problems(), config=configs(("gumbel",)))
def test_gumbels_move_earns_at_least_what_the_noisy_prior_would_on_a_bandit(
    problem: Problem, config: SearchConfig
) -> None:
    """For every draw, with any number of simulations: over draws, the prior's own choice earns the prior's reward."""
    assume(config.num_simulations > 0)
    chosen = bandit(problem).run(config).action
    noisy = np.where(problem.legal, problem.model.logits[problem.roots] + problem.gumbel, -np.inf).argmax(axis=1)
    reward = problem.model.reward[problem.roots]
    rows = np.arange(len(chosen))
    assert (reward[rows, chosen] >= reward[rows, noisy] - 1e-5).all()
