"""Settings, budgets, noise and the drawing of actions."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.search import Search, SearchConfig, check_invariants, random_action, sample_action
from tests.reference.search import TableModel
from tests.search.problems import RULES, Problem, configs, problems, random_problem

NAN, INF = math.nan, math.inf
REFUSED = [
    ("rule", "alpha", "search.rule must be one of gumbel, paper, parent_siblings; got 'alpha'."),
    ("num_simulations", -1, "search.num_simulations must be 0 or more; got -1."),
    ("max_considered_actions", 0, "search.max_considered_actions must be 1 or more; got 0."),
    ("max_depth", -1, "search.max_depth must be 0 or more; got -1."),
    ("least_range", -1.0, "search.least_range must be 0 or more; got -1.0."),
    ("dirichlet_alpha", 0.0, "search.dirichlet_alpha must be above 0; got 0.0."),
    ("dirichlet_alpha", INF, "search.dirichlet_alpha must be above 0 and finite; got inf."),
    ("dirichlet_fraction", 1.5, "search.dirichlet_fraction must be from 0 to 1; got 1.5."),
    ("dirichlet_fraction", NAN, "search.dirichlet_fraction must be from 0 to 1; got nan."),
    ("exploration_init", -1.0, "search.exploration_init must be 0 or more; got -1.0."),
    ("gumbel_scale", INF, "search.gumbel_scale must be 0 or more and finite; got inf."),
    ("value_scale", NAN, "search.value_scale must be 0 or more; got nan."),
    ("visit_offset", -50.0, "search.visit_offset must be 0 or more; got -50.0."),
    ("exploration_base", 0.0, "search.exploration_base must be above 0; got 0.0."),
    ("exploration_base", INF, "search.exploration_base must be above 0 and finite; got inf."),
    (
        "rescale_values",
        False,
        "search.rescale_values = false is for rule gumbel without tree_wide_scaling; all else scales values; "
        "got it with rule 'paper'.",
    ),
    ("policy_candidates", -1, "search.policy_candidates must be 0 or more; got -1."),
    ("wide_candidates", -1, "search.wide_candidates must be 0 or more; got -1."),
    ("inner_candidates", 0, "search.inner_candidates must be 1 or more; got 0."),
    ("wide_scale", 0.5, "search.wide_scale must be 1 or more; got 0.5."),
    ("candidate_priors", "none", "search.candidate_priors must be one of uniform, corrected; got 'none'."),
    ("value_bounds", (1.0, 1.0), "search.value_bounds must be (least, greatest), both finite; got (1.0, 1.0)."),
    ("value_bounds", (-INF, 1.0), "search.value_bounds must be (least, greatest), both finite; got (-inf, 1.0)."),
]


@dataclasses.dataclass
class Rewarded(TableModel):
    """One that knows how large its rewards are."""

    reward_unit: float = 1.0


@pytest.mark.parametrize(("field", "value", "sentence"), REFUSED)
def test_a_bad_setting_is_refused_in_one_sentence(field: str, value: Any, sentence: str) -> None:
    """The rule and what was seen; `Search` refuses with the same words."""
    config = dataclasses.replace(SearchConfig(), **{field: value})
    assert config.check() == [sentence]
    with pytest.raises(ValueError, match=r"^search\.") as caught:
        Search(random_problem(np.random.default_rng(0), 2, 2, 1).model, config, 1)
    assert str(caught.value) == sentence


@given(problems(), configs(), st.sampled_from([1e-3, 0.5, 1.0, 64.0]))
def test_the_least_range_counts_in_the_rewards_of_the_model(
    problem: Problem, config: SearchConfig, unit: float
) -> None:
    """Of the model of the moment: a search whose model learned of larger rewards goes on with these."""
    search = Search(problem.model, config, len(problem.roots))
    gumbel = {"gumbel": problem.gumbel} if config.rule == "gumbel" else {}
    search.run(problem.roots, problem.legal, **gumbel)
    search.model = Rewarded(**vars(problem.model), reward_unit=unit)
    found = search.run(problem.roots, problem.legal, **gumbel)
    expected = problem.run(dataclasses.replace(config, least_range=config.least_range * unit))
    for one, other in zip(found[:5], expected[:5], strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_formulas_or_memory_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that would overflow, trees that do not fit, a time that is none: one sentence each."""
    wide = SearchConfig(value_bounds=(-1e300, 1e300)).check()
    assert wide == ["search.value_bounds must be at most 1e+12 from 0; got (-1e+300, 1e+300)."]
    problem = random_problem(np.random.default_rng(0), 2, 2, 1)
    for limit in (-1, math.nan, True, "soon"):
        with pytest.raises(UserError, match=r"^time_limit_ms must be a number, 0 or more"):
            problem.run(SearchConfig(num_simulations=1), time_limit_ms=limit)
    monkeypatch.setattr("numzero.search.search.machine_bytes", lambda: 1000)
    with pytest.raises(UserError, match=r"^trees of 1 searches with 50 simulations must fit into memory"):
        problem.run(SearchConfig())


def test_check_returns_all_problems_at_once() -> None:
    """Nobody has to run again to learn of the second mistake; the defaults have none."""
    bad = {field: value for field, value, _ in REFUSED}
    assert len(SearchConfig(**bad).check()) == len(bad) == len(dataclasses.fields(SearchConfig)) - 1
    assert SearchConfig().check() == []


@pytest.mark.parametrize("size", [0.01, 1.0, 30.0])
def test_without_rescaling_values_tilt_the_prior_by_their_own_size(size: float) -> None:
    """softmax(logits + (c_visit + max N) c_scale Q), as mctx has it, whatever the size of values."""
    problem = random_problem(np.random.default_rng(5), num_states=9, num_actions=4, num_roots=3)
    model = problem.model.replace(reward=problem.model.reward * np.float32(size), value=problem.model.value * 0)
    problem = problem._replace(model=model.replace(discount=np.zeros_like(model.discount)))
    config = SearchConfig(rule="gumbel", num_simulations=24, rescale_values=False)
    result = problem.run(config)
    most = result.visit_counts.max(axis=1, keepdims=True)
    q = np.where(problem.legal, model.reward[problem.roots], -INF)
    tilted = np.where(problem.legal, model.logits[problem.roots] + (50 + most) * 0.1 * q, -INF)
    weights = np.exp(tilted - tilted.max(axis=1, keepdims=True))
    np.testing.assert_allclose(result.policy_target, weights / weights.sum(axis=1, keepdims=True), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rescale", [True, False])
def test_what_is_worth_far_more_than_what_was_tried_makes_no_nan(rescale: bool) -> None:
    """Values of thousands and priors that float32 cannot tell from 0: the tree is whole, and so is what is read out."""
    problem = random_problem(np.random.default_rng(6), num_states=30, num_actions=3, num_roots=2)
    tables = {"value": problem.model.value * 300, "reward": problem.model.reward * 300}
    model = problem.model.replace(logits=problem.model.logits * np.float32(20), **tables)
    config = SearchConfig(rule="gumbel", num_simulations=60, value_scale=30.0, rescale_values=rescale)
    result = problem._replace(model=model).run(config)
    check_invariants(result.tree)
    assert np.isfinite(result.policy_target).all()
    assert np.isfinite(result.root_value).all()


@pytest.mark.parametrize("rule", RULES)
def test_no_time_or_no_simulations_play_the_bare_policy(rule: str) -> None:
    """The policy is the masked prior, the value the network's, the move the prior's best: pUCT and Gumbel without
    noise."""
    problem = random_problem(np.random.default_rng(2), num_states=9, num_actions=4, num_roots=4)
    config = SearchConfig(rule=rule, num_simulations=9)  # type: ignore[arg-type]
    none = problem._replace(gumbel=np.zeros((4, 4))).run(dataclasses.replace(config, num_simulations=0))
    late = problem._replace(gumbel=np.zeros((4, 4))).run(config, time_limit_ms=0)
    logits = np.where(problem.legal, problem.model.logits[problem.roots].astype(np.float64), -np.inf)
    prior = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for result in (none, late):
        assert result.num_simulations == 0
        assert not result.visit_counts.any()
        np.testing.assert_allclose(result.policy_target, prior, rtol=1e-5)
        np.testing.assert_allclose(result.root_value, problem.model.value[problem.roots], rtol=1e-5)
        assert (result.action == logits.argmax(axis=1)).all()


class SlowModel(TableModel):
    """Ten milliseconds for each simulation."""

    def recurrent(self, latent: NDArray[np.float32], action: NDArray[np.int32], /) -> Any:
        time.sleep(0.01)
        return super().recurrent(latent, action)


@pytest.mark.parametrize("rule", RULES)
def test_a_time_limit_ends_the_search_after_the_simulation_in_hand(rule: str) -> None:
    """Fewer simulations than planned, at least one, all of them counted, visit shares of those that were run."""
    problem = random_problem(np.random.default_rng(2), num_states=9, num_actions=4, num_roots=2)
    slow = problem._replace(model=SlowModel(**vars(problem.model)))
    config = SearchConfig(rule=rule, num_simulations=1000)  # type: ignore[arg-type]
    slow.run(dataclasses.replace(config, num_simulations=2))  # compiles
    result = slow.run(config, time_limit_ms=45)
    assert 1 <= result.num_simulations <= 5
    assert (result.visit_counts.sum(axis=1) == result.num_simulations).all()
    np.testing.assert_allclose(result.policy_target.sum(axis=1), 1.0, rtol=1e-6)


@given(problem=problems(), config=configs())
def test_a_generous_time_limit_changes_nothing(problem: Problem, config: SearchConfig) -> None:
    """All planned simulations are run, to the same tree."""
    result = problem.run(config, time_limit_ms=1e9)
    assert result.num_simulations == config.num_simulations
    assert result.tree.parent.tolist() == problem.run(config).tree.parent.tolist()


@pytest.mark.parametrize("alpha", [0.03, 0.3, 100.0])
def test_dirichlet_noise_is_a_distribution_over_the_legal_actions(alpha: float) -> None:
    """With a share of 1 the root prior is the noise: it sums to 1, spares illegal actions, and has mean 1 / legal."""
    problem = random_problem(np.random.default_rng(0), num_states=1, num_actions=4, num_roots=4000)
    problem.legal[:] = [True, False, True, True]
    config = SearchConfig(num_simulations=0, dirichlet_alpha=alpha, dirichlet_fraction=1.0)
    prior = problem.run(config, rng=np.random.default_rng(1)).tree.children_prior[:, 0]
    np.testing.assert_allclose(prior.sum(axis=1), 1.0, rtol=1e-6)
    assert not prior[:, 1].any()
    share, spread = 1 / 3, math.sqrt(2 / 9 / (3 * alpha + 1))
    assert np.abs(prior[:, [0, 2, 3]].mean(axis=0) - share).max() < 5 * spread / math.sqrt(4000)
    np.testing.assert_allclose(prior[:, 0].std(), spread, rtol=0.1)


POLICY = np.array([[0.5, 0.3, 0.2, 0.0], [0.0, 0.0, 1.0, 0.0], [0.25, 0.25, 0.25, 0.25]], np.float32)


@pytest.mark.parametrize("temperature", [0.25, 0.5, 1.0, 2.0, 1e6, INF])
def test_sampled_actions_have_the_sharpened_frequencies(temperature: float) -> None:
    """p ** (1 / temperature), normalised over the actions that have any probability."""
    num_draws = 20_000
    rng = np.random.default_rng(0)
    actions = sample_action(np.repeat(POLICY, num_draws, axis=0), temperature, rng).reshape(3, num_draws)
    weight = np.where(POLICY > 0, POLICY.astype(np.float64) ** (1 / temperature), 0.0)
    expected = weight / weight.sum(axis=1, keepdims=True)
    frequency = np.stack([np.bincount(row, minlength=4) for row in actions]) / num_draws
    assert (np.abs(frequency - expected) <= 5 * np.sqrt(expected * (1 - expected) / num_draws)).all()


@pytest.mark.parametrize("temperature", [0.0, 1e-300, 1e-4])
def test_no_temperature_takes_the_most_probable_action(temperature: float) -> None:
    """0 the lowest of equals; next to 0 one of the best, without overflow."""
    actions = sample_action(np.repeat(POLICY, 200, axis=0), temperature, np.random.default_rng(0)).reshape(3, 200)
    assert (actions[:2] == [[0], [2]]).all()
    assert set(actions[2].tolist()) == ({0} if temperature == 0.0 else {0, 1, 2, 3})


def test_each_row_has_its_own_temperature_and_its_own_draw() -> None:
    """A row at 0 is greedy beside rows that draw, and rows of equal policies draw differently."""
    policy = np.repeat(POLICY[:1], 300, axis=0)
    actions = sample_action(policy, np.where(np.arange(300) < 150, 0.0, 1.0), np.random.default_rng(0))
    assert actions.dtype == np.int32
    assert not actions[:150].any()
    assert set(actions[150:].tolist()) == {0, 1, 2}


@given(
    policy=hnp.arrays(np.float32, (7, 5), elements=st.sampled_from([0.0, 1e-38, 1e-7, 0.1, 1.0])),
    temperature=st.sampled_from([0.0, 1e-3, 1.0, 100.0, INF]),
    seed=st.integers(0, 2**32 - 1),
)
def test_an_action_without_probability_is_never_drawn(policy: NDArray[Any], temperature: float, seed: int) -> None:
    """Whatever the temperature, and wherever the zeros stand."""
    policy[:, 2] += np.float32(1e-37)
    actions = sample_action(policy, temperature, np.random.default_rng(seed))
    assert (policy[np.arange(7), actions] > 0).all()


@given(legal=hnp.arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 9))), seed=st.integers(0, 2**32 - 1))
def test_random_actions_are_those_of_a_flat_policy(legal: NDArray[Any], seed: int) -> None:
    """Draw for draw, and the generator goes on the same; of a row without any action the first."""
    ours, theirs = np.random.default_rng(seed), np.random.default_rng(seed)
    has_any = legal.any(axis=1)
    expected = sample_action((legal | ~has_any[:, None]).astype(np.float32), 1.0, theirs)
    assert (random_action(legal, ours) == np.where(has_any, expected, 0)).all()
    assert ours.random() == theirs.random()


@pytest.mark.parametrize("number", [0.0, 1.0 - 2.0**-53])
@pytest.mark.parametrize("temperature", [0.7, 1.0, 3.0])
def test_the_ends_of_the_unit_interval_draw_possible_actions(number: float, temperature: float) -> None:
    """The least and the greatest number that a generator can give, with impossible actions at both ends."""

    class Stuck(np.random.Generator):
        def random(self, size: Any = None, *_: Any) -> Any:
            return np.full(size, number)

    policy = np.float32([[0, 0, 0.3, 0.7, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1 / 3, 0]])
    actions = sample_action(policy, temperature, Stuck(np.random.PCG64(0)))
    assert actions.tolist() == ([2, 1, 4] if number == 0.0 else [3, 1, 4])
