"""Agents whose actions are vectors: agent.onnx searches as Python does, whatever candidates are made of."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from contextlib import closing

import msgspec
import numpy as np
import pytest

from numzero.agent import Agent, AgentInfo
from numzero.errors import UserError
from numzero.exporting.embed import Position, agent_graph, golden_cases, play_positions
from numzero.exporting.parity import compare_searches
from numzero.games import Box, GameSpec, game_spec
from numzero.games.actions import Factored
from numzero.games.turns import model_discount, turn_gamma
from numzero.graphs import choices
from numzero.inference import OnnxSearch, onnx_model
from numzero.networks.config import network_config
from numzero.networks.export import Exporter
from numzero.networks.network import make_network
from numzero.search import Search, SearchConfig

POINTER, MATCHING = "tests.games.environments:Pointer", "tests.games.environments:MaskedMatching"
OWN = 0.0
EIGHT = (3,) * 8
CLEAR = 1e-4
"""A choice that is won by less may fall otherwise: candidates differ in the last digits, and Q with them."""


@functools.cache
def vector_agent(rule: str = "gumbel", priors: str = "uniform", low: float | None = OWN) -> Agent:
    """Random weights, all outputs alive; bounds of all kinds, where `low` is not POINTER's own."""
    search = SearchConfig(rule=rule, num_simulations=8, candidate_priors=priors)  # type: ignore[arg-type]
    spec = msgspec.structs.replace(game_spec(POINTER), num_actions=search.candidates.num_candidates)
    if low != OWN:
        spec = msgspec.structs.replace(spec, name="nobody:Knows", actions=Box((-2.0, low), (2.0, None)))
    return made(spec, search)


@functools.cache
def choices_agent(
    rule: str = "gumbel", priors: str = "uniform", sizes: tuple[int, ...] = EIGHT, inner: int = 2
) -> Agent:
    """The same of choices; of MATCHING, unless factors are others than its own."""
    about = {"rule": rule, "num_simulations": 8, "candidate_priors": priors, "inner_candidates": inner}
    search = SearchConfig(**about)  # type: ignore[arg-type]
    spec = msgspec.structs.replace(game_spec(MATCHING), num_actions=search.candidates.num_candidates)
    if sizes != EIGHT:
        names = tuple(map(str, range(len(sizes))))
        spec = msgspec.structs.replace(spec, name="nobody:Knows", actions=Factored(sizes), action_names=names)
    return made(spec, search)


def made(spec: GameSpec, search: SearchConfig) -> Agent:
    """An agent of random weights."""
    config = network_config(width=16, latent_size=8, head_scale=1.0)
    assert spec.vectors is not None
    proposal = spec.vectors.proposal
    network = make_network(
        spec.observation_shape, spec.num_actions, config, 0, turn_gamma(spec, 0.9), None, 0, proposal
    )
    files = Exporter(network, model_discount(spec, 0.9)).files(network, version=1)
    return Agent(AgentInfo(spec=spec, discount=0.9, search=search, model_version=1), files)


@pytest.mark.parametrize(
    ("rule", "priors", "low"),
    [("gumbel", "uniform", OWN), ("gumbel", "corrected", None), ("paper", "corrected", -2.0)],
)
def test_agent_onnx_plays_the_agents_vectors(rule: str, priors: str, low: float | None) -> None:
    """Moves, visits and values of Agent.act, one by one and in a batch; the vector played is in its units."""
    agent = vector_agent(rule, priors, low)
    with closing(play_positions(agent.info, agent.files, np.random.default_rng(0), trust=True)) as played:
        positions = list(itertools.islice(played, 24))
    content = agent_graph(agent.info, agent.files, with_margin=True)
    found = compare_searches(agent.info, agent.files, content, positions, (1, 8, 30))
    assert found.different == 0
    assert found.equal_visits >= 20
    observation, legal = (np.stack(each) for each in zip(*positions, strict=True))
    for position, move in zip(positions, OnnxSearch(content).run_batch(observation, legal, 8), strict=True):
        if move.margin > CLEAR:
            decision = agent.act(*position, simulations=8)
            assert move.vector is not None
            np.testing.assert_allclose(move.vector, decision.action, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(move.candidates, decision.candidates, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("priors", ["uniform", "corrected"])
def test_candidates_are_made_of_the_noise_that_is_given(priors: str) -> None:
    """Another search for each row, as a generator draws them for Python's; zeros are the middle, all of them."""
    agent = vector_agent("gumbel", priors)
    config = dataclasses.replace(agent.info.search, num_simulations=12)
    search = OnnxSearch(agent_graph(agent.info, agent.files, with_margin=True))
    observation, legal = np.random.default_rng(1).normal(size=(6, 2)).astype(np.float32), np.ones((6, 16), np.bool_)
    model, rng = onnx_model(agent.files), np.random.default_rng(5)
    expected = Search(model, config, 6).run(observation, legal, candidates_rng=np.random.default_rng(5))
    root = rng.standard_normal((6, 16, 2), np.float32)
    inner = rng.standard_normal((12, 6, config.inner_candidates, 2), np.float32)
    noise = np.concatenate([root, inner.swapaxes(0, 1).reshape(6, -1, 2)], axis=1)
    clear = 0
    for row, found in enumerate(search.run_batch(observation, legal, 12, candidates=noise)):
        if found.margin > CLEAR:
            clear += 1
            assert found.visit_counts.tolist() == expected.visit_counts[row].tolist()
            assert found.action == expected.action[row]
    assert clear >= 4
    for found in search.run_batch(observation, legal, 4, candidates=np.zeros((1, 24, 2), np.float32)):
        assert found.candidates is not None
        np.testing.assert_array_equal(found.candidates, np.repeat(found.candidates[:1], 16, axis=0))


def test_a_refused_position_has_no_vector() -> None:
    """NaN, and the others have theirs."""
    agent = vector_agent()
    observation = np.array([[0.0, 0.5], [np.nan, 0.0]], np.float32)
    one, other = OnnxSearch(agent_graph(agent.info, agent.files)).run_batch(observation, np.ones((2, 16), np.bool_), 4)
    assert other.action == -1
    assert np.isnan(other.vector).all()
    assert np.isnan(other.candidates).all()
    assert np.isfinite(one.vector).all()


def test_golden_cases_have_the_vectors() -> None:
    """Which agent.onnx repeats."""
    agent = vector_agent()
    search = OnnxSearch(agent_graph(agent.info, agent.files))
    assert json.loads(search.metadata["action_low"]) == [-2.0, 0.0]
    assert json.loads(search.metadata["action_high"]) == [2.0, 1.0]
    cases = json.loads(golden_cases(agent.info, agent.files, 0, trust=True))["cases"]
    assert len(cases) == 100
    for case in cases[:20]:
        found = search.run(np.float32(case["observation"]), np.array(case["legal"]), case["num_simulations"])
        assert (found.action, found.visit_counts.tolist()) == (case["action"], case["visit_counts"])
        np.testing.assert_allclose(found.vector, case["vector"], rtol=1e-4, atol=1e-5)


def positions_of(agent: Agent, count: int) -> list[Position]:
    with closing(play_positions(agent.info, agent.files, np.random.default_rng(0), trust=True)) as played:
        return list(itertools.islice(played, count))


@pytest.mark.parametrize(
    ("rule", "priors", "sizes", "inner"),
    [
        ("gumbel", "uniform", EIGHT, 2),
        ("gumbel", "corrected", (1, 2, 7), 3),
        ("paper", "corrected", EIGHT, 1),
        ("parent_siblings", "uniform", (2,), 2),
    ],
)
def test_agent_onnx_plays_choices_that_masks_allow(rule: str, priors: str, sizes: tuple[int, ...], inner: int) -> None:
    """Moves, visits and values of Agent.act in a batch, candidates to the number, of factors of all sizes."""
    agent = choices_agent(rule, priors, sizes, inner)
    positions = positions_of(agent, 24)
    content = agent_graph(agent.info, agent.files, with_margin=True)
    found = compare_searches(agent.info, agent.files, content, positions, (1, 8, 30))
    assert found.different == 0
    assert found.equal_visits >= 20
    search, clear = OnnxSearch(content), 0
    observation, legal = (np.stack(each) for each in zip(*positions, strict=True))
    assert not legal.all()
    for position, move in zip(positions, search.run_batch(observation, legal, 8), strict=True):
        decision = agent.act(*position, simulations=8)
        assert move.vector is not None
        assert agent.info.spec.vectors is not None
        assert agent.info.spec.vectors.refusal(move.vector[None], position.legal[None]) == ""
        if move.margin > CLEAR:
            clear += 1
            np.testing.assert_array_equal(move.vector, decision.action)
            np.testing.assert_array_equal(move.candidates, decision.candidates)
    assert clear >= 12


def test_choices_are_made_of_the_noise_that_is_given() -> None:
    """As a generator draws it for Python's search; the likeliest comes first, and noise of no number is refused."""
    agent = choices_agent()
    config = dataclasses.replace(agent.info.search, num_simulations=12)
    search = OnnxSearch(agent_graph(agent.info, agent.files, with_margin=True))
    observation, legal = (np.stack(each[:6]) for each in zip(*positions_of(agent, 6), strict=True))
    model, rng = onnx_model(agent.files), np.random.default_rng(5)
    expected = Search(model, config, 6).run(observation, legal, candidates_rng=np.random.default_rng(5))
    root = rng.random((6, 16, 8), np.float32)
    inner = rng.random((12, 6, config.inner_candidates, 8), np.float32)
    noise = np.concatenate([root, inner.swapaxes(0, 1).reshape(6, -1, 8)], axis=1)
    clear = 0
    for row, found in enumerate(search.run_batch(observation, legal, 12, candidates=noise)):
        if found.margin > CLEAR:
            clear += 1
            np.testing.assert_array_equal(found.candidates, expected.candidates[row])
            assert found.visit_counts.tolist() == expected.visit_counts[row].tolist()
    assert clear >= 3
    logits = np.where(legal, model.initial(observation).policy_logits, -np.inf).reshape(6, 8, 3)
    for far in (-3.0, 0.0, 1.0, 7.0):  # what is no share is taken for the nearest
        drawn = search.run_batch(observation, legal, 0, candidates=np.full((1, 16, 8), far, np.float32))
        for row, found in enumerate(drawn):
            np.testing.assert_array_equal(found.candidates[0], logits[row].argmax(axis=1))
            may = legal[row].reshape(8, 3)
            end = may.argmax(axis=1) if far <= 0.0 else 2 - may[:, ::-1].argmax(axis=1)
            np.testing.assert_array_equal(found.candidates[5], end)
            assert found.visit_counts.sum() == 0
    noise[2, 3, 4] = np.nan
    assert [found.action >= 0 for found in search.run_batch(observation, legal, 2, candidates=noise)] == [
        row != 2 for row in range(6)
    ]


def test_a_position_in_which_a_factor_has_no_choice_is_refused() -> None:
    """The others are searched; golden cases hold masks of all factors, and whole numbers to play."""
    agent = choices_agent()
    search = OnnxSearch(agent_graph(agent.info, agent.files))
    assert json.loads(search.metadata["action_sizes"]) == [3] * 8
    legal = np.ones((2, 24), np.bool_)
    legal[1, 9:12] = False
    one, other = search.run_batch(np.zeros((2, 24), np.float32), legal, 4)
    assert (other.action, other.visit_counts.sum(), one.visit_counts.sum()) == (-1, 0, 4)
    assert np.isnan(other.vector).all()
    cases = json.loads(golden_cases(agent.info, agent.files, 0, trust=True))["cases"]
    assert len(cases) == 100
    for case in cases[:20]:
        found = search.run(np.float32(case["observation"]), np.array(case["legal"]), case["num_simulations"])
        assert (found.action, found.visit_counts.tolist()) == (case["action"], case["visit_counts"])
        assert found.vector.tolist() == case["vector"]


def test_noise_and_draws_of_other_shapes_are_refused() -> None:
    """One sentence, the shape that is wanted in it; what is more than the budget takes goes, and one row for all."""
    agent = choices_agent()
    search = OnnxSearch(agent_graph(agent.info, agent.files))
    asked = np.zeros((3, 24), np.float32), np.ones((3, 24), np.bool_), 4
    rng = np.random.default_rng(0)
    for shape in [(16,), (3, 24), (2, 16), (3, 1)]:
        with pytest.raises(UserError, match=r"^noise must have the shape \[3, 16\].* Leave it out"):
            search.run_batch(*asked, np.zeros(shape, np.float32))
    for shape in [(24, 8), (2, 24, 8), (3, 23, 8), (3, 24, 7), (1, 24, 8, 1), (2, 0, 1), ()]:
        with pytest.raises(UserError, match=r"^candidates must have the shape \['1 or 3', '24 or more', 8\] for 4 "):
            search.run_batch(*asked, candidates=rng.random(shape, np.float32))
    noise, draws = rng.gumbel(size=(1, 16)).astype(np.float32), rng.random((1, 30, 8), np.float32)
    found = search.run_batch(*asked, noise, draws)
    again = search.run_batch(*asked, np.repeat(noise, 3, axis=0), np.repeat(draws[:, :24], 3, axis=0))
    assert [(one.action, one.visit_counts.tolist()) for one in found] == [
        (one.action, one.visit_counts.tolist()) for one in again
    ]
    own, without = search.run_batch(*asked, candidates=np.zeros((1, 0, 1), np.float32)), search.run_batch(*asked)
    np.testing.assert_array_equal([each.vector for each in own], [each.vector for each in without])


def test_factors_that_make_too_large_a_table_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is built; one place beyond the bound is enough."""
    agent = choices_agent(sizes=(1, 2, 7))
    monkeypatch.setattr(choices, "LARGEST_TABLE", 21)
    assert agent_graph(agent.info, agent.files)
    monkeypatch.setattr(choices, "LARGEST_TABLE", 20)
    with pytest.raises(UserError, match="at most 20 choices, and not 21 as of 3 factors of up to 7"):
        agent_graph(agent.info, agent.files)
