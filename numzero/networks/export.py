"""From a network to the ONNX files that actors and agents run.

Knows the graphs' inputs and outputs; knows nothing of where files go. All are `[batch, ...]` float32, actions and
outcomes `[batch]` int32. Scalars are decoded inside.

- `initial.onnx`: observation to latent, policy_logits, value.
- `recurrent.onnx`: previous_latent and action to latent, policy_logits, value, reward and, where the model tells
  whether the turn passes, discount; else an edge's discount is `discount` in the metadata.
- With chance there is a third, `afterstate.onnx`: previous_latent and action to latent, outcome_logits, value, those of
  the afterstate, its value seen from the player who acted. `recurrent.onnx` then takes, in place of an action, an
  `outcome` beside the latent of an afterstate; its reward and discount are those of action and outcome together.
- Where actions are vectors, `action` is `[batch, D]` float32, `policy_logits` are the parameters of their distribution,
  and `proposal` in the metadata of `recurrent.onnx` says which; see `search.proposals`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.graphs.formulas import FLOAT, INT32, Value
from numzero.graphs.weights import model_bytes, replace_weights
from numzero.inference import PROPOSAL, ModelFiles, OnnxChance, OnnxModel, OnnxVectors
from numzero.networks.config import NetworkConfig
from numzero.networks.heads import Heads
from numzero.networks.layers import NetworkGraph, NoNodesError
from numzero.networks.network import MuZeroNetwork, make_network
from numzero.networks.traced import TRACED_PREFIX, traced_graphs
from numzero.networks.trials import MAGNITUDES, TRIAL_SCALES, random_weights
from numzero.search import Proposal

__all__ = ["Exporter", "NonFiniteWeightsError", "ParityError", "check_parity", "parity_with", "require_finite"]

NUM_TRIALS = 16
PARITY_TOLERANCE = 1e-4
"""Largest difference between torch and onnxruntime that an export may show, relative to 1 + the largest of its kind."""


class ParityError(RuntimeError):
    """The exported graphs and the torch network disagree: a bug, or weights so large that float32 loses them."""


class NonFiniteWeightsError(UserError):
    """A weight is NaN or infinite: nobody shall play with it, and no file shall hold it."""


def require_finite(network: MuZeroNetwork) -> None:
    """Raise NonFiniteWeightsError, naming the parameter, unless every weight is finite."""
    for name, parameter in network.stored().items():
        if not bool(torch.isfinite(parameter).all()):
            raise NonFiniteWeightsError(
                f"the network's {name} must be finite; training has made some of its weights NaN or infinite. "
                "Lower learner.learning_rate and go on from the last checkpoint."
            )


class Exporter:
    """Builds the graphs of `network` once; afterwards `files` replaces their weights and no more.

    Layers write themselves; where one does not say how, torch's own exporter writes the whole network.

    Args:
        network: gives the architecture; parity is checked on its weights, and on others.
        discount: multiplies the value behind every edge: gamma, or -gamma where players alternate; where the network
            has a head for it, the head's gamma.

    Raises:
        ParityError: torch and ONNX disagree.
        UserError: torch's exporter cannot write the network.
    """

    def __init__(self, network: MuZeroNetwork, discount: float) -> None:
        self._discount = discount
        self._prefix = ""
        with random_weights(network, TRIAL_SCALES[0]):  # no two alike: torch's exporter would take them for one
            self._template = self._write(network)
        for scale in TRIAL_SCALES:  # under the weights of a fresh network much could be wrong and not show
            with random_weights(network, scale):
                if _is_finite(network):  # else it is too deep for such weights
                    check_parity(network, self._with_weights(network, 0))
        check_parity(network, self._with_weights(network, 0))

    def _write(self, network: MuZeroNetwork) -> ModelFiles:
        """Both graphs, by the layers or by torch."""
        try:
            models = [_initial_graph(network), _recurrent_graph(network, self._discount)]
            models += [] if network.chance is None else [_afterstate_graph(network)]
        except NoNodesError:
            models = traced_graphs(network, self._discount)
            self._prefix = TRACED_PREFIX
        return ModelFiles(*map(model_bytes, models))

    def files(self, network: MuZeroNetwork, version: int) -> ModelFiles:
        """The files with the weights of `network` (of the same architecture).

        Raises:
            NonFiniteWeightsError: they must not be published.
        """
        require_finite(network)
        return self._with_weights(network, version)

    def _with_weights(self, network: MuZeroNetwork, version: int) -> ModelFiles:
        weights = {self._prefix + name: tensor.detach().numpy() for name, tensor in network.stored().items()}
        metadata = {"discount": repr(self._discount), "model_version": str(version)}
        if network.proposal is not None:
            metadata[PROPOSAL] = network.proposal.text
        if (unit := network.scalars.reward_unit) != 1.0:
            metadata["reward_unit"] = repr(unit)
        return ModelFiles(*(replace_weights(template, weights, metadata) for template in self._template if template))


def _initial_graph(network: MuZeroNetwork) -> onnx.ModelProto:
    graph = NetworkGraph(network)
    observation = graph.input("observation", FLOAT, ["batch", *network.observation_shape])
    latent = network.representation.emit(graph, network.inputs.emit(graph, observation))
    return graph.finish("initial", _outputs(network, graph, latent, after_step=False), {})


def _recurrent_graph(network: MuZeroNetwork, discount: float) -> onnx.ModelProto:
    graph = NetworkGraph(network)
    previous = graph.input("previous_latent", FLOAT, ["batch", *network.latent_shape])
    dynamics, edge = (network.dynamics, "action") if network.chance is None else (network.chance.dynamics, "outcome")
    latent = dynamics.emit(graph, previous, _edge_input(network, graph, edge))
    return graph.finish("recurrent", _outputs(network, graph, latent, after_step=True), {"discount": repr(discount)})


def _edge_input(network: MuZeroNetwork, graph: NetworkGraph, edge: str) -> Value:
    """What the recurrent function takes beside a latent: numbers of actions or outcomes, or action vectors."""
    if network.proposal is None:
        return graph.input(edge, INT32, ["batch"])
    return graph.input(edge, FLOAT, ["batch", network.proposal.size])


def _afterstate_graph(network: MuZeroNetwork) -> onnx.ModelProto:
    assert network.chance is not None, "there are no afterstates without chance"
    graph = NetworkGraph(network)
    shape: Sequence[int | str] = ["batch", *network.latent_shape]
    previous = graph.input("previous_latent", FLOAT, shape)
    latent = network.dynamics.emit(graph, previous, graph.input("action", INT32, ["batch"]))
    logits = network.chance.prediction.emit(graph, latent)
    outputs: _GraphOutputs = {"latent": (latent, shape)}
    return graph.finish("afterstate", outputs | _decoded(network, graph, network.afterstate_heads, logits), {})


_GraphOutputs = dict[str, tuple[Value, Sequence[int | str]]]


def _outputs(network: MuZeroNetwork, graph: NetworkGraph, latent: Value, *, after_step: bool) -> _GraphOutputs:
    logits = network.prediction.emit(graph, latent)
    outputs: _GraphOutputs = {"latent": (latent, ["batch", *network.latent_shape])}
    return outputs | _decoded(network, graph, network.heads, logits, after_step=after_step)


def _decoded(
    network: MuZeroNetwork, graph: NetworkGraph, of: Heads, together: Value, *, after_step: bool = True
) -> _GraphOutputs:
    """Logits split off one matrix product; those of scalars as softmax times bins, `[batch]` each."""
    heads, outputs = of.values(), _GraphOutputs()
    sizes = graph.constant([head.size for head in heads])
    pieces = graph.ops(len(heads), "Split", together, sizes, axis=1)
    for head, logits in zip(heads, pieces, strict=True):
        if head.bins is None:
            outputs[head.output] = logits, ["batch", head.size]
        elif after_step or not head.of_step:
            outputs[head.output] = _mean(logits, network.scalars.emit(graph, head)), ["batch"]
    return outputs


def _mean(logits: Value, bins: Value) -> Value:
    graph = logits.graph
    return graph.op("MatMul", graph.op("Softmax", logits, axis=-1), bins)


@torch.no_grad()
def check_parity(network: MuZeroNetwork, files: ModelFiles, *, num_rows: int = NUM_TRIALS) -> float:
    """The largest difference between torch and onnxruntime over random inputs, relative to each output's largest.

    Raises:
        ParityError: it is above `PARITY_TOLERANCE`.
    """
    observation, action, outcome = _trial_inputs(network, num_rows)
    kind = OnnxModel if network.proposal is None else OnnxVectors
    model = (OnnxChance if files.has_chance else kind)(files, kernels=False)
    root = model.initial(observation)
    latent = network.represent(torch.from_numpy(observation))
    differences = _differences(network, root._asdict(), latent, network.predict(latent))
    if isinstance(model, OnnxChance):
        after = model.afterstate(latent.numpy(), action)
        latent = network.dynamics(latent, torch.from_numpy(action))
        differences += _differences(network, after._asdict(), latent, network.predict_afterstate(latent))
        step = model.chance(latent.numpy(), outcome)
        latent = network.next_latent(latent, torch.from_numpy(outcome))
    else:
        step = model.recurrent(latent.numpy(), action)
        latent = network.dynamics(latent, torch.from_numpy(action))
    differences += _differences(network, step._asdict(), latent, network.predict(latent))
    worst = float(np.max(differences))  # NaN if any is: Python's max() would pass over it
    if not worst <= PARITY_TOLERANCE:
        raise ParityError(f"torch and ONNX differ by {worst:.2g}; at most {PARITY_TOLERANCE} is allowed.")
    return worst


def parity_with(
    parameters: NDArray[np.float32],
    observation_shape: tuple[int, ...],
    num_actions: int,
    config: NetworkConfig,
    files: ModelFiles,
    turn_gamma: float | None = None,
    learned: Mapping[str, NDArray[Any]] | None = None,
    kinds: NDArray[np.str_] | None = None,
    num_known: int = 0,
    proposal: Proposal | None = None,
) -> float:
    """As `check_parity`, of the network whose parameters are `parameters`, flat and in torch's order.

    `learned`: what it knows of numbers, as `MuZeroNetwork.learned` gives it; `kinds`, `num_known`, `proposal`: see
    `make_network`.

    Raises:
        ParityError: they differ, or the network that `config` makes has another number of parameters.
    """
    network = make_network(observation_shape, num_actions, config, 0, turn_gamma, kinds, num_known, proposal)
    if (count := sum(parameter.numel() for parameter in network.parameters())) != parameters.size:
        raise ParityError(f"the settings make {count} parameters; there are {parameters.size}.")
    torch.nn.utils.vector_to_parameters(torch.from_numpy(parameters), network.parameters())
    network.restore_learned(learned or {})
    return check_parity(network, files)


def _trial_inputs(network: MuZeroNetwork, num_rows: int) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[np.int32]]:
    """Random observations, of several sizes, actions, and outcomes, all 0 where there is no chance."""
    rng = np.random.default_rng(0)
    observation = rng.normal(size=(num_rows, *network.observation_shape))
    rows = np.resize(MAGNITUDES, num_rows).reshape(-1, *[1] * len(network.observation_shape))
    action: NDArray[Any] = rng.integers(network.num_actions, size=num_rows).astype(np.int32)
    if network.proposal is not None:
        action = network.proposal.uniform(rng, (num_rows,))
    outcome = rng.integers(max(1, network.num_outcomes), size=num_rows)
    typical = network.inputs.typical(torch.from_numpy((observation * rows).astype(np.float32)))
    return typical.numpy(), action, outcome.astype(np.int32)


@torch.no_grad()
def _is_finite(network: MuZeroNetwork) -> bool:
    """Whether the outputs are that `check_parity` compares."""
    observation, action, outcome = map(torch.from_numpy, _trial_inputs(network, NUM_TRIALS))
    latent = network.dynamics(network.represent(observation), action)
    if network.chance is not None:
        latent = network.next_latent(latent, outcome)
    return bool(network.prediction(latent).isfinite().all())


def _differences(
    network: MuZeroNetwork,
    exported: Mapping[str, NDArray[np.float32]],
    latent: torch.Tensor,
    predicted: Mapping[str, torch.Tensor],
) -> list[float]:
    """Of the latent and of every head, of those `predicted`, that the file gives."""
    heads = network.heads | network.afterstate_heads
    found = [_difference(exported["latent"], latent, latent)]
    for name, logits in predicted.items():
        if (output := heads[name].output) in exported:
            scalar = heads[name].scalar
            expected, terms = network.decode(scalar, logits), network.terms(scalar, logits)
            found.append(_difference(exported[output], expected, terms))
    return found


def _difference(exported: NDArray[np.float32], expected: torch.Tensor, terms: torch.Tensor) -> float:
    """Relative to 1 + the largest of its kind, or of their terms: those near 0 are sums of such, and no more exact."""
    return float(np.abs(exported - expected.numpy()).max() / (1.0 + np.abs(terms.numpy()).max()))
