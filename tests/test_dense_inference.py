"""The way past onnxruntime: which exported networks take it, and that it leads to the same place."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.inference import ModelFiles, OnnxChance, OnnxModel, OnnxVectors, OnnxWithChance
from numzero.networks.config import network_config
from numzero.networks.export import Exporter
from numzero.networks.network import MuZeroNetwork, make_network
from numzero.onnx_layers import NetworkShapes, plain_layers
from numzero.onnx_reader import read_graph
from numzero.search import Proposal, RecurrentOutput, Search, SearchConfig, check_invariants
from numzero.search.plain.dense import DenseModel
from numzero.search.plain.kernels import evaluate_dense
from tests.shipped import MODELS, SHIPPED

SHAPE, NUM_ACTIONS, NUM_OUTCOMES = (3, 5, 5), 4, 6


def network(seed: int = 3, **settings: Any) -> MuZeroNetwork:
    config = network_config(
        **{"head_scale": 1.0, "width": 24, "latent_size": 10, "latent_scaling": "layernorm"} | settings
    )
    return make_network(SHAPE, NUM_ACTIONS, config, seed=seed, num_known=NUM_OUTCOMES)


def exporter_of(discount: float = -0.9, **settings: Any) -> Exporter:
    return Exporter(network(**settings), discount)


def files(discount: float = -0.9, **settings: Any) -> ModelFiles:
    return exporter_of(discount, **settings).files(network(**settings), 0)


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("hidden_norm", [False, True])
@pytest.mark.parametrize("latent_scaling", ["minmax", "layernorm"])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("observation_scaling", ["none", "symlog", "running", "pictures"])
def test_every_mlp_is_read_and_agrees(
    activation: str, hidden_norm: bool, latent_scaling: str, layers: int, observation_scaling: str
) -> None:
    """Whatever its settings, an exported MLP runs inside the kernels, within 3e-5 of onnxruntime and its range."""
    exported = files(
        activation=activation,
        hidden_norm=hidden_norm,
        latent_scaling=latent_scaling,
        representation_layers=layers,
        dynamics_layers=layers,
        prediction_layers=layers,
        observation_scaling=observation_scaling,
    )
    model, slow = OnnxModel(exported), OnnxModel(exported, kernels=False)
    dense = model.dense()
    assert dense is not None
    assert slow.dense() is None
    rng = np.random.default_rng(0)
    observation = rng.normal(scale=3.0, size=(32, *SHAPE))
    assert_alike(model.initial(observation), slow.initial(observation))
    assert model._initial_calls[32].binding is None, "kernels ran, not onnxruntime"
    latent = rng.normal(size=(32, 10)).astype(np.float32)
    action = rng.integers(NUM_ACTIONS, size=32, dtype=np.int32)
    expected = model.recurrent(latent, action)
    found = RecurrentOutput(*(np.zeros_like(array) for array in expected))
    evaluate_dense(dense, latent, action, found)
    assert_alike(found, expected)


def assert_alike(found: Iterable[NDArray[np.float32]], expected: Iterable[NDArray[np.float32]]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() <= 3e-5 * (1 + np.abs(other).max())


@pytest.mark.parametrize("settings", [{}, {"activation": "silu", "hidden_norm": True, "latent_scaling": "minmax"}])
def test_kernels_give_what_onnxruntime_gives_with_chance(settings: dict[str, Any]) -> None:
    """Positions and afterstates in one batch: latents and their mark, logits, scalars; what is behind them is 0."""
    exported = files(chance="known", **settings)
    model, slow = OnnxWithChance(exported), OnnxWithChance(exported, kernels=False)
    network, rng = model.dense(), np.random.default_rng(0)
    assert network is not None
    assert slow.dense() is None
    assert model.dense() is network, "a search checks it once"
    assert_alike(model.initial(np.ones((2, *SHAPE))), slow.initial(np.ones((2, *SHAPE))))
    latent = rng.normal(size=(37, 11)).astype(np.float32)
    latent[:, -1] = rng.integers(2, size=37)
    edge = rng.integers(np.where(latent[:, -1] > 0, NUM_OUTCOMES, NUM_ACTIONS), dtype=np.int32)
    expected = slow.recurrent(latent, edge)
    found = RecurrentOutput(*(np.full_like(array, 9.0) for array in expected))
    evaluate_dense(network, latent, edge, found)
    assert_alike(found, expected)
    assert (found.latent[:, -1] == 1.0 - latent[:, -1]).all()
    assert not found.policy_logits[latent[:, -1] > 0, NUM_ACTIONS:].any()


@pytest.mark.parametrize("rule", ["paper", "gumbel"])
def test_a_search_with_chance_grows_the_same_trees_inside_the_kernels(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As through onnxruntime, which is not asked; a row as if it were alone, bit for bit."""
    exported = files(chance="known", value={"num_bins": 5, "limit": 2.0})
    config = SearchConfig(rule=rule, num_simulations=40)  # type: ignore[arg-type]
    observation = np.random.default_rng(0).normal(size=(35, *SHAPE))
    legal = np.ones((35, NUM_ACTIONS), np.bool_)
    expected = Search(OnnxWithChance(exported, kernels=False), config, 35).run(observation, legal)
    model = OnnxWithChance(exported)
    monkeypatch.setattr(model, "recurrent", lambda *_: pytest.fail("onnxruntime was asked"))
    found = Search(model, config, 35).run(observation, legal)
    np.testing.assert_array_equal(found.visit_counts, expected.visit_counts)
    np.testing.assert_array_equal(found.tree.action_from_parent, expected.tree.action_from_parent)
    np.testing.assert_allclose(found.root_value, expected.root_value, rtol=1e-4, atol=1e-5)
    alone = Search(model, config, 1)
    for b in (0, 17, 34):
        tree = alone.run(observation[b : b + 1], legal[:1]).tree
        for one, all_rows in zip(tree, found.tree, strict=True):
            assert one[0].tobytes() == all_rows[b].tobytes()


SPACES = {"numbers": Proposal(2), "one number": Proposal(1), "choices": Proposal(3, (3, 2, 4))}


def vector_files(proposal: Proposal, seed: int = 3, **settings: Any) -> ModelFiles:
    config = network_config(
        **{"head_scale": 1.0, "width": 24, "latent_size": 10, "latent_scaling": "layernorm"} | settings
    )
    made = make_network(SHAPE, 0, config, seed=seed, proposal=proposal)
    return Exporter(made, 0.9).files(made, 0)


@pytest.mark.parametrize("proposal", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("settings", [{}, {"activation": "silu", "hidden_norm": True, "dynamics_layers": 2}])
def test_kernels_give_what_onnxruntime_gives_of_action_vectors(proposal: Proposal, settings: dict[str, Any]) -> None:
    """Vectors lie behind latents, and actions say which; parameters of proposals are told as logits are."""
    exported = vector_files(proposal, **settings)
    model, slow = OnnxVectors(exported), OnnxVectors(exported, kernels=False)
    dense, rng = model.dense(), np.random.default_rng(0)
    assert dense is not None
    assert slow.dense() is None
    assert_alike(model.initial(np.ones((2, *SHAPE))), slow.initial(np.ones((2, *SHAPE))))
    latent = rng.normal(size=(37, 10)).astype(np.float32)
    vectors, which = proposal.uniform(rng, (37, 5)), rng.integers(5, size=37, dtype=np.int32)
    expected = slow.recurrent(latent, vectors[np.arange(37), which])
    found = RecurrentOutput(*(np.full_like(array, 9.0) for array in expected))
    evaluate_dense(dense, np.concatenate([latent, vectors.reshape(37, -1)], axis=1), which, found)
    assert_alike(found, expected)


@pytest.mark.parametrize("proposal", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("rule", ["paper", "gumbel"])
def test_a_search_of_action_vectors_grows_the_same_trees_inside_the_kernels(
    proposal: Proposal, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As through onnxruntime, which is not asked, with other noise each time; a row as if it were alone."""
    exported = vector_files(proposal, value={"num_bins": 5, "limit": 2.0})
    config = SearchConfig(rule=rule, num_simulations=40, inner_candidates=3)  # type: ignore[arg-type]
    observation = np.random.default_rng(0).normal(size=(35, *SHAPE))
    legal = np.ones((35, proposal.num_inputs if proposal.factors else 16), np.bool_)
    model = OnnxVectors(exported)
    assert model.dense() is not None
    monkeypatch.setattr(model, "recurrent", lambda *_: pytest.fail("onnxruntime was asked"))
    slow, fast = Search(OnnxVectors(exported, kernels=False), config, 35), Search(model, config, 35)
    for seed in (0, 1):
        expected = slow.run(observation, legal, candidates_rng=np.random.default_rng(seed))
        found = fast.run(observation, legal, candidates_rng=np.random.default_rng(seed))
        alike = (found.visit_counts == expected.visit_counts).all(axis=1)
        assert alike.mean() > 0.9, "a candidate on the edge of two choices may be another"
        np.testing.assert_allclose(found.root_value[alike], expected.root_value[alike], rtol=1e-3, atol=1e-4)
        assert found.candidates is not None
        assert expected.candidates is not None
        np.testing.assert_allclose(found.candidates[alike], expected.candidates[alike], rtol=1e-3, atol=1e-4)
    check_invariants(found.tree)
    together = fast.run(observation, legal)
    alone = Search(model, config, 1)
    for b in (0, 17, 34):
        tree = alone.run(observation[b : b + 1], legal[:1]).tree
        for one, all_rows in zip(tree, together.tree, strict=True):
            assert one[0].tobytes() == all_rows[b].tobytes()


def test_newer_weights_of_action_vectors_need_no_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    """But those of other vectors do."""
    older, newer = vector_files(Proposal(2)), vector_files(Proposal(2), seed=4)
    earlier = OnnxVectors(older)
    assert earlier.dense() is not None
    other = OnnxVectors(vector_files(Proposal(1)), earlier=earlier)
    assert other.proposal == Proposal(1)
    monkeypatch.setattr("numzero.inference.sessions.make_session", lambda *_: pytest.fail("a session was made"))
    model = OnnxVectors(newer, earlier=earlier)
    assert model.proposal == Proposal(2)
    assert model.dense() is not None


def test_newer_weights_with_chance_need_no_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all three files; an earlier model without chance is of no use."""
    older, newer = files(chance="known"), files(chance="known", seed=4)
    earlier = OnnxWithChance(older)
    assert earlier.dense() is not None
    with monkeypatch.context() as patch:
        patch.setattr("numzero.inference.sessions.make_session", lambda *_: pytest.fail("a session was made"))
        model = OnnxWithChance(newer, earlier=earlier)
        network, same = model.dense(), OnnxWithChance(newer, earlier=earlier).dense()
        assert network is not None
        assert same is not None
        assert (network.actions.weights == same.actions.weights).all()
    assert (model.num_outcomes, model.num_actions) == (NUM_OUTCOMES, NUM_ACTIONS)
    expected = OnnxWithChance(newer).dense()
    assert expected is not None
    assert (network.outcomes.weights == expected.outcomes.weights).all()
    assert OnnxChance(newer, earlier=OnnxModel(files())).num_outcomes == NUM_OUTCOMES
    other = OnnxWithChance(files(chance="known", width=25), earlier=earlier)
    assert other.dense() is not None


def test_convolutions_stay_with_onnxruntime() -> None:
    """Their graphs are no chains of layers, so nothing is read."""
    model = OnnxModel(files(body="conv", channels=4, blocks=1))
    assert model.dense() is None
    legal = np.ones((1, NUM_ACTIONS), np.bool_)
    assert Search(model, SearchConfig(num_simulations=5), 1).run(np.zeros((1, *SHAPE)), legal).visit_counts.sum() == 5
    assert model._initial_calls[1].binding is not None


def test_layers_that_disagree_with_onnxruntime_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misread graph costs speed, never correctness."""
    exported = files()
    observation = np.ones((1, *SHAPE))
    expected = [array.copy() for array in OnnxModel(exported, kernels=False).initial(observation)]

    def misread(*arguments: Any) -> DenseModel | None:
        dense = plain_layers(*arguments)
        return None if dense is None else dense._replace(weights=dense.weights * np.float32(1.01))

    monkeypatch.setattr("numzero.inference.model.plain_layers", misread)
    model = OnnxModel(exported)
    assert model.dense() is None
    assert all((one == other).all() for one, other in zip(model.initial(observation), expected, strict=True))


def test_newer_weights_of_one_network_need_no_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model of newer weights gives what one made from nothing gives, and no session is made for it."""
    exporter, networks = exporter_of(), [network(seed) for seed in (0, 1)]
    older, newer = (exporter.files(each, version) for version, each in enumerate(networks))
    earlier, expected = OnnxModel(older), OnnxModel(newer)
    earlier.dense()
    with monkeypatch.context() as patch:
        patch.setattr("numzero.inference.sessions.make_session", lambda *_: pytest.fail("a session was made"))
        model = OnnxModel(newer, earlier=earlier)
        observation = np.random.default_rng(0).normal(size=(3, *SHAPE))
        for one, other in zip(model.initial(observation), expected.initial(observation), strict=True):
            np.testing.assert_array_equal(one, other)
        dense, same = model.dense(), expected.dense()
        assert dense is not None
        assert same is not None
        assert (dense.weights == same.weights).all()
    told = ("version", "discount", "num_actions", "latent_shape", "observation_shape")
    assert [getattr(model, name) for name in told] == [getattr(expected, name) for name in told]
    latent, action = np.ones((2, 10), np.float32), np.zeros(2, np.int32)
    assert_alike(model.recurrent(latent, action), expected.recurrent(latent, action))


@pytest.mark.parametrize(
    "settings",
    [{"activation": "silu"}, {"width": 25}, {"latent_scaling": "minmax"}, {"body": "conv"}, {"discount": 0.5}],
)
def test_another_network_is_not_taken_for_an_earlier_one(settings: dict[str, Any]) -> None:
    """Nothing of the earlier model is believed of a network of other layers, sizes or discount."""
    earlier, other = OnnxModel(files()), files(**settings)
    earlier.dense()
    model, expected = OnnxModel(other, earlier=earlier), OnnxModel(other)
    observation = np.ones((2, *SHAPE))
    assert_alike(model.initial(observation), expected.initial(observation))
    assert model.discount == expected.discount


def test_bytes_that_are_no_model_are_refused_whatever_came_before() -> None:
    """Damaged weights get the sentence that they get without an earlier model."""
    earlier, good = OnnxModel(files()), files()
    earlier.dense()
    for name, content in good.by_name().items():
        damaged = ModelFiles.among(good.by_name() | {name: content[:-50]})
        with pytest.raises(UserError, match=rf"{re.escape(name)} is not a model"):
            OnnxModel(damaged, earlier=earlier)


def test_bytes_that_are_no_model_are_not_read() -> None:
    """Truncations and noise end in a ValueError, or in a graph that is no chain; never in anything else."""
    content = files().recurrent
    junk = [content[:size] for size in range(0, len(content), 97)]
    junk += [np.random.default_rng(seed).bytes(300) for seed in range(50)]
    for each in junk:
        with contextlib.suppress(ValueError):
            plain_layers(read_graph(each), NetworkShapes(SHAPE, (10,), NUM_ACTIONS), "recurrent", 1.0, 10**6)
    with pytest.raises(ValueError, match="not an ONNX model of a plain network"):
        read_graph(b"")


@pytest.mark.parametrize("name", [name for name in SHIPPED if name != "connectfour"])  # which has convolutions
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
