"""ONNX against torch: the same numbers for every combination of settings, few nodes, cheap new versions."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from numzero.graphs.weights import replace_weights
from numzero.inference import ModelFiles, OnnxModel
from numzero.networks.activations import ACTIVATIONS
from numzero.networks.bodies.mlp import MlpPrediction
from numzero.networks.config import network_config
from numzero.networks.export import PARITY_TOLERANCE, Exporter, ParityError, check_parity
from numzero.networks.heads import num_outputs
from numzero.networks.inputs import Symlog
from numzero.networks.layers import Dense, HiddenLayer
from numzero.networks.network import MuZeroNetwork, make_network
from numzero.usage import resident_bytes
from tests.reference.agents import BOARD, NUM_ACTIONS, small_config, small_network

NODES = {  # initial and recurrent without any option, measured; nodes are what a search on small networks pays for
    "mlp": (11, 13),
    "conv": (22, 27),
}


@torch.no_grad()
def torch_outputs(network: MuZeroNetwork, observation: NDArray[np.float32], actions: NDArray[np.int32]) -> list:
    """All that the two graphs are to compute, along a path of actions `[K, B]`."""
    latent = network.represent(torch.from_numpy(observation))
    outputs = []
    for action in [None, *actions]:
        if action is not None:
            latent = network.dynamics(latent, torch.from_numpy(action))
        heads = network.predict(latent)
        names = ["policy", "value"] if action is None else ["policy", "value", "reward"]
        outputs += [latent, *(network.decode(name, heads[name]) for name in names)]
    return [output.numpy() for output in outputs]


def onnx_outputs(files: ModelFiles, observation: NDArray[np.float32], actions: NDArray[np.int32]) -> list:
    model = OnnxModel(files)
    step = model.initial(observation)
    outputs = [step.latent.copy(), step.policy_logits.copy(), step.value.copy()]
    for action in actions:
        after = model.recurrent(outputs[-3 if len(outputs) == 3 else -4], action)
        outputs += [x.copy() for x in (after.latent, after.policy_logits, after.value, after.reward)]
    return outputs


OPTIONS = list(
    itertools.product(("mlp", "conv"), ("relu", "silu"), (False, True), ("minmax", "layernorm"), ("none", "symlog"))
)


@pytest.mark.parametrize(("body", "activation", "norm", "scaling", "observed"), OPTIONS)
def test_onnx_computes_what_torch_does_in_as_few_nodes_as_before(body, activation, norm, scaling, observed):
    """Latent, policy, value and reward at the root and along three actions; the price of each option is bounded."""
    options = {"activation": activation, "hidden_norm": norm, "latent_scaling": scaling}
    network = small_network(1, body=body, observation_scaling=observed, **options)
    rng = np.random.default_rng(0)
    observation = rng.normal(scale=3.0, size=(6, *BOARD)).astype(np.float32)
    actions = rng.integers(NUM_ACTIONS, size=(3, 6)).astype(np.int32)
    files = Exporter(network, -1.0).files(network, 1)
    exported = onnx_outputs(files, observation, actions)
    expected = torch_outputs(network, observation, actions)
    assert len(exported) == len(expected) == 15
    for got, want in zip(exported, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)

    hidden = 2 if body == "mlp" else 1  # hidden layers in each graph
    each = hidden * ((activation == "silu") + norm) + 5 * (scaling == "minmax")
    nodes = [len(onnx.load_from_string(content).graph.node) for content in files[:2]]
    assert nodes[0] <= NODES[body][0] + each + 5 * (observed == "symlog")
    assert nodes[1] <= NODES[body][1] + each


@pytest.mark.parametrize(("layers", "nodes"), [(1, 18), (2, 20), (3, 22)])
def test_a_hidden_dynamics_layer_costs_two_nodes(layers, nodes):
    """A matrix product and a relu; the default recurrent MLP is 18 nodes in all."""
    network = make_network((4,), 2, network_config(dynamics_layers=layers), seed=0)
    content = Exporter(network, 1.0).files(network, 0).recurrent
    assert len(onnx.load_from_string(content).graph.node) <= nodes


@pytest.mark.parametrize("representation_layers", [0, 2])
@pytest.mark.parametrize("deep", [2, 3])
def test_depth_is_exported_too(representation_layers, deep):
    """Bodies without a representation layer and with several of each; the exporter compares them itself."""
    depth = {"dynamics_layers": deep, "prediction_layers": deep, "representation_layers": representation_layers}
    network = small_network(2, **depth)
    assert check_parity(network, Exporter(network, 1.0).files(network, 0)) <= PARITY_TOLERANCE


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_every_activation_is_exported(activation):
    """Whether it says how or not; also behind LayerNorm."""
    network = small_network(2, activation=activation, hidden_norm=True)
    assert check_parity(network, Exporter(network, 1.0).files(network, 0)) <= PARITY_TOLERANCE


@pytest.mark.parametrize("body", ["mlp", "conv"])
def test_publishing_new_weights_equals_a_fresh_export(body):
    """Byte for byte: replaced initializers leave no trace of the weights that the template was made of."""
    first, second = small_network(1, body=body), small_network(2, body=body)
    replaced = Exporter(first, -1.0).files(second, 7)
    assert replaced == Exporter(second, -1.0).files(second, 7)
    assert replaced != Exporter(first, -1.0).files(first, 7)
    check_parity(second, replaced)


def test_the_files_say_their_version_and_discount():
    """A float's every bit survives the metadata."""
    network = small_network()
    model = OnnxModel(Exporter(network, -0.997).files(network, 12345))
    assert (model.version, model.discount) == (12345, -0.997)
    assert (model.latent_shape, model.num_actions, model.observation_shape) == ((6,), NUM_ACTIONS, BOARD)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads this process's memory from /proc")
def test_fifty_versions_neither_grow_nor_pile_up_in_memory():
    """Each version of this network is 8 MB: kept, they would be 400."""
    network = make_network((64,), 4, network_config(width=1024, latent_size=512), seed=0)
    exporter = Exporter(network, 1.0)
    sizes = []
    for version in range(100, 150):
        sizes.append(sum(len(content) for content in exporter.files(network, version)))
        if version == 105:
            settled = resident_bytes()
    assert len(set(sizes)) == 1
    assert sizes[0] > 8_000_000
    assert resident_bytes() - settled < 60_000_000


def parameters(network: MuZeroNetwork) -> dict[str, NDArray[np.float32]]:
    return {name: parameter.detach().numpy().copy() for name, parameter in network.named_parameters()}


@pytest.mark.parametrize("body", ["mlp", "conv"])
def test_parity_notices_any_parameter_that_differs(body):
    """One parameter at a time is changed in the files alone."""
    network = small_network(3, body=body)
    files = Exporter(network, 1.0).files(network, 0)
    for name, weight in parameters(network).items():
        planted = {name: weight + 0.1 * np.cos(np.arange(weight.size, dtype=np.float32)).reshape(weight.shape)}
        wrong = ModelFiles(*(replace_weights(content, planted, {"discount": "1.0"}) for content in files if content))
        with pytest.raises(ParityError, match="differ by"):
            check_parity(network, wrong)


def test_parity_notices_weights_that_are_not_numbers():
    """NaN in one head alone: every other output agrees."""
    network = small_network(3)
    files = Exporter(network, 1.0).files(network, 0)
    for index in (0, NUM_ACTIONS, num_outputs(network.heads) - 1):  # policy, value, reward
        bias = np.zeros(num_outputs(network.heads), np.float32)
        bias[index] = np.nan
        planted = {"prediction.output.bias": bias}
        wrong = ModelFiles(*(replace_weights(content, planted, {"discount": "1.0"}) for content in files if content))
        with pytest.raises(ParityError, match="differ by nan"):
            check_parity(network, wrong)


def test_an_exporter_with_a_wrong_graph_refuses_to_be_made(monkeypatch):
    """A layer whose nodes do something else than its forward pass is found before the first version is published."""
    honest = Dense.emit

    def wrong(self, graph, x, extra=None):
        return honest(self, graph, x, extra) * 1.01

    monkeypatch.setattr(Dense, "emit", wrong)
    with pytest.raises(ParityError, match="torch and ONNX differ by"):
        Exporter(small_network(), 1.0)


def gelu_layer(self: HiddenLayer, x: torch.Tensor, extra: torch.Tensor | None = None) -> torch.Tensor:
    return functional.gelu(self.dense(x, extra))


def relu6_layer(self: HiddenLayer, x: torch.Tensor, extra: torch.Tensor | None = None) -> torch.Tensor:
    return functional.relu6(self.dense(x, extra))


def clipped(self: Symlog, x: torch.Tensor) -> torch.Tensor:
    return x.sign() * x.abs().clamp_max(8.0).log1p()


def doubled(self: MlpPrediction, x: torch.Tensor) -> torch.Tensor:
    return self.output(2.0 * self.hidden(x))


CHANGED = [(HiddenLayer, gelu_layer), (HiddenLayer, relu6_layer), (Symlog, clipped), (MlpPrediction, doubled)]


@pytest.mark.parametrize(("kind", "forward"), CHANGED)
@pytest.mark.parametrize("head_scale", [0.0, 1.0])
def test_a_layer_that_was_changed_and_not_its_nodes_is_refused(monkeypatch, kind, forward, head_scale):
    """Also behind fresh heads, whose weights of 0 hide what is before them until training has begun."""
    monkeypatch.setattr(kind, "forward", forward)
    network = make_network(BOARD, NUM_ACTIONS, small_config(head_scale=head_scale, observation_scaling="symlog"), 0)
    with pytest.raises(ParityError, match="torch and ONNX differ by"):
        Exporter(network, 1.0)


def test_weights_that_are_built_into_a_graph_are_found(monkeypatch):
    """A constant in the place of a parameter agrees with the first weights and with no others."""

    def frozen(self, graph, x, extra=None):
        weight = graph.constant(self.weight.detach().numpy().copy())
        return graph.op("Gemm", x, weight, extra or graph.weight(self.bias), transB=1)

    monkeypatch.setattr(Dense, "emit", frozen)
    with pytest.raises(ParityError, match="torch and ONNX differ by"):
        Exporter(small_network(), 1.0)
