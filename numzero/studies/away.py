"""Trainings on other machines: handed out, and what they wrote brought into the folder where it belongs.

Knows machines and the files of a seed; what is trained, and what comes of it, know those who hand it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from numzero.errors import UserError
from numzero.files import LOCK, clear, write_file
from numzero.folders import SEED, FolderLock
from numzero.runtime.jobs import DONE, LOST, JobEnd, LostError, Machines, Work

__all__ = ["TrainingAway"]


class TrainingAway:
    """A training on one of `machines`; see `Training` of `trainers`.

    Args:
        machines: that it is handed to.
        folder: of its run, as if it had been trained here; what a training that was stopped left there is removed.
        work: called with a run's folder and the arguments; what it writes beside that folder comes last, whole.
        arguments: plain values.
        cores: that it takes.
    """

    def __init__(self, machines: Machines, folder: Path, work: Work, arguments: Sequence[Any], cores: int) -> None:
        self._folder = folder
        with FolderLock(folder, SEED):
            clear(folder, SEED)
        self.end: JobEnd | None = None
        self._job = machines.begin(work, folder.name, arguments, cores)

    def ended(self) -> bool:
        """Whether it has; then `end` says how, and where it is done its files are here."""
        self.end = self._job.poll()
        if self.end is None:
            return False
        if self.end.kind == DONE:
            try:
                self._bring()
            except LostError as error:
                self.end = JobEnd(LOST, str(error))
        self._job.end()
        return True

    def _bring(self) -> None:
        with FolderLock(self._folder, SEED):
            clear(self._folder, SEED)
            for name, pieces in self._job.files():
                if name.name == LOCK:
                    continue  # the one here is held
                path = self._folder.parent / _own(name, self._folder.name)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_file(path, pieces)

    def tell_to_stop(self) -> None:
        """It is ended at once: nothing of it is here yet."""
        self._job.end()

    def wait(self, seconds: float) -> None:
        """There is nothing to wait for."""

    def kill(self) -> None:
        """It was, when it was told to stop."""


def _own(name: PurePosixPath, folder: str) -> PurePosixPath:
    """The name, if it is below the folder of a run or beside it and called after it, on any system; else UserError."""
    first, *rest = str(name).split("/")
    is_own = bool(rest) if first == folder else first == f"{folder}.json" and not rest
    if not is_own or any(part in ("", ".", "..") or "\\" in part or ":" in part for part in rest):
        raise UserError(f"a training on another machine wrote {str(name)!r}, which is none of its files.")
    return name
