"""What an agent's folder holds for other hosts: the graph's own words, golden cases, and its size."""

from __future__ import annotations

import json
import zlib
from contextlib import closing

import numpy as np
import pytest

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.exporting.embed import agent_graph, golden_cases, play_positions
from numzero.files import read_folder
from numzero.inference import OnnxSearch
from tests.hosts.toolchains import OLD
from tests.reference.agents import small_agent
from tests.shipped import MODELS, SHIPPED
from tests.tiny import make_agent


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_graphs_pass_their_golden_cases(name):
    """100 searches each, of 1 to 50 simulations: visits and move exactly, the value closely."""
    files = read_folder(MODELS / name)
    search, golden = OnnxSearch(files["agent.onnx"]), json.loads(files["golden.json"])
    shape = Agent.load(MODELS / name).info.spec.observation_shape
    assert (golden["format"], len(golden["cases"])) == (1, 100)
    assert {case["num_simulations"] for case in golden["cases"]} == {1, 2, 4, 8, 16, 25, 50}
    for case in golden["cases"]:
        observation = np.asarray(case["observation"], np.float32).reshape(shape)
        found = search.run(observation, np.asarray(case["legal"]), case["num_simulations"])
        assert found.visit_counts.tolist() == case["visit_counts"]
        assert found.action == case["action"]
        assert found.value == pytest.approx(case["value"], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_search_adds_less_than_100_kb_to_its_networks(name):
    """Compressed; weights that both networks share are in it once."""
    size = {key: len(zlib.compress(content, 9)) for key, content in read_folder(MODELS / name).items()}
    assert size["agent.onnx"] < size["initial.onnx"] + size["recurrent.onnx"] + 100_000


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_graphs_say_what_the_folder_says(name):
    """The graph alone tells game, layout, rule and budget, and carries agent.json whole."""
    files = read_folder(MODELS / name)
    said, info = OnnxSearch(files["agent.onnx"]).metadata, Agent.load(MODELS / name).info
    assert json.loads(said["agent"]) == json.loads(files["agent.json"])
    assert said["game"] == info.spec.name
    assert said["observation_layout"] == info.spec.observation_layout != ""
    assert (said["rule"], int(said["num_simulations"])) == (info.search.rule, info.search.num_simulations)
    assert (float(said["discount"]), int(said["max_simulations"])) == (info.discount, 1023)
    assert said["takes_batch"] == "true"


def test_a_graph_from_before_batches_is_searched_row_by_row():
    """Its cases in one batch, moves and visits as they were."""
    search, golden = OnnxSearch((OLD / "agent.onnx").read_bytes()), json.loads((OLD / "golden.json").read_bytes())
    for case in golden["cases"]:
        observation = np.asarray([case["observation"]] * 2, np.float32).reshape(2, 3, 3, 3)
        for found in search.run_batch(observation, np.array([case["legal"]] * 2), case["num_simulations"]):
            assert (found.action, found.visit_counts.tolist()) == (case["action"], case["visit_counts"])
            assert found.value == pytest.approx(case["value"], rel=1e-4, abs=1e-4)


def test_golden_cases_depend_on_the_seed_alone():
    """The same agent and seed, the same bytes; another seed, other positions."""
    agent = make_agent("CartPole-v1")
    assert golden_cases(agent.info, agent.files, 1) == golden_cases(agent.info, agent.files, 1)
    assert golden_cases(agent.info, agent.files, 1) != golden_cases(agent.info, agent.files, 2)


def test_games_that_cannot_be_made_here_are_imagined():
    """Numbers of the right shape and kind, some moves forbidden, never all."""
    agent = Agent.from_files(small_agent(), "nowhere")
    with closing(play_positions(agent.info, agent.files, np.random.default_rng(0), trust=True)) as played:
        positions = [next(played) for _ in range(50)]
    assert {position.observation.shape for position in positions} == {agent.info.spec.observation_shape}
    assert {position.observation.dtype.name for position in positions} == {"uint8"}
    assert all(position.legal.any() for position in positions)
    assert not all(position.legal.all() for position in positions)
    assert len(json.loads(golden_cases(agent.info, agent.files, 0, trust=True))["cases"]) == 100


def test_what_is_no_search_is_refused():
    """Networks in place of agent.onnx, and bytes that are no model."""
    agent = make_agent()
    for network in filter(None, agent.files):  # without chance there are no afterstates
        with pytest.raises(UserError, match="must be a search"):
            OnnxSearch(network)
    with pytest.raises(UserError, match="not a model"):
        OnnxSearch(agent_graph(agent.info, agent.files)[:-100])
