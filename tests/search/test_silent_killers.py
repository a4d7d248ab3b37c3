"""Faults that broke other projects for years without an error: each has a test that would have told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from numzero.search import InitialOutput, RecurrentOutput, Search, SearchConfig
from numzero.search.tree import children_visits
from tests.reference.search import TableModel
from tests.search.problems import RULES, Problem, configs, problems, random_problem

every_rule = pytest.mark.parametrize("rule", RULES)


class CountingModel(TableModel):
    """Counts calls and the rows they evaluate; hands out the same buffers again and again."""

    calls: list[tuple[str, int]]

    def initial(self, observation: NDArray[Any], /) -> InitialOutput:
        self.calls.append(("initial", len(observation)))
        return super().initial(observation)

    def recurrent(self, latent: NDArray[np.float32], action: NDArray[np.int32], /) -> RecurrentOutput:
        self.calls.append(("recurrent", len(action)))
        return super().recurrent(latent, action)


@given(problem=problems(), config=configs())
def test_the_network_is_called_once_per_simulation(problem: Problem, config: SearchConfig) -> None:
    """Exactly one `initial` and n `recurrent`, each for the whole batch."""
    model = CountingModel(**vars(problem.model))
    model.calls = []
    problem._replace(model=model).run(config)
    rows = len(problem.roots)
    assert model.calls == [("initial", rows)] + [("recurrent", rows)] * config.num_simulations


@every_rule
def test_values_of_batch_mates_are_not_mixed(rule: str) -> None:
    """Beside a row of values a million times larger, a row keeps its own bounds and its own tree."""
    problem = random_problem(np.random.default_rng(0), num_states=20, num_actions=4, num_roots=2)
    model = problem.model
    for name in ("reward", "value"):  # states 10 and above are worth a million times more, and lead to each other only
        getattr(model, name)[10:] *= 1e6
    model.next_state[:] %= 10
    model.next_state[10:] += 10
    config = SearchConfig(rule=rule, num_simulations=24)  # type: ignore[arg-type]
    alone = problem._replace(roots=np.array([3, 4], np.int32)).run(config)
    beside = problem._replace(roots=np.array([3, 14], np.int32)).run(config)
    assert np.abs(beside.tree.q_bounds[0]).max() < 1e3 < 1e5 < np.abs(beside.tree.q_bounds[1]).max()
    for name in ("parent", "q", "q_bounds"):
        assert getattr(beside.tree, name)[0].tobytes() == getattr(alone.tree, name)[0].tobytes()


@pytest.mark.parametrize("rule", ["paper", "gumbel"])
def test_each_root_draws_its_own_noise(rule: str) -> None:
    """Equal positions in one batch, and in the next search, are explored differently; without a generator alike."""
    problem = random_problem(np.random.default_rng(0), num_states=20, num_actions=9, num_roots=16)
    problem = problem._replace(roots=np.zeros(16, np.int32), legal=np.ones((16, 9), np.bool_))
    search = Search(problem.model, SearchConfig(rule=rule, num_simulations=4), 16)  # type: ignore[arg-type]
    rng = np.random.default_rng(1)
    noises = []
    for _ in range(2):
        tree = search.run(problem.roots, problem.legal, rng).tree
        noise = tree.root_preference
        noises += noise.tolist()
    assert len({tuple(row) for row in noises}) == 32
    assert len({len(set(row)) for row in noises}) == 1  # nor is one draw repeated for every action
    assert len(set(noises[0])) == 9
    silent = search.run(problem.roots, problem.legal)
    assert (silent.visit_counts == silent.visit_counts[0]).all()


@every_rule
def test_an_illegal_action_is_ignored_however_good_it_looks(rule: str) -> None:
    """The best reward and nearly all of the prior, but forbidden."""
    problem = random_problem(np.random.default_rng(0), num_states=20, num_actions=4, num_roots=8)
    problem.model.reward[:, 1] = 100.0
    problem.model.logits[:, 1] = 9.0
    problem.legal[:] = [True, False, True, True]
    result = problem.run(SearchConfig(rule=rule, num_simulations=30), rng=np.random.default_rng(0))  # type: ignore[arg-type]
    assert not result.visit_counts[:, 1].any()
    assert not result.policy_target[:, 1].any()
    assert (result.action != 1).all()
    assert children_visits(result.tree)[:, 1:, 1].any()  # below the root nothing is known of legality


@every_rule
@pytest.mark.parametrize("num_simulations", [1, 8, 31])
def test_a_root_value_is_not_shrunk(rule: str, num_simulations: int) -> None:
    """Where everything is worth 1, the root is worth 1, not n / (n + 1)."""
    problem = random_problem(np.random.default_rng(0), num_states=20, num_actions=3, num_roots=4)
    reward, value = np.zeros_like(problem.model.reward), np.ones_like(problem.model.value)
    model = problem.model.replace(reward=reward, value=value, discount=np.ones_like(reward))
    config = SearchConfig(rule=rule, num_simulations=num_simulations)  # type: ignore[arg-type]
    result = problem._replace(model=model).run(config)
    np.testing.assert_allclose(result.root_value, 1.0, rtol=1e-6)
    np.testing.assert_array_equal(result.q_values[result.visit_counts > 0], 1.0)


@every_rule
def test_a_value_changes_its_sign_with_the_player(rule: str) -> None:
    """Taking turns: a reward two moves ahead is the opponent's, and is subtracted; three moves ahead it is ours."""
    chain = np.array([[1], [2], [3], [3]], np.int32)
    reward = np.array([[0], [0.25], [0.5], [0]], np.float32)
    model = TableModel(chain, reward, np.float32([[-1], [-1], [-1], [0]]), np.zeros(4, np.float32), reward * 0)
    problem = Problem(model, np.zeros(1, np.int32), np.ones((1, 1), np.bool_), np.zeros((1, 1)))
    tree = problem.run(SearchConfig(rule=rule, num_simulations=3)).tree  # type: ignore[arg-type]
    # The simulations end behind edge 1, 2 and 3: they return 0, -0.25 and -0.25 + 0.5; the root's own value is 0.
    assert tree.value_sum[0].tolist() == [0.0, 0.25 + (0.25 - 0.5), 0.5, 0.0]


def test_a_models_reused_buffers_do_not_reach_the_tree() -> None:
    """Outputs may be overwritten by the next call: the search has copied what it keeps."""

    class Reusing(TableModel):
        buffers: RecurrentOutput | None = None

        def recurrent(self, latent: NDArray[np.float32], action: NDArray[np.int32], /) -> RecurrentOutput:
            output = super().recurrent(latent, action)
            if self.buffers is None:
                self.buffers = output
            for buffer, array in zip(self.buffers, output, strict=True):
                buffer[:] = array
            return self.buffers

    problem = random_problem(np.random.default_rng(0), num_states=50, num_actions=3, num_roots=4)
    config = SearchConfig(num_simulations=20)
    reused = problem._replace(model=Reusing(**vars(problem.model))).run(config)
    fresh = problem.run(config)
    for name, array, expected in zip(fresh.tree._fields, reused.tree, fresh.tree, strict=True):
        assert array.tobytes() == expected.tobytes(), name
