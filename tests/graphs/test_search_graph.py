"""agent.onnx against the Numba search and its slow twin: the same visits, moves, Q and values in every setting."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from numzero.errors import UserError
from numzero.exporting.embed import agent_graph
from numzero.graphs.search_graph import LONGEST_LINE, max_simulations, search_graph
from numzero.inference import FoundMove, OnnxSearch
from numzero.search import SearchConfig, SearchResult, principal_variation
from tests.reference.tables import chance_files, table_files
from tests.search.problems import RULES, Problem, configs, random_problem
from tests.search.test_chance import chance_problems
from tests.tiny import make_agent

MAX_SIMULATIONS = 1023
"""Of agents whose own budget is not greater."""
CLEAR = 1e-6
"""A choice that is won by less may fall otherwise: priors are double here and float32 there."""
NODES = {"gumbel": 108, "paper": 92, "parent_siblings": 92}
"""Most nodes of one simulation, the network's apart: nodes are what it costs."""


def table_problem(seed: int, num_states: int, num_actions: int, gamma: float, num_roots: int = 1) -> Problem:
    """As `random_problem` makes it, with one discount for all edges, as trained networks have."""
    problem = random_problem(np.random.default_rng(seed), num_states, num_actions, num_roots)
    model = problem.model.replace(discount=np.full((num_states, num_actions), gamma, np.float32))
    return problem._replace(model=model, gumbel=problem.gumbel.astype(np.float32).astype(np.float64))


@st.composite
def table_problems(draw: st.DrawFn, most_roots: int = 1) -> Problem:
    gamma, num_roots = draw(st.sampled_from([1.0, -1.0, 0.9, -0.5, 0.0])), draw(st.integers(1, most_roots))
    sizes = draw(st.integers(1, 8)), draw(st.integers(1, 6))
    return table_problem(draw(st.integers(0, 2**32 - 1)), *sizes, gamma, num_roots)


def in_graph(search: OnnxSearch, problem: Problem, num_simulations: int, noise: np.ndarray | None) -> FoundMove:
    noise = None if noise is None else noise.astype(np.float32)
    return search.run(problem.roots[:1], problem.legal[0], num_simulations, noise)


def assert_same(found: FoundMove, expected: SearchResult, row: int = 0) -> None:
    """Move and visits exactly, Q and value as far as float32 goes."""
    assert found.visit_counts.tolist() == expected.visit_counts[row].tolist()
    assert found.action == expected.action[row]
    np.testing.assert_allclose(found.q_values, expected.q_values[row], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.value, expected.root_value[row], rtol=1e-5, atol=1e-5)
    assert found.line == principal_variation(expected.tree, row, found.action)[:LONGEST_LINE]


def assert_batch_is_searched(search: OnnxSearch, problem: Problem, config: SearchConfig, budgets: list[int]) -> None:
    """All rows at once as Numba does, but for those in which a choice is narrow."""
    noise = problem.gumbel.astype(np.float32) if config.rule == "gumbel" else None
    for num_simulations in budgets:
        found = search.run_batch(problem.roots[:, None], problem.legal, num_simulations, noise)
        expected = problem.run(dataclasses.replace(config, num_simulations=num_simulations))
        clear = [row for row, each in enumerate(found) if each.margin > CLEAR]
        assume(clear)
        for row in clear:
            assert_same(found[row], expected, row)


@given(table_problems(most_roots=4), configs(), st.lists(st.integers(0, 60), min_size=1, max_size=4), st.booleans())
def test_the_graph_searches_as_numba_does(problem, config, budgets, noisy):
    """Every rule and setting, several positions at once, several budgets in one session, with and without noise."""
    search = OnnxSearch(search_graph(table_files(problem.model), config, {}, with_margin=True))
    gumbel = problem.gumbel if noisy and config.rule == "gumbel" else np.zeros_like(problem.gumbel)
    assert_batch_is_searched(search, problem._replace(gumbel=gumbel), config, budgets)


@settings(max_examples=20)
@given(table_problems(most_roots=5), configs(), st.integers(0, 20), st.data())
def test_nonsense_is_refused_and_harms_no_other_row(problem, config, num_simulations, data):
    """No legal action, or a number that is none, in the observation or in the noise: -1, no visits, NaN."""
    search = OnnxSearch(search_graph(table_files(problem.model), config, {}))
    rows = len(problem.roots)
    observation, legal = problem.roots[:, None].astype(np.float32), problem.legal.copy()
    noise = np.zeros(legal.shape, np.float32)
    expected = search.run_batch(observation, legal, num_simulations)
    spoiled = data.draw(st.dictionaries(st.integers(0, rows - 1), st.sampled_from(["legal", "noise", "noise inf"])))
    for row, kind in spoiled.items():
        if kind == "legal":
            legal[row] = False
        else:
            noise[row, -1] = np.nan if kind == "noise" else -np.inf
    for row, found in enumerate(search.run_batch(observation, legal, num_simulations, noise)):
        if row in spoiled:
            assert (found.action, found.visit_counts.sum()) == (-1, 0)
            assert np.isnan([found.value, *found.q_values]).all()
        else:
            np.testing.assert_array_equal(found.visit_counts, expected[row].visit_counts)
            assert (found.action, found.value) == (expected[row].action, expected[row].value)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_an_observation_that_is_not_finite_is_refused(number):
    """The rows beside it are searched."""
    agent = make_agent("CartPole-v1")
    search = OnnxSearch(agent_graph(agent.info, agent.files))
    observation = np.zeros((3, 4), np.float32)
    observation[1, 2] = number
    found = search.run_batch(observation, np.ones((3, 2), np.bool_), 4)
    assert (found[1].action, found[1].visit_counts.tolist()) == (-1, [0, 0])
    assert np.isnan([found[1].value, *found[1].q_values]).all()
    assert found[0].action == found[2].action >= 0
    assert found[0].visit_counts.sum() == 4


def test_a_position_of_which_the_networks_make_no_number_is_refused():
    """Finite numbers may be too large for them."""
    model = table_problem(seed=2, num_states=2, num_actions=3, gamma=1.0).model.replace(value=np.float32([0.5, np.nan]))
    search = OnnxSearch(search_graph(table_files(model), SearchConfig(), {}))
    found = search.run_batch(np.array([[0], [1]]), np.ones((2, 3), np.bool_), 0)
    assert [each.action >= 0 for each in found] == [True, False]


@settings(max_examples=30)
@given(
    problem=chance_problems(),
    config=configs(),
    budgets=st.lists(st.integers(0, 60), min_size=1, max_size=3),
    tells_discount=st.booleans(),
)
def test_the_graph_searches_with_chance_as_numba_does(problem, config, budgets, tells_discount):
    """Every rule and setting, more actions than outcomes and fewer, discounts of edges or one for all, batches."""
    if not tells_discount:
        problem.model.discount[:] = problem.model.discount[0, 0]
    search = OnnxSearch(
        search_graph(chance_files(problem.model, tells_discount=tells_discount), config, {}, with_margin=True)
    )
    problem = problem._replace(gumbel=problem.gumbel.astype(np.float32).astype(np.float64))
    assert_batch_is_searched(search, problem, config, budgets)


@settings(max_examples=40)
@given(table_problems(), configs(), st.sampled_from([1e-3, 0.5, 64.0]), st.integers(0, 40))
def test_the_least_range_counts_in_the_rewards_of_the_network(problem, config, unit, num_simulations):
    """As the file says how large these are."""
    files = table_files(problem.model)
    recurrent = onnx.load_from_string(files.recurrent)
    recurrent.metadata_props.add(key="reward_unit", value=repr(unit))
    files = files._replace(recurrent=recurrent.SerializeToString())
    found = in_graph(
        OnnxSearch(search_graph(files, config, {}, with_margin=True)),
        problem,
        num_simulations,
        problem.gumbel[0] if config.rule == "gumbel" else None,
    )
    assume(found.margin > CLEAR)
    config = dataclasses.replace(config, num_simulations=num_simulations, least_range=config.least_range * unit)
    assert_same(found, problem.run(config))


@settings(max_examples=40)
@given(table_problems(), configs(), st.integers(1, 40))
def test_the_margin_is_the_twins(problem, config, num_simulations):
    """The narrowest choice of a search is known to the graph as the obvious twin knows it."""
    config = dataclasses.replace(config, num_simulations=num_simulations)
    (twin,) = problem.twins(config)
    twin.read_out()
    assume(twin.margin > 1e-5)
    search = OnnxSearch(search_graph(table_files(problem.model), config, {}, with_margin=True))
    found = in_graph(search, problem, num_simulations, problem.gumbel[0] if config.rule == "gumbel" else None)
    np.testing.assert_allclose(found.margin, twin.margin, rtol=1e-4, atol=1e-6)


@settings(max_examples=50)
@given(table_problems(), configs(("paper", "parent_siblings")), st.integers(0, 30), st.floats(0, 1))
def test_root_noise_is_mixed_in_as_numba_mixes_it(problem, config, num_simulations, fraction):
    """The draw that a generator gives Numba's search, handed to the graph."""
    config = dataclasses.replace(config, num_simulations=num_simulations, dirichlet_fraction=fraction)
    draws = np.random.default_rng(7).standard_gamma(config.dirichlet_alpha, problem.legal.shape) * problem.legal
    assume(draws.sum() > 1e-3)
    search = OnnxSearch(search_graph(table_files(problem.model), config, {}, with_margin=True))
    found = in_graph(search, problem, num_simulations, draws[0] / draws.sum())
    assume(found.margin > CLEAR)
    assert_same(found, problem.run(config, rng=np.random.default_rng(7)))


@pytest.mark.parametrize("rule", RULES)
def test_ties_go_to_the_lowest_action(rule):
    """A model that knows no difference between actions, then some that know few: equal priors, values -1, 0 and 1."""
    config = SearchConfig(rule=rule, num_simulations=20)
    rng = np.random.default_rng(0)
    for num_states in range(1, 13):
        problem = table_problem(num_states, num_states, num_actions=5, gamma=(1.0, -1.0, 0.5)[num_states % 3])
        values = (num_states > 1) * rng.integers(-1, 2, (6, num_states)).astype(np.float32)
        model = problem.model.replace(
            value=values[0], reward=values[1:].T.copy(), logits=np.zeros((num_states, 5), np.float32)
        )
        asked = problem._replace(model=model, gumbel=np.zeros((1, 5)))
        search = OnnxSearch(search_graph(table_files(model), config, {}, with_margin=True))
        found = in_graph(search, asked, config.num_simulations, None)
        assert num_states > 1 or found.margin == 0.0
        assert_same(found, asked.run(config))


def test_halving_is_planned_for_any_number_of_simulations_and_actions():
    """Every number of legal actions up to 20 with budgets from 0 to beyond one visit of each phase."""
    problem = table_problem(seed=3, num_states=40, num_actions=20, gamma=0.9)
    for considered in (1, 3, 16, 20):
        config = SearchConfig(rule="gumbel", max_considered_actions=considered)
        search = OnnxSearch(search_graph(table_files(problem.model), config, {}))
        for num_legal, budget in itertools.product((1, 2, 3, 5, 8, 13, 16, 17, 20), (0, 1, 2, 3, 5, 9, 16, 31, 47, 90)):
            legal = np.arange(20)[None] < num_legal
            planned = dataclasses.replace(config, num_simulations=budget)
            few = problem._replace(legal=legal)
            assert_same(in_graph(search, few, budget, problem.gumbel[0]), few.run(planned))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("num_actions", [1, 2, 9])
def test_one_action_one_legal_action_and_long_searches(rule, num_actions):
    """Forced moves, no simulation, and as many as one call may have; more are cut."""
    config = SearchConfig(rule=rule)
    problem = table_problem(seed=5, num_states=300, num_actions=num_actions, gamma=-0.97)
    only = np.arange(num_actions)[None] == num_actions - 1
    search = OnnxSearch(search_graph(table_files(problem.model), config, {}))
    for legal, budget in itertools.product((only, np.ones_like(only)), (0, 1, 7, MAX_SIMULATIONS)):
        planned = dataclasses.replace(config, num_simulations=budget)
        asked = problem._replace(legal=legal, gumbel=np.zeros_like(problem.gumbel))
        assert_same(in_graph(search, asked, budget, None), asked.run(planned))
    assert in_graph(search, problem, MAX_SIMULATIONS + 5, None).visit_counts.sum() == MAX_SIMULATIONS
    assert in_graph(search, problem, -1, None).visit_counts.sum() == 0


def test_a_single_line_of_a_thousand_edges_is_followed():
    """One action: the tree is a chain, the longest walk that a budget allows."""
    problem = table_problem(seed=6, num_states=2000, num_actions=1, gamma=0.999)
    config = SearchConfig(rule="paper", num_simulations=MAX_SIMULATIONS)
    search = OnnxSearch(search_graph(table_files(problem.model), config, {}))
    assert_same(in_graph(search, problem, MAX_SIMULATIONS, None), problem.run(config))


def nodes_of(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return [*graph.node, *itertools.chain.from_iterable(nodes_of(body) for body in inner)]


@pytest.mark.parametrize("rule", RULES)
def test_the_graph_is_standard_and_lean(rule):
    """Opset 20 at most, ONNX's own operators only, few nodes in the loop; but for batches no other inside it."""
    problem = table_problem(seed=1, num_states=4, num_actions=3, gamma=1.0)
    files = table_files(problem.model)
    model = onnx.load_from_string(search_graph(files, SearchConfig(rule=rule), {"game": "none"}))
    assert [(entry.domain, entry.version <= 20) for entry in model.opset_import] == [("", True)]
    assert {node.domain for node in nodes_of(model.graph)} == {""}
    assert {entry.key: entry.value for entry in model.metadata_props} == {"game": "none"}
    loops = [node for node in nodes_of(model.graph) if node.op_type in ("Loop", "Scan", "If")]
    assert [node.op_type for node in loops] == ["Loop", "If", "Loop"]
    network = len(onnx.load_from_string(files.recurrent).graph.node)
    assert len(loops[0].attribute[0].g.node) - network <= NODES[rule]


def test_an_agent_of_a_greater_budget_gets_a_graph_for_it():
    """What one call may have grows with the agent's own number of simulations."""
    assert [max_simulations(SearchConfig(num_simulations=n)) for n in (0, 800, 1023, 1024, 5000)] == [1023] * 3 + [
        2047,
        8191,
    ]
    problem = table_problem(seed=8, num_states=2000, num_actions=1, gamma=0.999)
    config = SearchConfig(rule="paper", num_simulations=1100)
    found = in_graph(OnnxSearch(search_graph(table_files(problem.model), config, {})), problem, 1100, None)
    assert_same(found, problem.run(config))


def test_networks_of_another_opset_are_refused():
    """Their nodes would be read as those of this one."""
    files = table_files(table_problem(seed=1, num_states=4, num_actions=3, gamma=1.0).model)
    old = onnx.load_from_string(files.recurrent)
    old.opset_import[0].version = 17
    with pytest.raises(UserError, match=r"recurrent\.onnx must use ONNX's own operators of opset 20"):
        search_graph(files._replace(recurrent=old.SerializeToString()), SearchConfig(), {})
