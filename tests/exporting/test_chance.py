"""Agents whose networks know of chance: one search in agent.onnx and in Numba, and every command shows what it is."""

from __future__ import annotations

import itertools
import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from numzero.agent import Agent, AgentInfo, agent_files
from numzero.commands import main
from numzero.exporting.embed import agent_graph, play_positions
from numzero.exporting.parity import compare_searches
from numzero.files import write_folder
from numzero.games import make_game
from numzero.games.turns import model_discount, turn_gamma
from numzero.networks.config import network_config
from numzero.networks.export import Exporter
from numzero.networks.network import make_network
from numzero.search import SearchConfig


def chance_agent(game: str, chance: str, rule: str = "gumbel", body: str = "mlp") -> Agent:
    """Random weights, all outputs alive."""
    with closing(make_game(game, 1)) as made:
        spec = made.spec
    sizes = {"width": 16, "latent_size": 8, "channels": 4, "blocks": 1, "head_scale": 1.0}
    config = network_config(body=body, chance=chance, **sizes)
    turns = turn_gamma(spec, 1.0)
    network = make_network(spec.observation_shape, spec.num_actions, config, 0, turns, None, spec.num_outcomes)
    files = Exporter(network, model_discount(spec, 1.0)).files(network, version=1)
    search = SearchConfig(rule=rule, num_simulations=12)  # type: ignore[arg-type]
    return Agent(AgentInfo(spec=spec, discount=1.0, search=search, model_version=1), files)


@pytest.mark.parametrize(
    ("game", "chance", "rule", "body"),
    [("pig", "known", "gumbel", "mlp"), ("twenty48", "known", "paper", "conv"), ("pig", "learned", "gumbel", "mlp")],
)
def test_agent_onnx_searches_with_chance_as_numba_does(game: str, chance: str, rule: str, body: str) -> None:
    """More actions than outcomes or fewer, turns that vary, one player, codes: no search is another, but for ties."""
    agent = chance_agent(game, chance, rule, body)
    assert agent.num_outcomes == (32 if chance == "learned" else agent.info.spec.num_outcomes)
    with closing(play_positions(agent.info, agent.files, np.random.default_rng(0))) as played:
        positions = list(itertools.islice(played, 40))
    found = compare_searches(agent.info, agent.files, agent_graph(agent.info, agent.files), positions, (1, 8, 30))
    assert found.different == 0
    assert found.equal_visits >= 35


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an agent for the dice race."""
    agent = chance_agent("pig", "known")
    place = tmp_path_factory.mktemp("agents") / "pig"
    write_folder(place, agent_files(agent.info, agent.files))
    return place


def said(*words: object) -> str:
    found = CliRunner().invoke(main, [str(word) for word in words])
    assert found.exit_code == 0, found.output
    return found.stdout


def test_it_is_exported_with_its_search_and_a_card(folder: Path, tmp_path: Path) -> None:
    """All files, golden cases, and what chance is."""
    report = json.loads(
        said("export", folder, "--out", tmp_path / "out", "--games", 0, "--check", "--positions", 40, "--json")
    )
    assert set(report["bytes"]) >= {"agent.onnx", "afterstate.onnx", "initial.onnx", "recurrent.onnx", "golden.json"}
    assert report["check"]["search"]["different"] == 0
    assert "Chance: known: 7 outcomes, told at each step: no die, 1, 2" in (tmp_path / "out" / "card.md").read_text()
    assert Agent.load(tmp_path / "out").num_outcomes == 7


def test_it_is_described_and_inspected_with_its_outcomes(folder: Path) -> None:
    """By their names, with their odds."""
    assert "known: 7 outcomes, told at each step: no die, 1, 2" in said("describe", folder)
    assert json.loads(said("describe", folder, "--json"))["num_outcomes"] == 7
    tree = json.loads(said("inspect", folder, "--simulations", 40, "--depth", 2, "--children", 7, "--json"))["tree"]
    (roll,) = tree["children"]
    assert roll["is_chance"]
    assert {child["name"] for child in roll["children"]} <= {f"~{name}" for name in ("no die", *"123456")}
    assert sum(child["prior"] for child in roll["children"]) <= 1.0 + 1e-5


def test_play_says_what_was_thrown(folder: Path) -> None:
    """After each roll."""
    shown = said("play", folder, "--watch", "--seed", 1)
    assert "Chance: " in shown
    assert "wins." in shown


def test_an_agent_that_knows_nothing_of_chance_says_so(tmp_path: Path) -> None:
    """And what its game would tell."""
    agent = chance_agent("pig", "none")
    write_folder(tmp_path / "agent", agent_files(agent.info, agent.files))
    assert "the networks know none; of the game: 7 outcomes" in said("describe", tmp_path / "agent")
