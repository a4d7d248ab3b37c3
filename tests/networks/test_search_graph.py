"""agent.onnx against the Numba search and its slow twin: the same visits, moves, Q and values in every setting."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from numzero.inference import FoundMove, OnnxSearch
from numzero.networks.search_graph import search_graph
from numzero.search import SearchResult
from tests.reference.tables import table_files
from tests.search.problems import Problem, configs, random_problem

CLEAR = 1e-6
"""A choice that is won by less may fall otherwise: priors are double here and float32 there."""
NODES = {"gumbel": 100, "paper": 80, "parent_siblings": 82}
"""Most nodes of one simulation, the network's apart: nodes are what it costs."""


def table_problem(seed: int, num_states: int, num_actions: int, gamma: float) -> Problem:
    """As `random_problem` makes it, with one discount for all edges, as trained networks have."""
    problem = random_problem(np.random.default_rng(seed), num_states, num_actions, num_roots=1)
    model = problem.model.replace(discount=np.full((num_states, num_actions), gamma, np.float32))
    return problem._replace(model=model, gumbel=problem.gumbel.astype(np.float32).astype(np.float64))


@st.composite
def table_problems(draw: st.DrawFn) -> Problem:
    gamma = draw(st.sampled_from([1.0, -1.0, 0.9, -0.5, 0.0]))
    return table_problem(draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 8)), draw(st.integers(1, 6)), gamma)


def in_graph(search: OnnxSearch, problem: Problem, num_simulations: int, noise: np.ndarray | None) -> FoundMove:
    noise = None if noise is None else noise.astype(np.float32)
    return search.run(problem.roots[:1], problem.legal[0], num_simulations, noise)


def assert_same(found: FoundMove, expected: SearchResult) -> None:
    """Move and visits exactly, Q and value as far as float32 goes."""
    assert found.visit_counts.tolist() == expected.visit_counts[0].tolist()
    assert found.action == expected.action[0]
    np.testing.assert_allclose(found.q_values, expected.q_values[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.value, expected.root_value[0], rtol=1e-5, atol=1e-5)


@given(table_problems(), configs(), st.lists(st.integers(0, 60), min_size=1, max_size=4), st.booleans())
def test_the_graph_searches_as_numba_does(problem, config, budgets, noisy):
    """Every rule and setting, several budgets in one session, with and without Gumbel noise."""
    search = OnnxSearch(search_graph(table_files(problem.model), config, {}, with_margin=True))
    gumbel = problem.gumbel if noisy and config.rule == "gumbel" else np.zeros_like(problem.gumbel)
    for num_simulations in budgets:
        found = in_graph(search, problem, num_simulations, gumbel[0])
        assume(found.margin > CLEAR)
        planned = dataclasses.replace(config, num_simulations=num_simulations)
        assert_same(found, problem._replace(gumbel=gumbel).run(planned))
