"""What a role and its runtime say to each other.

Knows roles as generators, weights as folders of files, trajectories; knows nothing of what roles do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from numzero.replay import Trajectory

__all__ = ["Mailbox", "Role", "Runtime", "add_counts"]


class Mailbox(Protocol):
    """What a role sees of the world."""

    def newest_weights(self, newer_than: int) -> tuple[int, dict[str, bytes]] | None:
        """The newest published version above `newer_than` and its files, or None."""
        ...

    def deliver(self, trajectories: Sequence[Trajectory]) -> None:
        """Hand over finished trajectories; those of the last moment are lost if the process is killed."""
        ...

    def report(self, counts: Mapping[str, Any]) -> None:
        """Statistics: numbers are added up over all roles, lists are joined."""
        ...

    def step_budget(self) -> int:
        """Environment steps the role may still play now."""
        ...

    def stopping(self) -> bool:
        """Whether the role should return."""
        ...

    def wait(self) -> None:
        """Nothing to do: let others work for a moment."""
        ...


Role = Callable[[Any, Mailbox], Iterator[None]]
"""Work that goes on until told to stop: called with its task and mailbox, it yields where it may be interrupted."""


class Runtime(Protocol):
    """What the training run sees of its actors, wherever they are."""

    def start(self, role: Role, tasks: Sequence[Any]) -> None:
        """Start one role per task; tasks are plain values."""
        ...

    def publish(self, version: int, files: Mapping[str, bytes]) -> None:
        """Make weights available to all roles."""
        ...

    def allow_steps(self, total: int) -> None:
        """Let all roles together play until `total` environment steps since the start."""
        ...

    def poll(self, timeout_seconds: float) -> None:
        """Let roles work and hear what they have to say; returns at the first news, or after the timeout.

        Raises:
            UserError: a role met bad input (its sentence), or its process died.
        """
        ...

    def collect(self) -> list[Trajectory]:
        """Trajectories delivered since the last call."""
        ...

    def take_counts(self) -> dict[str, Any]:
        """Statistics reported since the last call."""
        ...

    def running(self) -> bool:
        """Whether any role is still at work."""
        ...

    def stop(self) -> None:
        """End all roles and wait for what they still deliver; `collect` afterwards returns the rest."""
        ...

    def close(self) -> None:
        """Let go of processes and files."""
        ...


def add_counts(total: dict[str, Any], counts: Mapping[str, Any]) -> None:
    """Add numbers up and join lists, in place."""
    for name, value in counts.items():
        total[name] = total[name] + value if name in total else value
