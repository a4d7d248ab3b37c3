"""Degenerate, extreme and broken inputs."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from numzero.search import NonFiniteOutputError, Search, SearchConfig, SearchResult, check_invariants
from tests.reference.search import TableModel
from tests.search.problems import RULES, Problem, assert_trees_match, random_problem

INTERPRETED = bool(numba.config.DISABLE_JIT)

every_rule = pytest.mark.parametrize("rule", RULES)


def searched(problem: Problem, rule: str, num_simulations: int, **settings: Any) -> SearchResult:
    """A consistent, finite result: what every degenerate search must still give."""
    config = SearchConfig(rule=rule, num_simulations=num_simulations, **settings)  # type: ignore[arg-type]
    result = problem.run(config)
    check_invariants(result.tree)
    assert np.isfinite(result.root_value).all()
    assert np.isfinite(result.policy_target).all()
    assert (result.visit_counts.sum(axis=1) == num_simulations).all()
    assert problem.legal[np.arange(len(problem.legal)), result.action].all()
    return result


def problem_of(num_actions: int, num_roots: int = 2, seed: int = 0) -> Problem:
    return random_problem(np.random.default_rng(seed), num_states=20, num_actions=num_actions, num_roots=num_roots)


@every_rule
def test_a_single_action_makes_a_chain(rule: str) -> None:
    """Each simulation goes one deeper."""
    tree = searched(problem_of(1), rule, 40).tree
    assert (tree.parent == np.arange(-1, 40)).all()


@every_rule
def test_a_single_legal_action_gets_every_visit(rule: str) -> None:
    """And all of the policy, though others look better."""
    problem = problem_of(4)
    problem.legal[:] = [False, False, True, False]
    problem.model.logits[:, 2] = -10
    result = searched(problem, rule, 20)
    assert (result.visit_counts == [0, 0, 20, 0]).all()
    np.testing.assert_allclose(result.policy_target, [[0, 0, 1, 0]] * 2)


@every_rule
@pytest.mark.parametrize("num_simulations", [1, 2])
@pytest.mark.parametrize("max_considered_actions", [1, 2])
def test_one_or_two_simulations_are_enough(rule: str, num_simulations: int, max_considered_actions: int) -> None:
    """The smallest searches equal the twin's."""
    problem = problem_of(5)
    settings = {"num_simulations": num_simulations, "max_considered_actions": max_considered_actions}
    config = SearchConfig(rule=rule, **settings)  # type: ignore[arg-type]
    assert_trees_match(problem.twins(config), searched(problem, rule, **settings))


@every_rule
@pytest.mark.parametrize("value", [-3.0, 0.0, 1e30])
def test_equal_values_leave_the_prior_to_decide(rule: str, value: float) -> None:
    """No division by a range of zero: the likeliest action is the most visited."""
    problem = problem_of(3, num_roots=1)
    model = problem.model.replace(
        value=np.full_like(problem.model.value, value),
        reward=np.zeros_like(problem.model.reward),
        discount=np.ones_like(problem.model.discount),
        logits=np.tile(np.float32([0.0, 2.0, 1.0]), (20, 1)),
    )
    problem = problem._replace(model=model, legal=np.ones((1, 3), np.bool_), gumbel=np.zeros((1, 3)))
    result = searched(problem, rule, 12)
    assert result.action.tolist() == [1]
    np.testing.assert_allclose(result.root_value, value, rtol=1e-6)


@every_rule
@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_huge_and_tiny_values_stay_finite(rule: str, scale: float) -> None:
    """Near the ends of float32."""
    problem = problem_of(4)
    tables = {"value": problem.model.value * scale, "reward": problem.model.reward * scale}
    model = problem.model.replace(**{name: table.astype(np.float32) for name, table in tables.items()})
    searched(problem._replace(model=model), rule, 24)


@every_rule
def test_rewards_of_every_size_share_one_tree(rule: str) -> None:
    """1e6 beside 1e-6: node for node the twin's tree, in float64."""
    problem = problem_of(4)
    size = np.random.default_rng(5).choice([1e6, 1e-6], problem.model.reward.shape)
    problem = problem._replace(model=problem.model.replace(reward=(problem.model.reward * size).astype(np.float32)))
    config = SearchConfig(rule=rule, num_simulations=24)  # type: ignore[arg-type]
    assert_trees_match(problem.twins(config), searched(problem, rule, 24))


@every_rule
def test_logits_far_apart_make_no_nan(rule: str) -> None:
    """A prior of exactly 0 for a legal action is still a prior."""
    problem = problem_of(4)
    problem.model.logits[:] = [-1e30, 0.0, 1e30, -1e4]
    problem.legal[:] = [[True, True, False, True], [True, False, False, True]]
    assert searched(problem, rule, 24).action.tolist() == [1, 3]


@every_rule
def test_as_many_actions_as_chess_has(rule: str) -> None:
    """4,672 actions, a handful of them legal."""
    problem = problem_of(4672, num_roots=1)
    problem.legal[:] = np.isin(np.arange(4672), [17, 1000, 4671])
    result = searched(problem, rule, 4 if INTERPRETED else 40)
    assert set(result.visit_counts[0].nonzero()[0].tolist()) <= {17, 1000, 4671}


@every_rule
def test_three_thousand_simulations_do_not_drift(rule: str) -> None:
    """Every mean is still the mean, to nine digits."""
    problem = random_problem(np.random.default_rng(4), num_states=400, num_actions=3, num_roots=1)
    searched(problem, rule, 300 if INTERPRETED else 3000)


class Breakage(NamedTuple):
    """Where a model goes wrong."""

    function: str
    output: str
    row: int
    value: float


class BrokenModel(TableModel):
    """Puts one bad number into one output of its second simulation."""

    breakage: Breakage
    num_simulations = 0

    def initial(self, observation: NDArray[Any], /) -> Any:
        return self._break("initial", super().initial(observation))

    def recurrent(self, latent: NDArray[np.float32], action: NDArray[np.int32], /) -> Any:
        self.num_simulations += 1
        output = super().recurrent(latent, action)
        return output if self.num_simulations < 2 else self._break("recurrent", output)

    def _break(self, function: str, output: Any) -> Any:
        if function != self.breakage.function:
            return output
        array = getattr(output, self.breakage.output).copy()
        array[self.breakage.row, ...].flat[-1:] = self.breakage.value
        return output._replace(**{self.breakage.output: array})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("function", "output"),
    [("initial", name) for name in ("value", "policy_logits")]
    + [("recurrent", name) for name in ("value", "policy_logits", "reward", "discount")],
)
@pytest.mark.parametrize("num_simulations", [2, 5])
def test_a_broken_output_is_named_with_its_row(function: str, output: str, value: float, num_simulations: int) -> None:
    """NaN and infinity never enter a tree quietly, in the last simulation as in any other."""
    problem = problem_of(3, num_roots=3)
    model = BrokenModel(**vars(problem.model))
    model.breakage = Breakage(function, output, 2, value)
    with pytest.raises(NonFiniteOutputError, match=rf"{function}\(\) returned NaN or infinity in '{output}', row 2\."):
        problem._replace(model=model).run(SearchConfig(num_simulations=num_simulations))


def test_a_search_after_a_broken_one_is_as_good_as_new() -> None:
    """`reset` forgets everything, spoilt trees too."""
    problem, config = problem_of(3), SearchConfig(num_simulations=9)
    model = BrokenModel(**vars(problem.model))
    model.breakage = Breakage("recurrent", "reward", 1, math.nan)
    search = Search(model, config, 2)
    with pytest.raises(NonFiniteOutputError):
        search.run(problem.roots, problem.legal)
    search.model = problem.model
    again = search.run(problem.roots, problem.legal)
    assert again.tree.parent.tolist() == problem.run(config).tree.parent.tolist()
    assert again.root_value.tolist() == problem.run(config).root_value.tolist()


@every_rule
def test_roots_without_a_legal_action_are_named(rule: str) -> None:
    """Searching a finished game is a mistake of the caller."""
    problem = problem_of(3, num_roots=4)
    problem.legal[[1, 3]] = False
    with pytest.raises(ValueError, match=r"every root needs a legal action; rows \[1, 3\] have none"):
        problem.run(SearchConfig(rule=rule))  # type: ignore[arg-type]


def test_arrays_of_another_shape_are_refused() -> None:
    """Kernels do not check bounds: the wrapper must, or memory is read that is not ours."""
    problem, config = problem_of(4, num_roots=3), SearchConfig(num_simulations=2)
    search = Search(problem.model, config, 3)
    for roots, legal in (
        (problem.roots[:2], problem.legal),
        (problem.roots, problem.legal[:2]),
        (problem.roots, problem.legal[:, :3]),
    ):
        with pytest.raises(ValueError, match=r"\[B, A\] = \[3, 4\]"):
            search.run(roots, legal)
    gumbel = Search(problem.model, dataclasses.replace(config, rule="gumbel"), 3)
    with pytest.raises(ValueError, match=r"gumbel must be \[B, A\] = \[3, 4\]; got \[3, 2\]"):
        gumbel.run(problem.roots, problem.legal, gumbel=problem.gumbel[:, :2])
