"""The way past onnxruntime: which exported networks take it, and that it leads to the same place."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from numzero.agent import Agent
from numzero.inference import ModelFiles, OnnxModel, read_dense
from numzero.networks.config import NetworkConfig
from numzero.networks.export import Exporter
from numzero.networks.modules import make_network
from numzero.onnx_reader import read_graph
from numzero.search import RecurrentOutput, Search, SearchConfig
from numzero.search.steps import evaluate_dense

SHAPE, NUM_ACTIONS = (3, 5, 5), 4
MODELS = Path(__file__).resolve().parent.parent / "models"


def files(**settings: object) -> ModelFiles:
    network = make_network(
        SHAPE, NUM_ACTIONS, NetworkConfig(head_scale=1.0, width=24, latent_size=10, **settings), seed=3
    )  # type: ignore[arg-type]
    return Exporter(network, -0.9).files(network, 0)


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("hidden_norm", [False, True])
@pytest.mark.parametrize("latent_scaling", ["minmax", "layernorm"])
@pytest.mark.parametrize("layers", [1, 3])
def test_every_mlp_is_read_and_agrees(activation: str, hidden_norm: bool, latent_scaling: str, layers: int) -> None:
    """Whatever its settings, an exported MLP runs inside the kernels, within 1e-5 of onnxruntime and its range."""
    model = OnnxModel(
        files(
            activation=activation,
            hidden_norm=hidden_norm,
            latent_scaling=latent_scaling,
            dynamics_layers=layers,
            prediction_layers=layers,
        )
    )
    dense = model.dense()
    assert dense is not None
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(32, 10)).astype(np.float32)
    action = rng.integers(NUM_ACTIONS, size=32, dtype=np.int32)
    expected = model.recurrent(latent, action)
    found = RecurrentOutput(*(np.zeros_like(array) for array in expected))
    evaluate_dense(dense, latent, action, found)
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() <= 1e-5 * (1 + np.abs(other).max())


def test_convolutions_stay_with_onnxruntime() -> None:
    """Their graph is no chain of layers, so nothing is read."""
    model = OnnxModel(files(body="conv", channels=4, blocks=1))
    assert model.dense() is None
    legal = np.ones((1, NUM_ACTIONS), np.bool_)
    assert Search(model, SearchConfig(num_simulations=5), 1).run(np.zeros((1, *SHAPE)), legal).visit_counts.sum() == 5


def test_layers_that_disagree_with_onnxruntime_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misread graph costs speed, never correctness."""
    model = OnnxModel(files())
    dense = read_dense(files().recurrent, -0.9)
    assert dense is not None
    wrong = dense._replace(weights=dense.weights * np.float32(1.01))
    monkeypatch.setattr("numzero.inference.read_dense", lambda content, discount: wrong)
    assert model.dense() is None


def test_bytes_that_are_no_model_are_not_read() -> None:
    """Truncations and noise end in None or a ValueError, never in anything else."""
    content = files().recurrent
    for size in range(0, len(content), 97):
        read_dense(content[:size], 1.0)
    for seed in range(50):
        assert read_dense(np.random.default_rng(seed).bytes(300), 1.0) is None
    with pytest.raises(ValueError, match="not an ONNX model"):
        read_graph(b"")


@pytest.mark.parametrize("name", ["tictactoe", "cartpole"])
def test_shipped_agents_search_alike_inside_and_outside_the_kernels(name: str) -> None:
    """Visits at batch 1 (kernels) equal those of the same position in a large batch (onnxruntime)."""
    agent = Agent.load(MODELS / name)
    model = agent.make_model()
    assert model.dense() is not None
    rng = np.random.default_rng(0)
    observation = rng.normal(scale=0.1, size=(20, *agent.info.spec.observation_shape)).astype(np.float32)
    legal = np.ones((20, agent.info.spec.num_actions), np.bool_)
    config = dataclasses.replace(agent.info.search, num_simulations=16)
    together = Search(model, config, 20).run(observation, legal).visit_counts
    one = Search(model, config, 1)
    alone = np.concatenate([one.run(observation[i : i + 1], legal[:1]).visit_counts for i in range(20)])
    assert (alone == together).all(axis=1).sum() >= 19  # one near-tie may fall the other way
