"""Networks as ONNX files: graphs whose weights keep the names of their parameters, and new weights for old files.

Knows parameters and initializers; knows nothing of layers. Graphs are written by hand rather than traced: every node
costs a small network more than its arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper

from numzero.networks.values import Graph, Value

__all__ = ["NetworkGraph", "model_bytes", "replace_weights"]


class NetworkGraph(Graph):
    """A graph of a module, whose parameters are stored under its own names."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self._names = {id(parameter): name for name, parameter in module.named_parameters()}

    def weight(self, parameter: torch.Tensor) -> Value:
        """A parameter of the module."""
        return self.stored(self._names[id(parameter)], parameter.detach().numpy())


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
