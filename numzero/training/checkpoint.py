"""All that it takes to take a run up again, in numbered folders that verify.

Knows the parts and how they are written; knows nothing of what they mean. Three generations are kept; where the newest
is damaged the one before is used, and the caller is told.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError
from numzero.files import DamagedFilesError, generations, read_folder, remove_generation, write_generation
from numzero.folders import STORE_NAME
from numzero.inference import ModelFiles
from numzero.metrics import Event, Noted, Started, read_metrics
from numzero.replay import UNKNOWN_VERSION, GameStore
from numzero.runtime.base import State
from numzero.training.plan import RunPlan

__all__ = ["GENERATIONS", "Checkpoint", "RunState", "forget_later", "generator_state", "never_began"]
__all__ += ["read_checkpoint", "restore_generator", "write_checkpoint"]

GENERATIONS = 3
_ROLE_PREFIX = "role-"


class RunState(msgspec.Struct, kw_only=True):
    """How far a run has come."""

    plan: RunPlan
    steps: int = 0
    """Environment steps."""
    games: int = 0
    """Episodes finished."""
    reanalyzed: int = 0
    """Positions searched again, allowances that lapsed included."""
    seconds: float = 0.0
    """Time spent training, in all sessions."""
    published: int = 0
    """Version of the weights that actors have."""
    evaluated: int = 0
    """Updates behind the agent that was evaluated last."""
    sequence: int = 0
    """Newest game of the store that the window has seen."""
    revision: int = 0
    """Newest statistics of the store that the window has seen."""
    rng: str = ""
    reanalyze_rng: str = ""
    episodes: list[tuple[int, float]] = []
    """Lengths and returns of episodes finished lately."""


class Checkpoint(NamedTuple):
    """Everything, read or to be written."""

    state: RunState
    learner: State
    window: State
    reanalyze: State
    roles: dict[str, State]
    """Of roles in this process, by worker."""
    published: ModelFiles


def write_checkpoint(parent: Path, updates: int, checkpoint: Checkpoint) -> None:
    """Write the folder of `updates`, whole or not at all, and remove the oldest ones."""
    arrays = {"learner": checkpoint.learner, "window": checkpoint.window, "reanalyze": checkpoint.reanalyze}
    arrays |= {_ROLE_PREFIX + name: state for name, state in checkpoint.roles.items()}
    files = {f"{name}.npz": _npz(state) for name, state in arrays.items()}
    files["initial.onnx"], files["recurrent.onnx"] = checkpoint.published
    files["state.json"] = msgspec.json.encode(checkpoint.state)
    write_generation(parent, updates, files, keep=GENERATIONS)


def read_checkpoint(parent: Path) -> tuple[int, Checkpoint, list[str]]:
    """The newest checkpoint of a run that verifies, its updates, and a sentence for each newer one that does not.

    Raises:
        UserError: there is none.
    """
    problems: list[str] = []
    for updates, path in reversed(generations(parent)):
        try:
            return updates, _decode(read_folder(path), path), problems
        except DamagedFilesError as error:
            problems.append(str(error))
    seen = f" Of {len(problems)} none verifies: {problems[0]}" if problems else ""
    raise UserError(f"{parent} holds no checkpoint to go on from.{seen} Start a new run.")


def never_began(folder: Path) -> bool:
    """Whether a run's folder holds nothing worth keeping: no checkpoint, no agent, and no game that it played itself.

    It was killed before its first checkpoint, then; what it had copied of another's games is there to be copied again.
    """
    if any(generations(folder / name) for name in ("agents", "checkpoints")):
        return False
    if any(not isinstance(event, Started | Noted) for event in _events(folder / "metrics.jsonl")):
        return False
    return not (folder / STORE_NAME).exists() or _holds_only_copies(folder / STORE_NAME)


def _events(path: Path) -> list[Event]:
    return read_metrics(path) if path.exists() else []


def _holds_only_copies(path: Path) -> bool:
    """Whether all games of a store are those that learning offline begins with: of unknown weights."""
    with GameStore(path) as store:
        return all(row.model_version == UNKNOWN_VERSION for row in store.index())


def forget_later(folder: Path, updates: int) -> None:
    """Remove weights, agents and checkpoints of updates that are to be made anew."""
    for name, newest in (("weights", -1), ("agents", updates), ("checkpoints", updates)):
        for number, path in generations(folder / name):
            if number > newest:
                remove_generation(path)


def generator_state(rng: np.random.Generator) -> str:
    """A generator's state as text; its 128-bit integers are plain in JSON."""
    return json.dumps(rng.bit_generator.state)


def restore_generator(rng: np.random.Generator, state: str) -> None:
    """Make `rng` go on where `generator_state` was taken."""
    rng.bit_generator.state = json.loads(state)


def _decode(files: Mapping[str, bytes], path: Path) -> Checkpoint:
    try:
        arrays = {name.removesuffix(".npz"): _arrays(files[name]) for name in files if name.endswith(".npz")}
        return Checkpoint(
            state=msgspec.json.decode(files["state.json"], type=RunState),
            learner=arrays["learner"],
            window=arrays["window"],
            reanalyze=arrays["reanalyze"],
            roles={n.removeprefix(_ROLE_PREFIX): state for n, state in arrays.items() if n.startswith(_ROLE_PREFIX)},
            published=ModelFiles(files["initial.onnx"], files["recurrent.onnx"]),
        )
    except (KeyError, msgspec.DecodeError) as error:
        raise UserError(f"{path} is a checkpoint of another version of numzero ({error}). Start a new run.") from error


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _arrays(content: bytes) -> State:
    with np.load(io.BytesIO(content), allow_pickle=False) as loaded:
        return {name: loaded[name] for name in loaded.files}
