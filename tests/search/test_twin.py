"""The compiled search against its slow twin."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numzero.search import SearchConfig
from numzero.search.rules import considered_visits
from tests.reference.search import TableModel, due_visits
from tests.search.problems import (
    RULES,
    Problem,
    assert_trees_match,
    assume_clear,
    configs,
    distinct_problems,
)


def constant_problem(num_actions: int, legal: list[bool], value: float = 0.0) -> Problem:
    """One state, every action alike, every value the same."""
    table = np.zeros((1, num_actions), np.float32)
    model = TableModel(table.astype(np.int32), table, table + 1, np.full(1, value, np.float32), table)
    return Problem(model, np.zeros(1, np.int32), np.array([legal]), np.zeros((1, num_actions)))


@given(problem=distinct_problems(), config=configs())
def test_compiled_search_equals_its_twin(problem: Problem, config: SearchConfig) -> None:
    """All three rules, with masks, depth limits, value bounds, edge discounts, and every read-out."""
    twins = problem.twins(config)
    assume_clear(twins)
    assert_trees_match(twins, problem.run(config))


@given(
    problem=distinct_problems(),
    config=configs(("paper", "parent_siblings")),
    alpha=st.sampled_from([0.03, 0.3, 10.0]),
    fraction=st.sampled_from([0.0, 0.25, 1.0]),
    seed=st.integers(0, 99),
)
def test_dirichlet_noise_is_mixed_into_the_root_prior(
    problem: Problem, config: SearchConfig, alpha: float, fraction: float, seed: int
) -> None:
    """A pUCT search with a generator is the search whose root prior holds that share of that generator's noise."""
    config = dataclasses.replace(config, dirichlet_alpha=alpha, dirichlet_fraction=fraction)
    draws = np.random.default_rng(seed).standard_gamma(alpha, problem.legal.shape) * problem.legal + 1e-300
    twins = problem.twins(config, draws / draws.sum(axis=1, keepdims=True))
    assume_clear(twins)
    assert_trees_match(twins, problem.run(config, rng=np.random.default_rng(seed)))


@given(problem=distinct_problems(), config=configs(("gumbel",)), scale=st.sampled_from([0.0, 0.5, 1.0]))
def test_drawn_gumbel_noise_is_the_generators_times_the_scale(
    problem: Problem, config: SearchConfig, scale: float
) -> None:
    """A Gumbel search with a generator is the search with that noise given; without one there is no noise."""
    config = dataclasses.replace(config, gumbel_scale=scale)
    noise = np.random.default_rng(3).gumbel(size=problem.legal.shape) * scale
    twins = problem._replace(gumbel=noise).twins(config)
    assume_clear(twins)
    assert_trees_match(twins, problem.run(config, rng=np.random.default_rng(3)))
    silent = problem._replace(gumbel=np.zeros(problem.legal.shape))
    assert (silent.run(config).visit_counts == problem.run(config, rng=None).visit_counts).all()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("value", [0.0, 7.5])
def test_exact_ties_go_to_the_lowest_action(rule: str, value: float) -> None:
    """Where all actions are alike the root tries its legal ones in ascending order, and the twin agrees on every
    node."""
    problem = constant_problem(5, [False, True, True, False, True], value)
    config = SearchConfig(rule=rule, num_simulations=17)  # type: ignore[arg-type]
    result = problem.run(config)
    assert_trees_match(problem.twins(config), result)
    firsts = [a for p, a in zip(result.tree.parent[0], result.tree.action_from_parent[0], strict=True) if p == 0]
    assert firsts == [1, 2, 4]
    assert problem.run(dataclasses.replace(config, num_simulations=3)).action.tolist() == [1]


@given(num_considered=st.integers(1, 40), num_simulations=st.integers(1, 300))
def test_the_halving_schedule_equals_its_twin(num_considered: int, num_simulations: int) -> None:
    """The due visits laid out in advance are those of walking through the phases."""
    walked = itertools.islice(due_visits(num_considered, num_simulations), num_simulations)
    assert considered_visits(num_considered, num_simulations) == list(walked)
