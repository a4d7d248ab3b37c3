"""Whether the check sees what it must: agreement over many positions, and every sort of disagreement."""

from __future__ import annotations

import dataclasses
import io
import itertools
from contextlib import closing

import msgspec
import numpy as np
import pytest

from numzero.agent import Agent, AgentInfo
from numzero.errors import UserError
from numzero.exporting.embed import Position, agent_graph, numba_search, play_positions
from numzero.exporting.parity import NEAR_TIE, NEAR_VALUE, Parity, SearchParity, _near, check_agent, compare_searches
from numzero.files import write_folder
from numzero.games.boards.tictactoe import all_positions
from numzero.inference import ModelFiles
from numzero.networks.export import Exporter
from numzero.networks.network import make_network
from numzero.search import SearchConfig
from numzero.training.config import save_config
from tests.reference.agents import BOARD, NUM_ACTIONS, small_network
from tests.shipped import MODELS
from tests.tiny import make_agent, run_config

AGREED = SearchParity(positions=4, equal_moves=4, equal_visits=4, near_ties=0, different=0, largest_error=1e-6)


def with_rule(info: AgentInfo, rule: str) -> AgentInfo:
    return msgspec.structs.replace(info, search=dataclasses.replace(info.search, rule=rule))


def sample(info: AgentInfo, model: ModelFiles, count: int) -> list[Position]:
    with closing(play_positions(info, model, np.random.default_rng(0), trust=True)) as played:
        return list(itertools.islice(played, count))


def tictactoe(count: int) -> tuple[AgentInfo, ModelFiles, list[Position]]:
    """The shipped agent, and positions of its game spread over all 4,520."""
    agent, known = Agent.load(MODELS / "tictactoe"), all_positions()
    rows = np.linspace(0, len(known.legal) - 1, count).astype(int)
    return agent.info, agent.files, [Position(known.observation[row], known.legal[row]) for row in rows]


def cartpole(count: int) -> tuple[AgentInfo, ModelFiles, list[Position]]:
    """The shipped agent in play."""
    agent = Agent.load(MODELS / "cartpole")
    return agent.info, agent.files, sample(agent.info, agent.files, count)


def convolutional(count: int) -> tuple[AgentInfo, ModelFiles, list[Position]]:
    """A convolutional network of random weights, positions of random numbers and moves."""
    network = small_network(4, body="conv", channels=8, blocks=2)
    spec = msgspec.structs.replace(
        make_agent().info.spec,
        name="nobody:Knows",
        num_actions=NUM_ACTIONS,
        observation_shape=BOARD,
        observation_dtype="float32",
        action_names=tuple("abcde"),
    )
    info = AgentInfo(spec=spec, discount=0.97, search=SearchConfig(rule="gumbel", num_simulations=16))
    model = Exporter(network, -0.97).files(network, 1)
    return info, model, sample(info, model, count)


SOURCES = {"tictactoe": (tictactoe, 4520), "cartpole": (cartpole, 2740), "conv": (convolutional, 2740)}


def assert_agent_graph_agrees(source: str, rule: str, count: int) -> None:
    info, model, positions = SOURCES[source][0](count)
    info = with_rule(info, rule)
    found = compare_searches(info, model, agent_graph(info, model), positions)
    assert len(positions) == found.positions == count
    assert found.different == 0
    assert found.near_ties <= 0.005 * count
    assert found.largest_error < 1e-4


@pytest.mark.parametrize("rule", ["paper", "gumbel", "parent_siblings"])
@pytest.mark.parametrize("source", SOURCES)
def test_agent_graphs_move_as_numba_does(source, rule):
    """Visits and move of a few positions of each kind; the long form follows."""
    assert_agent_graph_agrees(source, rule, count=60)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["paper", "gumbel"])
@pytest.mark.parametrize("source", SOURCES)
def test_agent_graphs_move_as_numba_does_in_ten_thousand_positions(source, rule):
    """All of tic-tac-toe, CartPole in play, and a convolutional network of random weights; 1 to 50 simulations."""
    assert_agent_graph_agrees(source, rule, count=SOURCES[source][1])


def test_another_search_is_seen():
    """A graph of other settings moves otherwise, which no near tie excuses."""
    info, model, positions = tictactoe(200)
    other = msgspec.structs.replace(info, search=dataclasses.replace(info.search, value_scale=1.0))
    found = compare_searches(info, model, agent_graph(other, model), positions)
    assert found.different > 5
    assert found.equal_visits < found.equal_moves < found.positions


def test_values_that_lie_close_are_stretched_to_near_ties():
    """Before anything is learned: Q within 0.02 by the search's bounds; without two Q priors alone decide."""
    info, model, positions = tictactoe(1)
    search = numba_search(info, model, 8)
    result = search.run(positions[0].observation[None], positions[0].legal[None])
    near = []
    for low, high in ((-1.0, 1.0), (0.05, 0.07), (0.3, 0.3)):
        result.tree.q_bounds[0] = low, high
        near.append(_near(search, result))
    most = NEAR_VALUE * (search.config.visit_offset + 8) * search.config.value_scale
    np.testing.assert_allclose(near, [NEAR_TIE + most / 2, NEAR_TIE + most / 0.02, NEAR_TIE], rtol=1e-6)


def test_other_weights_are_seen():
    """A graph made of another network's files."""
    agent, other = make_agent(seed=0), make_agent(seed=1)
    content = agent_graph(other.info, other.files)
    found = compare_searches(agent.info, agent.files, content, sample(agent.info, agent.files, 40))
    assert found.different > 10


@pytest.mark.parametrize(
    ("parity", "words"),
    [
        (Parity(None, "none", 1e-7, "", AGREED), ""),
        (Parity(2e-3, "", 1e-7, "", AGREED), "differ by 0.002"),
        (Parity(None, "none", 3e-3, "", AGREED), "differ by 0.003"),
        (Parity(None, "none", None, "none", AGREED._replace(largest_error=0.5)), "differ by 0.5"),
        (Parity(None, "none", None, "none", AGREED._replace(largest_error=float("nan"))), "differ by nan"),
        (Parity(0.0, "", 0.0, "", AGREED._replace(equal_visits=2, near_ties=1, different=1)), "in 1 of 4 positions"),
        (Parity(0.0, "", 0.0, "", AGREED._replace(equal_visits=3, near_ties=1)), ""),
    ],
)
def test_an_export_is_refused_for_each_shortcoming(parity, words):
    """Errors above the tolerance, NaN among them, and differences that are no near ties."""
    assert words in parity.refusal()
    assert bool(words) == bool(parity.refusal())


def test_an_agents_folder_has_no_torch_to_compare_with(tmp_path):
    """The reason is told; networks that Numba does not run by itself are told of as well."""
    info, model, positions = convolutional(5)
    found = check_agent(tmp_path, info, model, agent_graph(info, model), positions)
    assert found.torch_error is None
    assert "only a run keeps the weights" in found.torch_reason
    assert found.numba_error is None
    assert "onnxruntime" in found.numba_reason
    assert found.refusal() == ""


def test_weights_that_are_not_the_runs_are_refused(tmp_path):
    """A checkpoint of as many parameters, but others."""
    config, spec = run_config("tictactoe"), make_agent().info.spec
    network = make_network(spec.observation_shape, spec.num_actions, config.network, seed=1)
    model = Exporter(network, -1.0).files(network, 7)
    info = msgspec.structs.replace(make_agent().info, model_version=7)
    (tmp_path / "config.toml").write_bytes(save_config(config))
    write_folder(tmp_path / "agents" / "000000007", {})
    right = np.concatenate([parameter.detach().numpy().ravel() for parameter in network.parameters()])

    def check(parameters: np.ndarray) -> Parity:
        buffer = io.BytesIO()
        np.savez(buffer, average_parameters=parameters)
        write_folder(tmp_path / "checkpoints" / "000000007", {"learner.npz": buffer.getvalue()})
        positions = sample(info, model, 3)
        return check_agent(tmp_path, info, model, agent_graph(info, model), positions)

    assert check(right).torch_error < 1e-5
    for wrong in (right + 0.1, right[:-1]):
        with pytest.raises(UserError, match="the networks are not the run's"):
            check(wrong)
