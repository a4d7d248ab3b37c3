"""Pieces of work on other machines: what whoever hands them out sees of them.

Knows files that come back; knows nothing of what is done, nor of where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple, Protocol

__all__ = ["DONE", "LOST", "Job", "JobEnd", "LostError", "Machines", "Work"]

Work = Callable[..., None]
"""A function at the top of a module: called with a path, whose parent is an empty folder, and its arguments. What it
leaves in that folder comes back."""
DONE, LOST = "done", "lost"


class JobEnd(NamedTuple):
    """How a piece of work ended."""

    kind: str
    """DONE, LOST (its process or its machine is gone), or how it failed, as `worker.last_word` has it."""
    said: str
    """The sentence or the traceback."""


class LostError(Exception):
    """What a piece of work left cannot be had any more: its machine is gone."""


class Job(Protocol):
    """A piece of work that was handed out."""

    def poll(self) -> JobEnd | None:
        """How it ended, if it has.

        Raises:
            UserError: its machine cannot do it.
        """
        ...

    def files(self) -> Iterator[tuple[PurePosixPath, Iterator[bytes]]]:
        """What it left, the deepest files first, and their content piece by piece.

        Raises:
            LostError: so do the pieces.
        """
        ...

    def end(self) -> None:
        """Nothing of it runs any more, and what it wrote on its machine is removed."""
        ...


class Machines(Protocol):
    """Where work can be handed to."""

    def places(self, cores: int) -> int:
        """How many pieces of so many cores each they hold at a time, now."""
        ...

    def require(self, cores: int) -> None:
        """Whether one of them holds a piece of work of so many cores.

        Raises:
            UserError: no machine has so many.
        """
        ...

    def begin(self, work: Work, name: str, arguments: Sequence[Any], cores: int) -> Job:
        """Hand out a piece of work, which begins as soon as a machine has the cores.

        Args:
            work: see `Work`.
            name: of the path that it is given.
            arguments: plain values.
            cores: of one machine; until one has so many it waits.
        """
        ...

    def close(self) -> None:
        """Let go of them; what was ended is removed by then."""
        ...
