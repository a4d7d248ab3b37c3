"""Pieces of work on the machines of a Ray cluster, each in a process of its own; see `Machines`.

Knows files that work leaves in a folder, and how they come here; knows nothing of what is done.
"""

from __future__ import annotations

import concurrent.futures
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from numzero.errors import UserError
from numzero.limits import num_cores
from numzero.runtime import family
from numzero.runtime.base import RuntimeConfig
from numzero.runtime.jobs import Job, JobEnd, LostError, Work
from numzero.runtime.ray.library import (
    Library,
    Surroundings,
    exceptions,
    in_short,
    other_version,
    ray,
    version_here,
)
from numzero.runtime.worker import last_word

__all__ = ["RayMachines"]

CHUNK_BYTES = 8 * 2**20
"""Files come in pieces of so much."""
REMOVAL_SECONDS = 5.0
"""So long a machine waits for the end of a process before it removes what that one wrote."""
CLOSE_SECONDS = 2 * REMOVAL_SECONDS
BEGIN_SECONDS = 2.0
"""So long, all in all, jobs that are ended as they begin may take to say where they are, so that all can be removed."""
UNPLACED = "some wait for a core of the cluster; they begin as soon as one is free, or another machine has joined."


class _Where(NamedTuple):
    """Where a piece of work is."""

    machine: str
    """Ray's id of its node."""
    address: str
    folder: str
    pid: int
    version: str
    """Of numzero."""


class _JobActor:
    """A piece of work, in a process of Ray's."""

    def __init__(self, surroundings: Surroundings) -> None:
        surroundings.enter()
        parent = ray.get_runtime_context().get_temp_dir()
        self._folder = Path(tempfile.mkdtemp(prefix="numzero-", dir=parent))

    def where(self) -> _Where:
        """Where it is."""
        node = ray.get_runtime_context().get_node_id()
        return _Where(node, ray.util.get_node_ip_address(), str(self._folder), os.getpid(), version_here())

    def do(self, work: Work, name: str, arguments: tuple[Any, ...]) -> tuple[str, str]:
        """Do it; how it ended, as `worker.last_word` has it."""
        try:
            with family.no_orphans(ends_rest=True):
                work(self._folder / name, *arguments)
        except Exception as error:
            return last_word(error)
        return "done", ""

    def files(self) -> list[tuple[str, int]]:
        """Names below the folder, and sizes; the deepest come first."""
        found = [path for path in self._folder.rglob("*") if path.is_file() and not path.is_symlink()]
        names = [(path.relative_to(self._folder).as_posix(), path.stat().st_size) for path in found]
        return sorted(names, key=lambda each: (-each[0].count("/"), each[0]))

    def read(self, name: str, start: int) -> bytes:
        """The next piece of a file."""
        with (self._folder / name).open("rb") as file:
            file.seek(start)
            return file.read(CHUNK_BYTES)


def _remove(folder: str, pid: int) -> None:
    """What a job that was ended wrote on this machine."""
    deadline = time.monotonic() + REMOVAL_SECONDS
    while os.path.isdir(f"/proc/{pid}") and time.monotonic() < deadline:
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


class RayMachines:
    """The machines of a cluster, or this one; see `Machines`."""

    def __init__(self, config: RuntimeConfig, folder: Path, on_note: Callable[[str], object]) -> None:
        self._library = Library(config.address, folder, num_cores())
        self._on_note = on_note
        self._has_said_waiting = False
        self._removals: list[Any] = []
        self._begin_seconds = BEGIN_SECONDS

    def places(self, cores: int) -> int:
        """See `Machines`."""
        return sum(each // cores for each in _cores_of_machines())

    def require(self, cores: int) -> None:
        """See `Machines`."""
        most = max(_cores_of_machines(), default=0)
        if cores > most:
            raise UserError(
                f"a piece of work takes {cores} cores of one machine, for itself and its workers; the largest machine "
                f"offers {most}. Lower processes.workers, or start Ray with more there."
            )

    def begin(self, work: Work, name: str, arguments: Sequence[Any], cores: int) -> Job:
        """See `Machines`."""
        return _RayJob(self, work, name, tuple(arguments), cores)

    def actor(self, cores: int) -> Any:
        """For a piece of work."""
        return self._library.actor(_JobActor, cores)

    def see_waiting(self, seconds: float) -> None:
        """A piece of work has not begun for so long: say, once, that there is no core for it."""
        if self._library.is_unplaced(seconds) and not self._has_said_waiting:
            self._has_said_waiting = True
            self._on_note(UNPLACED)

    def await_place(self, where: concurrent.futures.Future[_Where]) -> None:
        """A piece of work is ended that did not say yet where it is: perhaps it is about to."""
        began = time.monotonic()
        concurrent.futures.wait([where], self._begin_seconds)
        self._begin_seconds = max(0.0, self._begin_seconds - (time.monotonic() - began))

    def remove(self, where: _Where) -> None:
        """Have a machine remove what a job wrote there."""
        self._removals.append(self._library.ask(where.machine, _remove, where.folder, where.pid))

    def close(self) -> None:
        """See `Machines`."""
        concurrent.futures.wait(self._removals, CLOSE_SECONDS)
        self._library.close()


class _RayJob:
    """See `Job`."""

    def __init__(self, machines: RayMachines, work: Work, name: str, arguments: tuple[Any, ...], cores: int) -> None:
        self._machines = machines
        self._began = time.monotonic()
        self._actor = machines.actor(cores)
        self._where = self._actor.where.remote().future()
        self._done = self._actor.do.remote(work, name, arguments).future()

    def _place(self) -> _Where | None:
        """Where it is, if it has begun."""
        has_begun = self._where.done() and self._where.exception() is None
        return self._where.result() if has_begun else None

    def poll(self) -> JobEnd | None:
        """See `Job`."""
        place = self._place()
        if place is not None and place.version != version_here():
            raise other_version(place.address, place.version)
        if not self._done.done():
            if place is None:
                self._machines.see_waiting(time.monotonic() - self._began)
            return None
        error = self._done.exception()
        return JobEnd(*self._done.result()) if error is None else JobEnd("lost", self._lost(error))

    def _lost(self, error: Exception) -> str:
        place = self._place()
        return f"{in_short(error)}{'' if place is None else f' (on {place.address})'}"

    def files(self) -> Iterator[tuple[PurePosixPath, Iterator[bytes]]]:
        """See `Job`."""
        try:
            for name, size in ray.get(self._actor.files.remote()):
                yield PurePosixPath(name), self._pieces(name, size)
        except exceptions.RayError as error:
            raise LostError(self._lost(error)) from error

    def _pieces(self, name: str, size: int) -> Iterator[bytes]:
        for start in range(0, size, CHUNK_BYTES):
            try:
                yield ray.get(self._actor.read.remote(name, start))
            except exceptions.RayError as error:
                raise LostError(self._lost(error)) from error

    def end(self) -> None:
        """See `Job`."""
        self._machines.await_place(self._where)
        ray.kill(self._actor)
        if (place := self._place()) is not None:
            self._machines.remove(place)


def _cores_of_machines() -> list[int]:
    return [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
