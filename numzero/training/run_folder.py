"""The folder of a run: whose it is, and all that is read and written there.

Knows the names of files, the lock and what waits for room on a full disk; knows nothing of what a run does with them.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from numzero.errors import UserError
from numzero.files import (
    DamagedFilesError,
    clear,
    generations,
    read_folder,
    read_sealed,
    remove_generation,
    tidy,
    write_generation,
    write_sealed,
)
from numzero.folders import CONFIG_NAME, METRICS_NAME, RUN, SEED, STORE_NAME, FolderLock, Kind, kind_of
from numzero.games import GameSpec, Trust, trusted_address, trusted_code, trusted_name
from numzero.metrics import Evaluated, Event, history, read_metrics
from numzero.replay import GAME_NOTE, MEBIBYTE, GameStore
from numzero.training.changes import Changes, changed, in_words
from numzero.training.checkpoint import (
    GENERATIONS,
    Checkpoint,
    forget_later,
    never_began,
    read_checkpoint,
    write_checkpoint,
)
from numzero.training.config import RunConfig, load_config, outside_code, save_config
from numzero.training.journal import BUSY_SECONDS, Journal
from numzero.training.plan import needs_game

__all__ = ["RunFolder", "Stopped", "begin_folder", "keep_changes", "lock_of", "reopen_folder", "require_new"]

CHECKPOINTS = "checkpoints"
JUDGED = "judged"
KEPT_JUDGED = 12
"""Judged agents in the folder of that name, beside those whose scores may still come. A new one meets three of them."""
LIVES_PER_SESSION = 1000
"""Lives of workers are numbered from a thousand times the session: no two share an id or a seed."""


class Stopped(NamedTuple):
    """A run that can be taken up again."""

    config: RunConfig
    """Of this session."""
    kept: RunConfig
    """Of the run from now on: without what the user gave for this session alone."""
    changes: list[str]
    """A sentence for each setting that is another than it was."""
    checkpoint: Checkpoint
    problems: list[str]
    """A sentence for each newer checkpoint that does not verify."""


def require_new(path: Path, kind: Kind) -> None:
    """Raise UserError where a new run may not begin: another's folder, or a run in it that has come to anything.

    A seed of a study may always be begun anew.
    """
    if kind_of(path, kind) is not None and kind is not SEED:
        _refuse_begun(path)


def _refuse_begun(path: Path) -> None:
    if never_began(path):
        return
    if (path / CHECKPOINTS).is_dir():
        raise UserError(
            f"{path} exists already. Choose another folder, remove it first, or resume the run in it.",
            arguments=("run",),
        )
    raise UserError(
        f"{path} exists already: a run that has games or agents, and no checkpoints to go on from. They serve as "
        "before (to evaluate, to export, to learn from offline); choose another folder for a new one.",
        arguments=("run",),
    )


def begin_folder(path: Path, kind: Kind, config: RunConfig) -> None:
    """Make the folder, which is locked, that of a new run, and forget what there was."""
    if kind is not SEED:
        _refuse_begun(path)  # by now, perhaps
    clear(path, kind)
    write_sealed(path / CONFIG_NAME, save_config(config))


def lock_of(path: Path) -> FolderLock:
    """The lock of a run that was begun.

    Raises:
        UserError: there is none, or another process works on it.
    """
    if not (path / CHECKPOINTS).is_dir():
        raise UserError(f"{path} is not the folder of a run: it has no {CHECKPOINTS}/. Start one with `train`.")
    return FolderLock(Path(os.path.abspath(path)), RUN, SEED)


def reopen_folder(path: Path, lock: FolderLock, trust: Trust, runtime: Mapping[str, str], changes: Changes) -> Stopped:
    """The run in a locked folder, as it was at its newest checkpoint that verifies.

    `runtime` has the settings of that name that the user gives for this session, in place of the folder's; `changes`
    are for good, once `keep_changes` has written them.

    Raises:
        UserError: there is none, its settings name code that is not trusted (see `trusted_name`), or may not change so.
    """
    tidy(path, lock.kind)
    read_sealed(path / CONFIG_NAME)
    updates, checkpoint, problems = read_checkpoint(path / CHECKPOINTS)
    config, source = load_config(path / CONFIG_NAME), f"the run in {path}"
    trusted_name(config.game, source, trust or not needs_game(config, checkpoint.state.plan))
    given = replace(config, runtime=replace(config.runtime, **dict.fromkeys(runtime, "")))  # without the user's own
    trusted_code(outside_code(given), source, trust)
    trusted_address(given.runtime.address, source, trust)
    kept = changed(config, path / CONFIG_NAME, changes, updates, offline=checkpoint.state.plan.offline)
    own = load_config(path / CONFIG_NAME, [f"runtime.{name}={value}" for name, value in runtime.items()])
    forget_later(path, updates)
    return Stopped(replace(kept, runtime=own.runtime), kept, in_words(config, kept, updates), checkpoint, problems)


def keep_changes(path: Path, kept: RunConfig) -> None:
    """Write the settings that a run has from now on."""
    write_sealed(path / CONFIG_NAME, save_config(kept))


class RunFolder:
    """The open files of a run, and its lock.

    Args:
        path: of the folder.
        lock: held already; let go by `close`.
        spec: of the game.
        disk_mb: bound of the store; 0: none.
        on_event: called with every event, after it was written.
        give_up: whether nobody waits for room on a full disk any longer.
    """

    def __init__(
        self,
        path: Path,
        lock: FolderLock,
        spec: GameSpec,
        disk_mb: int,
        on_event: Callable[[Event], None],
        give_up: Callable[[], bool],
    ) -> None:
        self.path = path
        self.lock = lock
        self.journal = Journal(path / METRICS_NAME, on_event, give_up)
        try:
            self.store = GameStore(self.store_path, busy_seconds=BUSY_SECONDS, on_damage=self._note_damage)
        except BaseException:
            self.journal.close()
            raise
        self.store.set_limit(disk_mb * MEBIBYTE)
        self.store.write_note(GAME_NOTE, msgspec.json.encode(spec))

    @property
    def store_path(self) -> Path:
        """Of the games."""
        return self.path / STORE_NAME

    @property
    def weights_path(self) -> Path:
        """For what is published."""
        return self.path / "weights"

    @property
    def first_life(self) -> int:
        """Of workers that begin in this session."""
        return self.lock.session * LIVES_PER_SESSION

    def save_agent(self, updates: int, files: Mapping[str, bytes]) -> None:
        """Keep an agent as the newest."""
        agents = self.path / "agents"
        self.journal.write(lambda: write_generation(agents, updates, files, keep=GENERATIONS))

    def keep_for_judge(self, updates: int, files: Mapping[str, bytes]) -> None:
        """Keep an agent that is judged, or may be, so that those after it can meet it; see `prune_judged`."""
        self.journal.write(lambda: write_generation(self.path / JUDGED, updates, files, keep=sys.maxsize))

    def prune_judged(self) -> None:
        """Of the agents kept so, remove those that the judge passed over, and all but the newest that it judged."""
        judged, kept = self._judged(), generations(self.path / JUDGED)
        newest = [updates for updates, _ in kept if updates in judged][-KEPT_JUDGED:]
        for updates, path in kept:
            if updates not in newest and updates < max(judged, default=0):
                self.journal.write(functools.partial(remove_generation, path))

    def judged_agents(self) -> list[dict[str, bytes]]:
        """The files of those kept agents that were judged, the newest last; what does not verify is left out."""
        places = [dict(generations(self.path / name)) for name in (JUDGED, "agents")]
        found = []
        for updates in sorted(self._judged()):
            copies = (_whole(place[updates]) for place in places if updates in place)
            found += [files for files in copies if files is not None][:1]
        return found

    def _judged(self) -> set[int]:
        """Updates of the agents that have scores."""
        events = history(read_metrics(self.path / METRICS_NAME))
        return {event.updates for event in events if isinstance(event, Evaluated)}

    def save_checkpoint(self, updates: int, checkpoint: Checkpoint, watch: Callable[[], None]) -> None:
        """Write a checkpoint, after all games that it refers to; `watch` sees to others while the store is busy."""
        note = str(updates).encode()
        # Synced, and every game before it.
        self.journal.write_to_store(lambda: self.store.write_note("checkpoint", note), watch)
        self.journal.write(lambda: write_checkpoint(self.path / CHECKPOINTS, updates, checkpoint))

    def close(self) -> None:
        """Close the files, and let go of the lock."""
        self.journal.close()
        self.store.close()
        self.lock.close()

    def __enter__(self) -> RunFolder:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close all."""
        self.close()

    def _note_damage(self, sentence: str) -> None:
        self.journal.note("damaged", sentence)


def _whole(path: Path) -> dict[str, bytes] | None:
    """The files of an agent, where they verify."""
    try:
        return read_folder(path)
    except DamagedFilesError:
        return None
