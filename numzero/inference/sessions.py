"""Bytes become onnxruntime sessions, and say what they map to what; errors name the file.

The bytes may be a stranger's. Checked before anything runs: that they are ONNX, and hold all their numbers themselves
(onnxruntime would read others from files); names, element types and sizes of inputs and outputs. A graph that
onnxruntime refuses, or that fails when it runs, is a UserError that names the file. Not checked: what else a graph
makes onnxruntime do. It runs in this process as it is, and may take any time and any memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, NoReturn

import onnxruntime
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.onnx_reader import external_tensor

__all__ = ["LONGEST_REASON", "NETWORK_TYPES", "About", "Tensor", "bind", "describe", "make_session", "names_of"]
__all__ += ["outputs_of", "refuse_shape", "require_whole", "row_shape", "run_graph", "session_of", "typed"]

LARGEST = 2**24
"""Most numbers of one observation, latent or row of logits."""
LONGEST_REASON = 600
"""Characters of what onnxruntime says, which quotes names from the file."""
NETWORK_TYPES = {"action": "int32", "outcome": "int32"}
"""Element types of inputs and outputs that are not float."""


def require_whole(content: bytes, name: str) -> None:
    """Raise UserError unless the bytes are ONNX, and no tensor in them names a file that its numbers are in.

    Whoever loads such a model reads that file from the working directory, whatever is in it.
    """
    try:
        elsewhere = external_tensor(content)
    except ValueError as error:
        raise UserError(f"{name}.onnx is not a model that onnxruntime can load: {error}.") from error
    if elsewhere is not None:
        raise UserError(
            f"{name}.onnx must hold all of its numbers; those of {elsewhere[:LONGEST_REASON]!r} are in another file. "
            "Save it again without external data."
        )


def make_session(content: bytes, name: str) -> Any:
    """The one place where bytes become a session.

    Raises:
        UserError: they are no ONNX, name numbers in other files, or onnxruntime refuses them.
    """
    require_whole(content, name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4  # 3 writes to stderr, names from the file and all, what is raised besides
    try:
        # The fallback would print what the file says, and try the same once more.
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # onnxruntime raises classes of its own for bad bytes, without a public base
        raise UserError(f"{name}.onnx is not a model that onnxruntime can load: {_reason(error)}") from error


def outputs_of(content: bytes, name: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """All that a graph makes of inputs, by name; errors as of `OnnxModel`."""
    session = make_session(content, name)
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, run_graph(lambda: session.run(names, dict(inputs)), name), strict=True))


def run_graph(run: Callable[[], Any], name: str) -> Any:
    """Have onnxruntime run a graph, and nothing else."""
    try:
        return run()
    except Exception as error:  # as above: a node of the graph failed
        raise UserError(
            f"{name}.onnx must run on every input of its shapes; onnxruntime says: {_reason(error)} Export it again."
        ) from error


def _reason(error: Exception) -> str:
    """What onnxruntime says, without the control characters that names in a file may have, and not without end."""
    return "".join(character if character.isprintable() else " " for character in str(error))[:LONGEST_REASON]


def bind(session: Any, inputs: dict[str, NDArray[Any]], outputs: dict[str, NDArray[Any]]) -> Any:
    """What `run_with_iobinding` takes: it reads and writes these arrays, which must be kept alive."""
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
    for name, array in outputs.items():
        binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
    return binding


class Tensor(NamedTuple):
    """An input or output as a graph declares it."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]
    """A size, or the name of one that is free."""


class About(NamedTuple):
    """What a graph says of itself."""

    inputs: list[Tensor]
    outputs: list[Tensor]
    metadata: dict[str, str]


def describe(session: Any, name: str) -> About:
    """What the graph of the file `name` says of itself."""
    try:
        inputs, outputs = (
            [Tensor(value.name, value.type, tuple(value.shape)) for value in values]
            for values in (session.get_inputs(), session.get_outputs())
        )
        return About(inputs, outputs, dict(session.get_modelmeta().custom_metadata_map))
    except UnicodeDecodeError as error:
        raise UserError(f"{name}.onnx must be written in UTF-8; a name in it is not. Export it again.") from error


def names_of(values: Iterable[Tensor]) -> str:
    """As messages list them."""
    return f"{[value.name for value in values]}"[:LONGEST_REASON]


def typed(values: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """(name, element type) as onnxruntime says it."""
    return [(name, f"tensor({kind})") for name, kind in values]


def session_of(
    content: bytes, name: str, inputs: list[str], *outputs: list[str], types: Mapping[str, str] = NETWORK_TYPES
) -> Any:
    """A session of a graph from `inputs` to one of the `outputs`, all `[batch, ...]` of the right element types."""
    session = make_session(content, name)
    about = describe(session, name)
    if [value.name for value in about.inputs] != inputs or [value.name for value in about.outputs] not in outputs:
        wanted = " or ".join(map(str, outputs))
        raise UserError(
            f"{name}.onnx must map {inputs} to {wanted}; it maps {names_of(about.inputs)} to {names_of(about.outputs)}."
        )
    for value in (*about.inputs, *about.outputs):
        if value.type != f"tensor({types.get(value.name, 'float')})":
            refuse_shape(value, name)
        if not value.shape or isinstance(value.shape[0], int):  # one position, or a fixed number of them
            refuse_shape(value, name)
    return session


def row_shape(value: Tensor, network: str, least_rank: int, most_rank: int) -> tuple[int, ...]:
    """Of `[batch, *shape]`, which must be numbers."""
    shape = tuple(size for size in value.shape[1:] if isinstance(size, int) and size >= 1)
    if not least_rank <= len(shape) <= most_rank or len(shape) != len(value.shape) - 1 or math.prod(shape) > LARGEST:
        refuse_shape(value, network)
    return shape


def refuse_shape(value: Tensor, network: str) -> NoReturn:
    """Say what sizes and types must be, and what this one is."""
    raise UserError(
        f"{network}.onnx must be a MuZero's: a free batch first, then sizes of at most {LARGEST} numbers in all that "
        f"both graphs agree on, float (actions of a list int32); its {value.name!r} is {value.type} "
        f"{list(value.shape)}"[:LONGEST_REASON]
        + ". Export it again."
    )
