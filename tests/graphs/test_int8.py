"""Convolutions in int8: graphs compute what the slow twin does and change little, or are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from numzero.agent import Agent, AgentInfo, agent_files
from numzero.commands import main
from numzero.files import write_folder
from numzero.games import game_spec
from numzero.graphs.formulas import FLOAT, Graph, Value
from numzero.graphs.int8 import Change, _quantized, _telling, _widened, change_between, has_convolutions, in_int8
from numzero.inference import ModelFiles, onnx_model, outputs_of
from numzero.networks.config import network_config
from numzero.networks.export import Exporter
from numzero.networks.network import make_network
from numzero.search import Search
from tests.reference import int8 as reference
from tests.reference.agents import BOARD, small_files
from tests.tiny import SEARCH, model_files

GAME = "connectfour(columns=5, rows=5)"


def conv_files(seed: int = 0, **changes: Any) -> ModelFiles:
    """Networks of convolutions with random weights."""
    config = network_config(**{"body": "conv", "channels": 8, "blocks": 1, "width": 8, "head_scale": 1.0} | changes)
    network = make_network((3, 5, 5), 5, config, seed)
    return Exporter(network, -1.0).files(network, version=seed)


def boards(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Random planes of 0 and 1."""
    return np.random.default_rng(seed).integers(0, 2, (count, 3, 5, 5)).astype(np.float32)


class Block:
    """A residual block as a graph from `x` to `latent`, and its numbers."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.weights = [rng.normal(size=(3, 3, 3, 3)).astype(np.float32) for _ in range(2)]
        self.biases = [rng.normal(size=3).astype(np.float32) for _ in range(2)]
        self.x = rng.normal(size=(4, 3, 4, 3)).astype(np.float32)
        graph = Graph()
        x = graph.input("x", FLOAT, ["batch", 3, 4, 3])
        first = graph.op("Relu", self._convolution(graph, x, 0))
        second = self._convolution(graph, first, 1)
        latent = graph.op("Relu", graph.op("Add", x, second))
        shape: list[int | str] = ["batch", 3, 4, 3]
        outputs = {"latent": (latent, shape), "first": (first, shape), "second": (second, shape)}
        self.telling = graph.finish("block", outputs, {}).SerializeToString()

    def _convolution(self, graph: Graph, x: Value, which: int) -> Value:
        weight, bias = graph.constant(self.weights[which]), graph.constant(self.biases[which])
        return graph.op("Conv", x, weight, bias, pads=[1, 1, 1, 1])

    @property
    def content(self) -> bytes:
        """The graph with `latent` alone."""
        model = onnx.load_from_string(self.telling)
        del model.graph.output[1:]
        return bytes(model.SerializeToString())

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Of each tensor, as calibration sees them."""
        told = outputs_of(self.telling, "block", {"x": self.x})
        named = {"x": self.x, "first": told["first"], "second": told["second"], "sum": told["latent"]}
        return {name: (min(0.0, float(each.min())), float(each.max())) for name, each in named.items()}


@settings(max_examples=5)
@given(seed=st.integers(0, 1000))
def test_a_block_computes_what_the_twin_does(seed: int) -> None:
    """Of any weights, to a step of the grid, which a number half-way between two may fall to either side of."""
    block = Block(seed)
    inputs = {"x": block.x}
    told = _widened({}, inputs | outputs_of(_telling(block.content), "block", inputs))
    found = outputs_of(_quantized(block.content, told), "block", inputs)["latent"]
    ranges = block.ranges()
    step = ranges["sum"][1] / 255
    pairs = tuple(block.weights), tuple(block.biases)
    for row, x in enumerate(block.x):
        expected = reference.block(x.astype(np.float64), *pairs, ranges)  # type: ignore[arg-type]
        apart = np.abs(found[row] - expected)
        assert apart.max() < 6 * step  # a step of what comes before is several of the sum's
        assert np.mean(apart < 0.01 * step) > 0.8


def test_networks_change_little_and_their_heads_stay() -> None:
    """Whole numbers up to the latent, float32 behind it; files say so, and hold no weight twice."""
    files = conv_files()
    light = in_int8(files, boards(64))
    change = change_between(files, light, boards(200, 1))
    assert change.is_small, str(change)
    assert change.value > 0.0
    for content, whole in zip(light[:2], files[:2], strict=True):
        model = onnx.load_from_string(content)
        made_by = {node.output[0]: node.op_type for node in model.graph.node}
        ways = [made_by.get(node.input[1], "float32") for node in model.graph.node if node.op_type == "Conv"]
        assert ways == ["DequantizeLinear"] * (len(ways) - 1) + ["float32"]  # the last is of the heads
        assert {each.key: each.value for each in model.metadata_props}["precision"] == "int8"
        assert len(content) < len(whole) + 20_000
    assert onnx_model(light).discount == onnx_model(files).discount == -1.0


def test_other_networks_are_a_large_change() -> None:
    """The gate sees it; networks beside themselves are no change at all."""
    files = conv_files()
    assert change_between(files, files, boards(20)) == Change(0.0, 0.0)
    assert not change_between(files, conv_files(1), boards(50)).is_small


def test_what_has_no_convolutions_stays_as_it_is() -> None:
    """Byte for byte, and twice quantised is once quantised."""
    plain = model_files("tictactoe")
    assert not has_convolutions(plain)
    assert in_int8(plain, np.zeros((4, 3, 3, 3), np.float32)) == plain
    light = in_int8(conv_files(), boards(8))
    assert not has_convolutions(light)
    assert in_int8(light, boards(8)) == light


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("scaling", ["layernorm", "minmax"])
def test_any_layers_between_convolutions_stay(activation: str, scaling: str) -> None:
    """What is neither a sum nor a rectifier computes in float32 between them."""
    files = conv_files(latent_scaling=scaling, activation=activation, blocks=2)
    light = in_int8(files, boards(64))
    assert change_between(files, light, boards(64, 2)).divergence < 0.05
    found = Search(onnx_model(light), SEARCH, 4).run(boards(4), np.ones((4, 5), np.bool_))
    assert found.visit_counts.sum(axis=1).tolist() == [SEARCH.num_simulations] * 4


@pytest.mark.parametrize("chance", ["known", "learned"])
def test_networks_with_chance_have_three_graphs_in_int8(chance: str) -> None:
    """Afterstates are followed by outcomes, which are drawn for calibration too."""
    files = small_files(body="conv", chance=chance)
    observation = np.random.default_rng(0).normal(size=(64, *BOARD)).astype(np.float32)
    light = in_int8(files, observation)
    assert all(b"DequantizeLinear" in content for content in light)
    assert 0.0 < change_between(files, light, observation).divergence < 0.05


def write_conv_agent(folder: Path) -> Path:
    """An agent of convolutions for a small board."""
    info = AgentInfo(spec=game_spec(GAME), discount=-1.0, search=SEARCH, model_version=0)
    write_folder(folder, agent_files(info, conv_files()))
    return folder


def test_an_agent_is_exported_in_int8(tmp_path: Path) -> None:
    """Its graph plays as its networks do, the share of equal moves is said, and the copy loads and plays."""
    words = ["export", str(write_conv_agent(tmp_path / "agent")), "--out", str(tmp_path / "out"), "--precision", "int8"]
    options = ["--check", "--positions", "8", "--games", "0", "--json"]
    done = CliRunner().invoke(main, [*words, *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["precision"] == "int8"
    assert 4 <= told["int8"]["equal_moves"] <= told["int8"]["positions"] == 8
    assert told["check"]["search"]["different"] == 0
    assert not has_convolutions(Agent.load(tmp_path / "out").files)
    assert "whole numbers of 8 bits" in (tmp_path / "out" / "card.md").read_text("utf-8")
    words = ["export", str(tmp_path / "out"), "--out", str(tmp_path / "copy"), "--games", "0", "--json"]
    assert json.loads(CliRunner().invoke(main, words, catch_exceptions=False).stdout)["precision"] == "int8"
    assert "whole numbers of 8 bits" in (tmp_path / "copy" / "card.md").read_text("utf-8")


def test_a_large_change_is_refused_and_float32_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the figures, and exit code 0: there is an agent."""
    monkeypatch.setattr("numzero.graphs.int8.LARGEST_VALUE_CHANGE", 0.0)
    words = ["export", str(write_conv_agent(tmp_path / "agent")), "--out", str(tmp_path / "out"), "--precision", "int8"]
    done = CliRunner().invoke(main, [*words, "--games", "0"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "int8 changes too much: the policy diverges by" in done.stdout
    assert has_convolutions(Agent.load(tmp_path / "out").files)
    assert "8 bits" not in (tmp_path / "out" / "card.md").read_text("utf-8")


def test_plain_networks_are_not_for_int8(tmp_path: Path) -> None:
    """Said before anything is written."""
    done = CliRunner().invoke(
        main, ["export", "models/tictactoe", "--out", str(tmp_path / "out"), "--precision", "int8", "--games", "0"]
    )
    assert done.exit_code == 2
    assert "int8 is for convolutions" in done.stderr
    assert not (tmp_path / "out").exists()
