"""The graphs of a network as torch's exporter writes them, for layers that do not say how they are written.

Knows torch's exporter; knows nothing of layers. It is the older one of two, which takes 0.2 s where the newer takes 5
and keeps parameters as they are. Its graphs have more nodes than those written by hand, which cost small networks time.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any, cast

import onnx
import torch
from onnx import helper
from torch import nn

from numzero.errors import UserError
from numzero.graphs.formulas import FLOAT, IR_VERSION, OPSET
from numzero.networks.heads import Heads
from numzero.networks.network import MuZeroNetwork

__all__ = ["TRACED_PREFIX", "traced_graphs"]

TRACED_PREFIX = "network."
"""Stands before the names of parameters."""


class _Initial(nn.Module):
    """What `initial.onnx` computes."""

    def __init__(self, network: MuZeroNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, observation: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """`[N, *O]` to the outputs."""
        return _outputs(self.network, self.network.represent(observation), after_step=False)


class _Recurrent(nn.Module):
    """What `recurrent.onnx` computes."""

    def __init__(self, network: MuZeroNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, previous_latent: torch.Tensor, edge: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """`[N, *H]`, `[N]` to the outputs."""
        network = self.network
        dynamics = network.dynamics if network.chance is None else network.next_latent
        return _outputs(network, dynamics(previous_latent, edge), after_step=True)


class _Afterstate(nn.Module):
    """What `afterstate.onnx` computes."""

    def __init__(self, network: MuZeroNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, previous_latent: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """`[N, *H]`, `[N]` to the outputs."""
        latent = self.network.dynamics(previous_latent, action)
        heads, logits = self.network.afterstate_heads, self.network.predict_afterstate(latent)
        return latent, *(self.network.decode(head.scalar, logits[name]) for name, head in heads.items())


def _outputs(network: MuZeroNetwork, latent: torch.Tensor, *, after_step: bool) -> tuple[torch.Tensor, ...]:
    heads = network.predict(latent)
    known = [name for name, head in network.heads.items() if after_step or not head.of_step]
    return latent, *(network.decode(name, heads[name]) for name in known)


def _shapes(network: MuZeroNetwork, heads: Heads, *, after_step: bool = True) -> dict[str, Sequence[int | str]]:
    """The outputs' names, in their order, with their shapes."""
    shapes: dict[str, Sequence[int | str]] = {"latent": ["batch", *network.latent_shape]}
    for head in heads.values():
        if after_step or not head.of_step:
            shapes[head.output] = ["batch", head.size] if head.bins is None else ["batch"]
    return shapes


def traced_graphs(network: MuZeroNetwork, discount: float) -> list[onnx.ModelProto]:
    """All graphs, as if they were written by hand but for the names of what is inside.

    Raises:
        UserError: the exporter does not know how to write something.
    """
    observation = torch.zeros(2, *network.observation_shape)
    latent, edge = torch.zeros(2, *network.latent_shape), torch.zeros(2, dtype=torch.int32)
    if network.proposal is not None:
        edge = torch.zeros(2, network.proposal.size)
    initial = _traced(
        _Initial(network), {"observation": observation}, _shapes(network, network.heads, after_step=False)
    )
    inputs = {"previous_latent": latent, "action" if network.chance is None else "outcome": edge}
    recurrent = _traced(_Recurrent(network), inputs, _shapes(network, network.heads))
    helper.set_model_props(recurrent, {"discount": repr(discount)})
    if network.chance is None:
        return [initial, recurrent]
    inputs = {"previous_latent": latent, "action": edge}
    return [initial, recurrent, _traced(_Afterstate(network), inputs, _shapes(network, network.afterstate_heads))]


def _traced(
    module: nn.Module, inputs: dict[str, torch.Tensor], outputs: dict[str, Sequence[int | str]]
) -> onnx.ModelProto:
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the exporter itself: there is a newer one
        try:
            torch.onnx.export(
                module,
                tuple(inputs.values()),
                cast(Any, content),  # its types know files only
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_axes={name: {0: "batch"} for name in (*inputs, *outputs)},
                opset_version=OPSET,
                do_constant_folding=False,  # parameters stay parameters
                dynamo=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise UserError(
                f"torch.onnx must be able to write the network; got {error}. Use operators that it knows."
            ) from error
    model = onnx.load_from_string(content.getvalue())
    model.ir_version = IR_VERSION
    del model.graph.output[:]  # some of which the exporter leaves without sizes
    model.graph.output.extend(helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items())
    onnx.checker.check_model(model, full_check=True)
    return model
