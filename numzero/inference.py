"""`OnnxModel`: a `search.Model` on onnxruntime.

Knows sessions, buffers and the two graphs' names; knows nothing of torch, files' folders or games. One thread: actors
are processes. Make the model in the process that uses it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.search import InitialOutput, RecurrentOutput

__all__ = ["ModelFiles", "OnnxModel"]


class ModelFiles(NamedTuple):
    """The contents of the two ONNX files of one model."""

    initial: bytes
    recurrent: bytes


class OnnxModel:
    """Evaluates positions with onnxruntime into buffers that are allocated once per batch size.

    Outputs are views of those buffers: the next call of the same function overwrites them. Not thread-safe.

    Args:
        files: the bytes of `initial.onnx` and `recurrent.onnx`.

    Raises:
        UserError: onnxruntime refuses the bytes, or their inputs and outputs are not a MuZero's.
    """

    def __init__(self, files: ModelFiles) -> None:
        self._initial = _session(files.initial, "initial", ["observation"], ["latent", "policy_logits", "value"])
        self._recurrent = _session(
            files.recurrent,
            "recurrent",
            ["previous_latent", "action"],
            ["latent", "policy_logits", "value", "reward"],
        )
        metadata = self._recurrent.get_modelmeta().custom_metadata_map
        if "discount" not in metadata:
            raise UserError("recurrent.onnx must give its discount in its metadata; it has none. Export it again.")
        self.discount = float(metadata["discount"])
        self.version = int(metadata.get("model_version", 0))
        shapes = {value.name: tuple(value.shape[1:]) for value in self._initial.get_outputs()}
        self.latent_shape: tuple[int, ...] = shapes["latent"]
        self.num_actions: int = shapes["policy_logits"][0]
        self.observation_shape: tuple[int, ...] = tuple(self._initial.get_inputs()[0].shape[1:])
        self._initial_calls: dict[int, _InitialCall] = {}
        self._recurrent_calls: dict[int, _RecurrentCall] = {}

    def initial(self, observation: NDArray[np.generic], /) -> InitialOutput:
        """See `search.Model`. `[B, *O]` of any number type."""
        call = self._initial_calls.get(len(observation))
        if call is None:
            call = self._initial_calls[len(observation)] = _InitialCall(self, len(observation))
        np.copyto(call.observation, observation, casting="unsafe")
        self._initial.run_with_iobinding(call.binding)
        return call.output

    def recurrent(self, latent: NDArray[np.float32], action: NDArray[np.int32], /) -> RecurrentOutput:
        """See `search.Model`. Arrays that are passed again and again are bound once and not copied."""
        call = self._recurrent_calls.get(len(action))
        if call is None or call.latent is not latent or call.action is not action:
            call = self._recurrent_calls[len(action)] = _RecurrentCall(self, latent, action)
        self._recurrent.run_with_iobinding(call.binding)
        return call.output

    def _bind(self, session: Any, inputs: dict[str, NDArray[Any]], outputs: dict[str, NDArray[Any]]) -> Any:
        binding = session.io_binding()
        for name, array in inputs.items():
            binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        return binding


class _InitialCall:
    """Buffers and binding of `initial` at one batch size."""

    def __init__(self, model: OnnxModel, batch_size: int) -> None:
        self.observation = np.zeros((batch_size, *model.observation_shape), np.float32)
        self.output = InitialOutput(
            latent=np.zeros((batch_size, *model.latent_shape), np.float32),
            policy_logits=np.zeros((batch_size, model.num_actions), np.float32),
            value=np.zeros(batch_size, np.float32),
        )
        self.binding = model._bind(model._initial, {"observation": self.observation}, self.output._asdict())


class _RecurrentCall:
    """Buffers and binding of `recurrent` for one pair of input arrays, kept alive here."""

    def __init__(self, model: OnnxModel, latent: NDArray[np.float32], action: NDArray[np.int32]) -> None:
        batch_size = len(action)
        self.latent = np.ascontiguousarray(latent, np.float32)
        self.action = np.ascontiguousarray(action, np.int32)
        self.output = RecurrentOutput(
            latent=np.zeros((batch_size, *model.latent_shape), np.float32),
            reward=np.zeros(batch_size, np.float32),
            discount=np.full(batch_size, model.discount, np.float32),
            policy_logits=np.zeros((batch_size, model.num_actions), np.float32),
            value=np.zeros(batch_size, np.float32),
        )
        outputs = self.output._asdict()
        del outputs["discount"]
        inputs = {"previous_latent": self.latent, "action": self.action}
        self.binding = model._bind(model._recurrent, inputs, outputs)


def _session(content: bytes, name: str, inputs: list[str], outputs: list[str]) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own for bad bytes, without a public base
        raise UserError(f"{name}.onnx is not a model that onnxruntime can load: {error}") from error
    seen = ([value.name for value in session.get_inputs()], [value.name for value in session.get_outputs()])
    if seen != (inputs, outputs):
        raise UserError(f"{name}.onnx must map {inputs} to {outputs}; it maps {seen[0]} to {seen[1]}.")
    return session
