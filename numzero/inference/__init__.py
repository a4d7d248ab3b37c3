"""`onnx_model`: a `search.Model` on onnxruntime, of the bytes of a model's files.

Knows sessions, buffers and the graphs' names; knows nothing of torch, files' folders or games. One thread: actors are
processes. Make the model in the process that uses it.

The bytes may be a stranger's. What is checked before onnxruntime runs them is said in `sessions`, of numbers in their
metadata in `metadata`. What kernels run is checked by `onnx_layers`, and tried beside onnxruntime first (`fenced`).
"""

from __future__ import annotations

from numzero.inference.agent_graph import AGENT_GRAPH, CANDIDATE_NOISE, FoundMove, OnnxSearch
from numzero.inference.chance import OnnxChance, OnnxWithChance
from numzero.inference.metadata import reward_unit
from numzero.inference.model import AFTERSTATE, INITIAL, RECURRENT, ModelFiles, OnnxModel
from numzero.inference.sessions import outputs_of, require_whole
from numzero.inference.vectors import PROPOSAL, OnnxVectors, takes_vectors

__all__ = [
    "AFTERSTATE",
    "AGENT_GRAPH",
    "CANDIDATE_NOISE",
    "INITIAL",
    "PROPOSAL",
    "RECURRENT",
    "AnyOnnxModel",
    "FoundMove",
    "ModelFiles",
    "OnnxChance",
    "OnnxModel",
    "OnnxSearch",
    "OnnxVectors",
    "OnnxWithChance",
    "onnx_model",
    "outputs_of",
    "require_whole",
    "reward_unit",
    "shared_model",
    "takes_vectors",
]


AnyOnnxModel = OnnxModel | OnnxWithChance


def onnx_model(files: ModelFiles, earlier: AnyOnnxModel | None = None) -> AnyOnnxModel:
    """A model for the search, whatever its files have; `earlier` and errors as of `OnnxModel`.

    Where actions are vectors it is a `search.ProposingModel`, of which `Search` makes a model of candidates.
    """
    if files.has_chance:
        return OnnxWithChance(files, earlier=earlier if isinstance(earlier, OnnxWithChance) else None)
    if takes_vectors(files):
        return OnnxVectors(files, earlier=earlier if isinstance(earlier, OnnxVectors) else None)
    return OnnxModel(files, earlier=earlier if isinstance(earlier, OnnxModel) else None)


def shared_model(files: ModelFiles) -> AnyOnnxModel:
    """The model of `files`, the same object for all who ask in a row: roles of one process, which take turns."""
    earlier = _shared[-1] if _shared else None
    if earlier is None or earlier.files != files:
        _shared[:] = [onnx_model(files, earlier)]
    return _shared[-1]


_shared: list[AnyOnnxModel] = []
"""What `shared_model` gave last, if anything."""
