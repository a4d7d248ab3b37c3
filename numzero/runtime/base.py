"""What a role and its runtime say to each other.

Knows roles as generators, weights as folders of files, trajectories; knows nothing of what roles do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import msgspec
from numpy.typing import NDArray

from numzero.limits import ANY_ABOVE_0, at_least, beyond
from numzero.replay import Trajectory

__all__ = ["UNLIMITED", "Mailbox", "Notice", "Role", "Runtime", "RuntimeConfig", "State", "WorkerStatus"]
__all__ += ["add_counts"]

UNLIMITED = 2**62
"""A budget that nobody uses up."""


class RuntimeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How patient the supervisor of worker processes is."""

    patience_seconds: float = 60.0
    """A worker that shows no sign of life for so long is killed and replaced; one move of a whole batch must fit."""
    start_patience_seconds: float = 300.0
    """The same before its first sign of life: it imports, and on a new machine compiles."""
    max_restarts: int = 5
    """Replacements of one worker in a row, none of which delivered anything or lasted a minute, before the run ends."""

    def check(self) -> list[str]:
        """All that is wrong with these settings, one sentence each."""
        return beyond(
            self, "runtime", patience_seconds=ANY_ABOVE_0, start_patience_seconds=ANY_ABOVE_0, max_restarts=at_least(0)
        )


class Mailbox(Protocol):
    """What a role sees of the world."""

    @property
    def life(self) -> int:
        """How many lives this task had before: part of ids and seeds, so that no life repeats another."""
        ...

    @property
    def told(self) -> Mapping[str, int | float]:
        """What earlier lives of this task reported: numbers added up, lists by their length."""
        ...

    def newest_weights(self, newer_than: int) -> tuple[int, dict[str, bytes]] | None:
        """The newest published version above `newer_than` and its files, or None."""
        ...

    def deliver(self, trajectories: Sequence[Trajectory]) -> None:
        """Hand over finished trajectories; those of the last moment are lost if the process is killed."""
        ...

    def report(self, counts: Mapping[str, Any]) -> None:
        """Statistics: numbers are added up over all roles, lists are joined. The role's unit is among them."""
        ...

    def budget(self) -> int:
        """Units that all workers of this role together may still do now."""
        ...

    def stopping(self) -> bool:
        """Whether the role should return."""
        ...

    def wait(self) -> None:
        """Nothing to do: let others work for a moment."""
        ...

    @property
    def keeps_state(self) -> bool:
        """Whether the role's state is taken up again when the run is resumed; processes begin afresh."""
        ...

    def keep_state(self, save: Callable[[], State]) -> State | None:
        """Say how the role's state is taken between two yields; the state it had in an earlier session, or None."""
        ...


State = dict[str, NDArray[Any]]
"""What a role needs to go on with the same bits; no array holds objects."""

Role = Callable[[Any, Mailbox], Iterator[None]]
"""Work that goes on until told to stop: called with its task and mailbox, it yields where it may be interrupted.

Its `__name__` is what budgets and messages call it.
"""


class WorkerStatus(NamedTuple):
    """How one worker is."""

    name: str
    role: str
    life: int
    units: int
    """Done since the runtime began, in the unit of its role."""
    waiting_share: float
    """Share of its life that it spent in `Mailbox.wait`."""
    memory_bytes: int
    """Resident memory; 0 where the system does not say."""


class Notice(NamedTuple):
    """Something that a supervisor saw and dealt with."""

    worker: str
    kind: Literal["died", "hung", "failed", "replaced", "waiting", "damaged"]
    message: str
    """One sentence."""


class Runtime(Protocol):
    """What the training run sees of its actors, wherever they are."""

    def start(
        self, role: Role, tasks: Sequence[Any], *, unit: str = "steps", patience_seconds: float | None = None
    ) -> None:
        """Start one worker per task, once for each role.

        Args:
            role: what they do.
            tasks: plain values.
            unit: the count that the role's budget is measured in.
            patience_seconds: longest time between two uses of the mailbox; None takes the runtime's.
        """
        ...

    def publish(self, version: int, files: Mapping[str, bytes]) -> None:
        """Make weights available to all roles."""
        ...

    def allow(self, role: str, total: int) -> None:
        """Let all workers of a role together do `total` units since the runtime began.

        Whoever looks first takes: the share of a slow or dead worker goes to the others. Workers that look at the
        same moment may together go beyond the total, each by what it does between two looks.
        """
        ...

    def poll(self, timeout_seconds: float) -> None:
        """Let roles work and hear what they have to say; returns at the first news, or after the timeout.

        Raises:
            UserError: a role met bad input (its sentence), or one worker had to be replaced too often.
        """
        ...

    def watch(self) -> None:
        """Only see to workers that died or hang, as `poll` does too."""
        ...

    def collect(self) -> list[Trajectory]:
        """Trajectories delivered since the last call."""
        ...

    def take_counts(self) -> dict[str, Any]:
        """Statistics reported since the last call."""
        ...

    def take_notices(self) -> list[Notice]:
        """What the supervisor saw since the last call."""
        ...

    def workers(self) -> list[WorkerStatus]:
        """How everybody is now."""
        ...

    def settle(self) -> dict[str, State]:
        """Store all that was delivered in this process, and say the states of the roles that keep one, by worker."""
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
