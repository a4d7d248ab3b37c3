"""Agents whose actions are vectors of numbers: agent.onnx searches as Python does, whatever candidates are made of."""

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
from numzero.exporting.embed import agent_graph, golden_cases, play_positions
from numzero.exporting.parity import compare_searches
from numzero.games import Box, game_spec
from numzero.games.turns import model_discount, turn_gamma
from numzero.inference import OnnxSearch, onnx_model
from numzero.networks.config import network_config
from numzero.networks.export import Exporter
from numzero.networks.network import make_network
from numzero.search import Search, SearchConfig

POINTER, MATCHING = "tests.games.environments:Pointer", "tests.games.environments:Matching"
OWN = 0.0
CLEAR = 1e-4
"""A choice that is won by less may fall otherwise: candidates differ in the last digits, and Q with them."""


@functools.cache
def vector_agent(rule: str = "gumbel", priors: str = "uniform", low: float | None = OWN) -> Agent:
    """Random weights, all outputs alive; bounds of all kinds, where `low` is not POINTER's own."""
    search = SearchConfig(rule=rule, num_simulations=8, candidate_priors=priors)  # type: ignore[arg-type]
    spec = msgspec.structs.replace(game_spec(POINTER), num_actions=search.candidates.num_candidates)
    if low != OWN:
        spec = msgspec.structs.replace(spec, name="nobody:Knows", actions=Box((-2.0, low), (2.0, None)))
    assert isinstance(spec.actions, Box)
    config = network_config(width=16, latent_size=8, head_scale=1.0)
    proposal = spec.actions.proposal
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


def test_vectors_of_choices_are_refused_with_the_way_out() -> None:
    """Their folder is all that numzero itself needs."""
    agent = vector_agent()
    info = msgspec.structs.replace(agent.info, spec=game_spec(MATCHING))
    with pytest.raises(UserError, match=r"those of .* are vectors of choices"):
        agent_graph(info, agent.files)
