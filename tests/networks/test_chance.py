"""Networks with chance: afterstates, outcomes and codes, in torch and in their three files."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from numzero.errors import UserError
from numzero.graphs.weights import replace_weights
from numzero.inference import ModelFiles, OnnxChance, OnnxModel, onnx_model
from numzero.networks.config import network_config
from numzero.networks.export import PARITY_TOLERANCE, Exporter, ParityError, check_parity
from numzero.networks.network import MuZeroNetwork, make_network
from numzero.search import Search, SearchConfig
from tests.reference.agents import BOARD, NUM_ACTIONS, NUM_OUTCOMES, small_network

SIZES = {
    "mlp": {},
    "conv": {"body": "conv"},
    "image": {"body": {"kind": "image", "largest": 2, "channels": 3}},
    "axial": {"body": "axial"},
}
KINDS = ("known", "learned")


def chance_network(body: str = "mlp", chance: str = "known", seed: int = 0) -> MuZeroNetwork:
    return small_network(seed, chance=chance, num_codes=NUM_OUTCOMES, value={"fitted": True}, **SIZES[body])


@pytest.mark.parametrize("body", SIZES)
@pytest.mark.parametrize("chance", KINDS)
@torch.no_grad()
def test_three_files_compute_what_torch_does(body, chance):
    """Position, afterstate, position, with all that is said of each; inputs and outputs as documented."""
    network = chance_network(body, chance)
    files = Exporter(network, 0.9).files(network, 7)
    rng, model = np.random.default_rng(0), OnnxChance(files)
    observation = rng.normal(size=(6, *BOARD)).astype(np.float32)
    action = rng.integers(NUM_ACTIONS, size=6, dtype=np.int32)
    outcome = rng.integers(NUM_OUTCOMES, size=6, dtype=np.int32)
    latent = network.represent(torch.from_numpy(observation))
    root = model.initial(observation)
    np.testing.assert_allclose(root.latent, latent.numpy(), rtol=1e-4, atol=1e-5)
    after, latent = model.afterstate(root.latent, action), network.dynamics(latent, torch.from_numpy(action))
    said = network.predict_afterstate(latent)
    np.testing.assert_allclose(after.latent, latent.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(after.outcome_logits, said["outcome"].numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(after.value, network.decode("value", said["afterstate"]).numpy(), rtol=1e-4, atol=1e-5)
    step, latent = model.chance(after.latent, outcome), network.next_latent(latent, torch.from_numpy(outcome))
    said = network.predict(latent)
    np.testing.assert_allclose(step.latent, latent.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(step.policy_logits, said["policy"].numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(step.reward, network.decode("reward", said["reward"]).numpy(), rtol=1e-4, atol=1e-5)
    assert (step.discount == np.float32(0.9)).all()
    assert (model.num_actions, model.num_outcomes, model.version) == (NUM_ACTIONS, NUM_OUTCOMES, 7)


def test_the_graphs_are_named_as_documented():
    """See `networks.export`; a model without chance has the two files that it always had."""
    network = chance_network()
    files = Exporter(network, 0.9).files(network, 7)
    assert list(files.by_name()) == ["initial.onnx", "recurrent.onnx", "afterstate.onnx"]
    assert ModelFiles.among(files.by_name()) == files
    graphs = {name: onnx.load_from_string(content).graph for name, content in files.by_name().items()}
    ends = {name: ([x.name for x in g.input], [x.name for x in g.output]) for name, g in graphs.items()}
    assert ends["recurrent.onnx"] == (["previous_latent", "outcome"], ["latent", "policy_logits", "value", "reward"])
    assert ends["afterstate.onnx"] == (["previous_latent", "action"], ["latent", "outcome_logits", "value"])
    plain = small_network()
    without = Exporter(plain, 0.9).files(plain, 7)
    assert list(without.by_name()) == ["initial.onnx", "recurrent.onnx"]
    assert not without.has_chance
    assert ModelFiles.among(without.by_name()) == without


@pytest.mark.parametrize("body", ["mlp", "conv", "axial"])
def test_parity_notices_any_parameter_that_differs(body):
    """All but the encoder's, which is for training alone and in no file."""
    network = chance_network(body, "learned", seed=3)
    files = Exporter(network, 1.0).files(network, 0)
    for name, parameter in network.named_parameters():
        weight = parameter.detach().numpy()
        planted = {name: weight + 0.1 * np.cos(np.arange(weight.size, dtype=np.float32)).reshape(weight.shape)}
        wrong = ModelFiles(*(replace_weights(content, planted, {"discount": "1.0"}) for content in files if content))
        if name.startswith("chance.encoder."):
            assert name.encode() not in b"".join(files)
            continue
        with pytest.raises(ParityError, match="differ by"):
            check_parity(network, wrong)


def test_a_body_of_ones_own_has_afterstates_too(tmp_path):
    """Written by torch's exporter; codes, whose gradient passes through the dynamics, are refused."""
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    body = {"kind": f"{tmp_path / 'own.py'}:Own"}
    config = network_config(body=body, chance="known")
    network = make_network((3,), 2, config, 0, num_known=4)
    files = Exporter(network, 0.5).files(network, 1)
    assert check_parity(network, files) <= PARITY_TOLERANCE
    result = Search(onnx_model(files), SearchConfig(num_simulations=9), 2).run(np.zeros((2, 3)), np.ones((2, 2), bool))
    assert result.visit_counts.sum(axis=1).tolist() == [9, 9]
    with pytest.raises(UserError, match=r"network.chance = 'learned' needs a body whose dynamics pass gradients on"):
        make_network((3,), 2, network_config(body=body, chance="learned"), 0)


OWN = """
import torch
from torch import nn


class Own(nn.Module):
    def __init__(self, observation_shape, num_actions, num_outputs):
        super().__init__()
        self.latent_shape = (4,)
        self.into, self.out = nn.Linear(observation_shape[0], 4), nn.Linear(4, num_outputs)
        self.table = nn.Embedding(num_actions, 4)

    def representation(self, observation):
        return torch.tanh(self.into(observation))

    def dynamics(self, latent, action):
        return torch.tanh(latent + self.table(action))

    def prediction(self, latent):
        return self.out(latent)
"""


def test_known_outcomes_need_a_game_that_reports_them():
    """Nothing else could be learned from."""
    with pytest.raises(UserError, match=r"network.chance = 'known' needs a game that reports the outcomes of chance"):
        make_network((3,), 2, network_config(chance="known"), 0)


def test_rows_are_evaluated_alike_however_many_are_asked_for():
    """More, fewer, and as many again."""
    network = chance_network()
    model = OnnxChance(Exporter(network, 1.0).files(network, 0))
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(9, *model.latent_shape)).astype(np.float32)
    edge = rng.integers(NUM_OUTCOMES, size=9, dtype=np.int32)
    whole = [array.copy() for array in (*model.chance(latent, edge), *model.afterstate(latent, edge))]
    for rows in (slice(2, 5), slice(0, 9), slice(4, 5), slice(2, 5)):
        part = *model.chance(latent[rows], edge[rows]), *model.afterstate(latent[rows], edge[rows])
        for one, other in zip(part, whole, strict=True):
            np.testing.assert_allclose(one, other[rows], rtol=1e-5, atol=1e-6)


def test_files_that_do_not_belong_together_are_refused():
    """A recurrent function of actions beside afterstates; afterstates of other latents."""
    network, plain = chance_network(), small_network()
    files, other = Exporter(network, 1.0).files(network, 0), Exporter(plain, 1.0).files(plain, 0)
    with pytest.raises(UserError, match=r"recurrent.onnx must map \['previous_latent', 'outcome'\]"):
        OnnxChance(files._replace(recurrent=other.recurrent))
    with pytest.raises(UserError, match=r"recurrent.onnx must map \['previous_latent', 'action'\]"):
        OnnxModel(files._replace(afterstate=b""))
    with pytest.raises(UserError, match=r"afterstate.onnx must map \['previous_latent', 'action'\]"):
        OnnxChance(files._replace(afterstate=other.recurrent))
    wide = small_network(chance="known", latent_size=9)
    with pytest.raises(UserError, match=r"afterstate.onnx must be a MuZero's.*its 'previous_latent'"):
        OnnxChance(files._replace(afterstate=Exporter(wide, 1.0).files(wide, 0).afterstate))


def test_codes_see_what_was_before_and_what_came():
    """The encoder is asked for pairs; either of the two matters."""
    network = chance_network(chance="learned")
    seen = torch.randn(3, *BOARD, generator=torch.Generator().manual_seed(0))
    codes = network.encode(seen[:1], seen[1:2])
    assert codes.shape == (1, NUM_OUTCOMES)
    assert not torch.equal(codes, network.encode(seen[2:], seen[1:2]))
    assert not torch.equal(codes, network.encode(seen[:1], seen[2:]))
