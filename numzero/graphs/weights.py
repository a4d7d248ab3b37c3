"""New weights for ONNX files that exist.

Knows initializers by their names; knows nothing of layers, and needs onnx but not torch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

__all__ = ["model_bytes", "replace_weights"]


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
