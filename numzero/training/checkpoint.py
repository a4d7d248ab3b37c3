"""All that it takes to take a run up again, in numbered folders that verify.

Knows the parts and how they are written; knows nothing of what they mean. Three generations are kept; where the newest
is damaged the one before is used, and the caller is told.
"""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from numzero.errors import UserError, unfit_explained
from numzero.files import (
    UNREADABLE,
    DamagedFilesError,
    generations,
    read_folder,
    remove_generation,
    write_generation,
)
from numzero.folders import METRICS_NAME, STORE_NAME
from numzero.games.base import spec_problems
from numzero.inference import ModelFiles
from numzero.metrics import Event, Finished, Noted, Progress, RandomPlayed, Started, read_metrics
from numzero.replay import UNKNOWN_VERSION, GameStore
from numzero.runtime.base import State
from numzero.training.plan import RunPlan

__all__ = ["GENERATIONS", "Checkpoint", "RunState", "forget_later", "generator_state", "never_began", "read_arrays"]
__all__ += ["read_checkpoint", "restore_generator", "write_checkpoint"]

GENERATIONS = 3
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_KINDS = "biufU"
"""Of arrays: truth values, numbers and text."""
_ROLE_PREFIX = "role-"


class RunState(msgspec.Struct, kw_only=True):
    """How far a run has come."""

    plan: RunPlan
    steps: _Count = 0
    """Environment steps."""
    games: _Count = 0
    """Episodes finished."""
    reanalyzed: _Count = 0
    """Positions searched again, allowances that lapsed included."""
    seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """Time spent training, in all sessions."""
    published: _Count = 0
    """Version of the weights that actors have."""
    evaluated: _Count = 0
    """Updates behind the agent that was evaluated last."""
    sequence: _Count = 0
    """Newest game of the store that the window has seen."""
    revision: _Count = 0
    """Newest statistics of the store that the window has seen."""
    rng: str = ""
    reanalyze_rng: str = ""
    episodes: list[tuple[int, float]] = []
    """Lengths and returns of episodes finished lately."""
    random: dict[str, Any] = {}
    """What a random policy got; nothing until it was measured."""


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
    files |= checkpoint.published.by_name()
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
    """Whether a run's folder holds nothing worth keeping: no update was made, and no step of a game played.

    It was killed before its first checkpoint, then, or its environment could not be made; what it had copied of
    another's games is there to be copied again.
    """
    if any(updates for name in ("agents", "checkpoints") for updates, _ in generations(folder / name)):
        return False
    if any(_is_progress(event) for event in _events(folder / METRICS_NAME)):
        return False
    return not (folder / STORE_NAME).exists() or _holds_only_copies(folder / STORE_NAME)


def _is_progress(event: Event) -> bool:
    """Whether an event tells of anything done."""
    if isinstance(event, Progress | Finished):
        return event.updates > 0 or event.steps > 0
    return not isinstance(event, Started | Noted | RandomPlayed)


def _events(path: Path) -> list[Event]:
    return read_metrics(path) if path.exists() else []


def _holds_only_copies(path: Path) -> bool:
    """Whether all games of a store are those that learning offline begins with: of unknown weights."""
    with GameStore(path) as store:
        return all(row.model_version == UNKNOWN_VERSION for row in store.index())


def forget_later(folder: Path, updates: int) -> None:
    """Remove agents and checkpoints of updates that are to be made anew."""
    for name in ("agents", "checkpoints", "judged"):
        for number, path in generations(folder / name):
            if number > updates:
                remove_generation(path)


def generator_state(rng: np.random.Generator) -> str:
    """A generator's state as text; its 128-bit integers are plain in JSON."""
    return json.dumps(rng.bit_generator.state)


def restore_generator(rng: np.random.Generator, state: str) -> None:
    """Make `rng` go on where `generator_state` was taken."""
    rng.bit_generator.state = json.loads(state)


def _decode(files: Mapping[str, bytes], path: Path) -> Checkpoint:
    try:
        arrays = {name.removesuffix(".npz"): read_arrays(files[name]) for name in files if name.endswith(".npz")}
        state = msgspec.json.decode(files["state.json"], type=RunState)
        if problems := spec_problems(state.plan.spec):
            raise DamagedFilesError(f"{path / 'state.json'} cannot be a run's: {' '.join(problems)}")
        return Checkpoint(
            state=state,
            learner=arrays["learner"],
            window=arrays["window"],
            reanalyze=arrays["reanalyze"],
            roles={n.removeprefix(_ROLE_PREFIX): state for n, state in arrays.items() if n.startswith(_ROLE_PREFIX)},
            published=ModelFiles.among(files),
        )
    except (KeyError, *UNREADABLE) as error:
        raise UserError(f"{path} is a checkpoint of another version of numzero ({error}). Start a new run.") from error


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def read_arrays(content: bytes) -> State:
    """The arrays of a file that `numpy.savez` wrote, each as long as its bytes: nothing is unpacked, nor unpickled.

    Raises:
        DamagedFilesError: it is no such file.
    """
    try:
        with unfit_explained("a file of arrays"), zipfile.ZipFile(io.BytesIO(content)) as members:
            entries = members.infolist()
            if sum(entry.file_size for entry in entries) > len(content):
                raise UserError("its members claim more bytes than it has")
            return {entry.filename.removesuffix(".npy"): _array(members, entry) for entry in entries}
    except (UserError, zipfile.BadZipFile, EOFError, OSError, struct.error) as error:
        raise DamagedFilesError(f"a file of arrays is not what was written ({error}). Make it again.") from error


def _array(members: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    """One array, writable; a member that claims more than it holds is refused before anything is allocated."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise UserError(f"{entry.filename!r} is compressed")
    member = io.BytesIO(members.read(entry))
    version = np.lib.format.read_magic(member)
    if version not in ((1, 0), (2, 0)):
        raise UserError(f"{entry.filename!r} has format {version}")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, in_columns, dtype = read_header(member)
    size = entry.file_size - member.tell()
    is_known = dtype.kind in _KINDS and dtype.itemsize > 0 and min(shape, default=0) >= 0
    if not is_known or math.prod(shape) * dtype.itemsize != size:
        raise UserError(f"{entry.filename!r} claims {dtype} of shape {shape} in {size} bytes")
    flat = np.array(bytearray(member.read()), np.uint8).view(dtype)
    return flat.reshape(shape, order="F" if in_columns else "C")
