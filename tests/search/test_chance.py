"""Searches where chance has its say after every action: afterstates at odd depth.

Provenance of `golden/mctx_stochastic_*.npz`: stochastic_muzero_policy of mctx 0.0.71 (DeepMind, Apache-2.0) with its
default parameters and without noise; nothing in them was produced by numzero. Their edges out of afterstates are
numbered from A on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from numzero.search import NonFiniteOutputError, Search, SearchConfig, SearchResult, WithChance, check_invariants
from numzero.search.tree import children_visits, node_values
from tests.reference.search import ChanceTableModel, ChanceTwin
from tests.search.problems import RULES, Problem, assert_trees_match, assume_clear, configs, result_bytes

FILES = sorted((Path(__file__).parent / "golden").glob("mctx_stochastic_*.npz"))
NUM_ROWS = 1 if numba.config.DISABLE_JIT else 24


class ChanceProblem(Problem):
    """Searches of B roots in one table model with chance."""

    def run(self, config: SearchConfig, **arguments: Any) -> SearchResult:
        return self._replace(model=WithChance(self.model))._run(config, **arguments)  # type: ignore[arg-type]

    def _run(self, config: SearchConfig, **arguments: Any) -> SearchResult:
        return Problem.run(self, config, **arguments)

    def twins(self, config: SearchConfig, noise: Any = None) -> list[Any]:
        rows = zip(self.roots, self.legal, self.gumbel, strict=True)
        return [ChanceTwin(self.model, config, int(r), legal, gumbel=gumbel) for r, legal, gumbel in rows]


def random_chance_problem(
    rng: np.random.Generator, num_states: int, num_actions: int, num_outcomes: int, num_roots: int
) -> ChanceProblem:
    """As `random_problem`: almost never tied, no vanishing chances."""
    shape, edges = (num_states, num_actions), (num_states + 1, num_outcomes)
    gamma = rng.choice([1.0, 0.997, 0.5])
    model = ChanceTableModel(
        after=rng.integers(edges[0], size=shape).astype(np.int32),
        value=rng.uniform(-10, 10, num_states).astype(np.float32),
        logits=rng.uniform(-2, 2, shape).astype(np.float32),
        after_value=rng.uniform(-10, 10, edges[0]).astype(np.float32),
        outcome_logits=rng.uniform(-2, 2, edges).astype(np.float32),
        next_state=rng.integers(num_states, size=edges).astype(np.int32),
        reward=rng.uniform(-10, 10, edges).astype(np.float32),
        discount=rng.choice([gamma, -gamma, 0.0], edges).astype(np.float32),
    )
    legal = rng.random((num_roots, num_actions)) < 0.7
    legal[np.arange(num_roots), rng.integers(num_actions, size=num_roots)] = True
    roots = rng.integers(num_states, size=num_roots).astype(np.int32)
    return ChanceProblem(model, roots, legal, rng.gumbel(size=(num_roots, num_actions)))  # type: ignore[arg-type]


@st.composite
def chance_problems(draw: st.DrawFn) -> ChanceProblem:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = [draw(st.integers(1, most)) for most in (8, 6, 9, 4)]
    return random_chance_problem(rng, *sizes)


def is_chance(result: SearchResult) -> NDArray[np.bool_]:
    """`[B, N]` which nodes are of odd depth."""
    parent = result.tree.parent
    depth = np.zeros(parent.shape, np.int64)
    for node in range(1, parent.shape[1]):
        depth[:, node] = 1 + depth[np.arange(len(parent)), parent[:, node]]
    return depth % 2 == 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_trees_with_chance_match_the_golden_ones_node_for_node(path: Path) -> None:
    """Same nodes in the same order, same visits, afterstates at the same places; values within 1e-4."""
    with np.load(path, allow_pickle=False) as file:
        data = dict(file)
    model = ChanceTableModel(
        data["afterstate"],
        data["value"],
        data["logits"],
        data["afterstate_value"],
        data["chance_logits"],
        data["next_state"],
        data["reward"],
        np.full(data["reward"].shape, data["discount"], np.float32),
    )
    config = SearchConfig(
        rule="parent_siblings",
        num_simulations=int(data["num_simulations"]),
        exploration_init=float(data["pb_c_init"]),
        exploration_base=float(data["pb_c_base"]),
    )
    roots, legal = data["roots"][:NUM_ROWS], data["legal"][:NUM_ROWS]
    result = ChanceProblem(model, roots, legal, np.zeros(legal.shape)).run(config)  # type: ignore[arg-type]
    tree, rows = result.tree, np.arange(len(roots))[:, None]
    check_invariants(tree)
    decides = data["is_decision"][:NUM_ROWS]
    np.testing.assert_array_equal(is_chance(result), ~decides)
    from_chance = ~decides[rows, tree.parent] & (tree.parent >= 0)
    edge = tree.action_from_parent + np.where(from_chance, model.num_actions, 0)
    np.testing.assert_array_equal(tree.parent, data["parent"][:NUM_ROWS])
    np.testing.assert_array_equal(edge, data["action_from_parent"][:NUM_ROWS])
    np.testing.assert_array_equal(tree.node_visits, data["node_visits"][:NUM_ROWS])
    np.testing.assert_array_equal(result.visit_counts, data["visit_counts"][:NUM_ROWS])
    np.testing.assert_allclose(node_values(tree), data["node_values"][:NUM_ROWS], rtol=0, atol=1e-4)
    np.testing.assert_allclose(result.q_values, data["q_values"][:NUM_ROWS], rtol=0, atol=1e-4)


def test_every_golden_file_with_chance_is_here() -> None:
    """Five, of which one has more actions than outcomes and one a single outcome."""
    assert [path.stem.split("_")[2] for path in FILES] == ["0", "1", "2", "3", "4"]


@given(problem=chance_problems(), config=configs())
def test_a_search_with_chance_equals_its_twin(problem: ChanceProblem, config: SearchConfig) -> None:
    """All rules and settings, with more actions than outcomes and the other way round."""
    twins = problem.twins(config)
    assume_clear(twins)
    result = problem.run(config)
    check_invariants(result.tree)
    assert_trees_match(twins, result)


@given(problem=chance_problems(), config=configs(), seed=st.integers(0, 2**32 - 1))
def test_chance_keeps_the_invariants_of_every_search(problem: ChanceProblem, config: SearchConfig, seed: int) -> None:
    """Noise on legal actions only, visits conserved, arrays of A actions; a row equals its search alone."""
    result = problem.run(config, rng=np.random.default_rng(seed))
    check_invariants(result.tree)
    shape = problem.legal.shape
    assert result.visit_counts.shape == result.q_values.shape == result.policy_target.shape == shape
    assert not result.visit_counts[~problem.legal].any()
    assert (result.visit_counts.sum(axis=1) == config.num_simulations).all()
    np.testing.assert_allclose(result.policy_target.sum(axis=1), 1.0, rtol=1e-5)
    together = problem.run(config)
    for b in range(len(problem.roots)):
        row = slice(b, b + 1)
        alone = problem._replace(roots=problem.roots[row], legal=problem.legal[row], gumbel=problem.gumbel[row])
        assert alone.run(config).tree.value_sum.tobytes() == together.tree.value_sum[row].tobytes()


@pytest.mark.parametrize("rule", RULES)
def test_outcomes_are_visited_as_often_as_they_are_likely(rule: str) -> None:
    """Whatever they are worth: of n visits to an afterstate each outcome has its share, to within one or two."""
    problem = random_chance_problem(np.random.default_rng(3), 30, num_actions=2, num_outcomes=5, num_roots=2)
    num_simulations = 60 if numba.config.DISABLE_JIT else 600
    result = problem.run(SearchConfig(rule=rule, num_simulations=num_simulations))  # type: ignore[arg-type]
    visits = children_visits(result.tree)[is_chance(result)]
    prior = result.tree.children_prior[is_chance(result)]
    often = visits.sum(axis=1) > num_simulations / 10
    assert often.any()
    expected = visits.sum(axis=1, keepdims=True) * prior
    assert np.abs(visits - expected)[often].max() < 3


@pytest.mark.parametrize("rule", RULES)
def test_equal_outcomes_are_followed_from_the_lowest(rule: str) -> None:
    """Ties at an afterstate go to the lowest outcome."""
    problem = random_chance_problem(np.random.default_rng(3), 5, num_actions=1, num_outcomes=4, num_roots=1)
    problem.model.outcome_logits[:] = 0.0
    tree = problem.run(SearchConfig(rule=rule, num_simulations=13)).tree  # type: ignore[arg-type]
    outcomes = tree.action_from_parent[0, tree.parent[0] == 1]
    assert outcomes.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("rule", RULES)
def test_a_search_with_one_sure_outcome_is_the_search_without_chance(rule: str) -> None:
    """Where nothing is left to chance, and an afterstate is worth what comes of it, each action is as good as before:
    the bandit's best action gets the most visits."""
    problem = random_chance_problem(np.random.default_rng(8), 7, num_actions=4, num_outcomes=1, num_roots=3)
    problem.legal[:] = True
    problem.model.discount[:] = 0.0
    problem.model.after_value[:] = problem.model.reward[:, 0]
    result = problem.run(SearchConfig(rule=rule, num_simulations=200))  # type: ignore[arg-type]
    worth = problem.model.reward[problem.model.after[problem.roots], 0]
    assert result.action.tolist() == worth.argmax(axis=1).tolist()
    tried = ~np.isnan(result.q_values)
    np.testing.assert_allclose(result.q_values[tried], worth[tried], rtol=1e-5)


def test_where_all_were_tried_nothing_is_left_to_what_was_not() -> None:
    """Equal Q, and a network that hopes for more: the search goes where the prior is, not to each in turn."""
    problem = random_chance_problem(np.random.default_rng(0), 2, num_actions=2, num_outcomes=1, num_roots=1)
    problem.roots[:], problem.legal[:] = 0, [[True, False]]
    model = problem.model
    model.after[:], model.next_state[:], model.discount[:] = [[0, 0], [1, 1]], 1, [[1.0], [0.0], [0.0]]
    model.logits[:], model.value[:], model.after_value[:], model.reward[:] = [-1.1889415, -0.9709188], 5.0, -1.0, -1.0
    config = SearchConfig(rule="gumbel", num_simulations=40, value_scale=1.0)
    (twin,) = problem.twins(config)
    assert twin.margin > 1e-4
    assert_trees_match([twin], problem.run(config))


def test_a_search_with_chance_begins_each_run_anew() -> None:
    """`advance` keeps nothing, and the same search again gives the same bits."""
    problem = random_chance_problem(np.random.default_rng(4), 9, num_actions=3, num_outcomes=4, num_roots=2)
    search = Search(WithChance(problem.model), SearchConfig(num_simulations=20), 2)  # type: ignore[arg-type]
    first = result_bytes(search.run(problem.roots, problem.legal))
    search.advance(np.zeros(2, np.int32))
    assert result_bytes(search.run(problem.roots, problem.legal)) == first


def test_a_mask_of_other_sizes_is_refused() -> None:
    """A mask of one column would else be taken for all actions."""
    problem = random_chance_problem(np.random.default_rng(4), 9, num_actions=3, num_outcomes=4, num_roots=2)
    with pytest.raises(ValueError, match=r"must be \[B, A\] = \[2, 3\], as the search was made for; got \[2, 1\]"):
        problem._replace(legal=np.ones((2, 1), np.bool_)).run(SearchConfig())


class Spoilt(ChanceTableModel):
    """Changes what its functions return."""

    change: Any = None

    def afterstate(self, latent: Any, action: Any, /) -> Any:
        return self.change(super().afterstate(latent, action))

    def chance(self, latent: Any, outcome: Any, /) -> Any:
        return self.change(super().chance(latent, outcome))


@pytest.mark.parametrize("name", ["latent", "outcome_logits", "policy_logits", "reward", "discount", "value"])
def test_an_output_of_a_wrong_shape_is_named(name: str) -> None:
    """Of either function."""
    problem = random_chance_problem(np.random.default_rng(4), 9, num_actions=3, num_outcomes=4, num_roots=2)
    model = Spoilt(**vars(problem.model))
    model.change = lambda output: (
        output._replace(**{name: getattr(output, name)[:0]}) if name in output._fields else output
    )
    with pytest.raises(ValueError, match=f"the model must return '{name}' of shape"):
        problem._replace(model=model).run(SearchConfig(num_simulations=8))


def test_a_value_that_is_not_finite_is_refused() -> None:
    """Of an afterstate as of a position."""
    problem = random_chance_problem(np.random.default_rng(4), 9, num_actions=3, num_outcomes=4, num_roots=2)
    problem.model.after_value[:] = np.nan
    with pytest.raises(NonFiniteOutputError, match=r"recurrent\(\) returned NaN or infinity in 'value', row 0"):
        problem.run(SearchConfig(num_simulations=3))
