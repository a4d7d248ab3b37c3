"""Building an ONNX graph node by node.

Knows names, nodes and initializers; knows nothing of layers. Graphs are written by hand rather than traced: every node
costs a small network more than its arithmetic, and initializers keep the names of the parameters they come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["GraphBuilder", "model_bytes", "replace_weights"]

OPSET = 20
IR_VERSION = 9


class GraphBuilder:
    """Collects the nodes of one graph; parameters are named after the module's own."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._names = {id(parameter): name for name, parameter in module.named_parameters()}
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output; its output's name."""
        return self.nodes(op, *inputs, num_outputs=1, **attributes)[0]

    def nodes(self, op: str, *inputs: str, num_outputs: int, **attributes: Any) -> list[str]:
        """Add a node of several outputs; their names."""
        outputs = [f"{op.lower()}_{len(self._nodes)}_{i}" for i in range(num_outputs)]
        self._nodes.append(helper.make_node(op, list(inputs), outputs, **attributes))
        return outputs

    def weight(self, parameter: torch.Tensor) -> str:
        """The initializer of a parameter, named after it."""
        name = self._names[id(parameter)]
        return self._initializer(name, parameter.detach().numpy())

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """An initializer that is not a parameter; equal names must mean equal arrays."""
        return self._initializer(name, array)

    def _initializer(self, name: str, array: NDArray[Any]) -> str:
        if name not in self._initializers:
            self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def finish(
        self,
        name: str,
        inputs: Mapping[str, tuple[int, tuple[int | str, ...]]],
        outputs: Mapping[str, tuple[str, tuple[int | str, ...]]],
        metadata: Mapping[str, str],
    ) -> onnx.ModelProto:
        """The checked model: inputs name -> (element type, shape), outputs name -> (inner name, shape), all float32."""
        self._nodes += [helper.make_node("Identity", [inner], [outer]) for outer, (inner, _) in outputs.items()]
        graph = helper.make_graph(
            _fold_identities(self._nodes),
            name,
            [helper.make_tensor_value_info(key, kind, shape) for key, (kind, shape) in inputs.items()],
            [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, (_, shape) in outputs.items()],
            list(self._initializers.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        model.producer_name = "numzero"
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return model


def _fold_identities(nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Give each inner value that an Identity renames the outer name itself."""
    renamed = {node.input[0]: node.output[0] for node in nodes if node.op_type == "Identity"}
    kept = [node for node in nodes if node.op_type != "Identity"]
    for node in kept:
        for names in (node.input, node.output):
            for i, value in enumerate(names):
                names[i] = renamed.get(value, value)
    return kept


def model_bytes(model: onnx.ModelProto) -> bytes:
    """The model as one file's content, weights inside."""
    return bytes(model.SerializeToString())


def replace_weights(template: bytes, weights: Mapping[str, NDArray[np.float32]], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a model with new values for its named parameters; nothing is exported again.

    The template is parsed anew each time: protobuf keeps every value that a message ever held until the message goes,
    so that one message updated in place grows by its own size with each version.
    """
    model = onnx.load_from_string(template)
    for initializer in model.graph.initializer:
        if initializer.name in weights:
            initializer.raw_data = np.ascontiguousarray(weights[initializer.name]).tobytes()
    helper.set_model_props(model, dict(metadata))
    return model_bytes(model)
