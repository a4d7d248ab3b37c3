"""What a role and its runtime say to each other, and what a runtime is told of the place where it is used.

Knows roles as generators, weights as folders of files, trajectories; knows nothing of what roles do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import msgspec
from numpy.typing import NDArray

from numzero.errors import nearest
from numzero.limits import ANY_ABOVE_0, at_least, beyond
from numzero.outside import is_outside
from numzero.replay import GameRow, Statistics, Trajectory

__all__ = ["AGENTS", "KINDS", "UNLIMITED", "WEIGHTS", "Mailbox", "Notice", "Place", "Role", "Runtime", "RuntimeConfig"]
__all__ += ["RuntimePace", "State", "StoredGames", "WorkerStatus", "add_counts"]

UNLIMITED = 2**62
"""A budget that nobody uses up."""


WEIGHTS = "weights"
"""The channel of the networks that roles search with."""
AGENTS = "agents"
"""The channel of whole agents, which are judged."""

RAY = "ray"
KINDS = {
    "inline": "numzero.runtime.inline:InlineRuntime",
    "processes": "numzero.runtime.processes:ProcessRuntime",
    RAY: "numzero.runtime.ray.runtime:RayRuntime",
}
"""The runtimes that ship; each is imported when it is asked for."""
AUTO = "auto"


class RuntimeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where roles run, and how patient the supervisor of workers is."""

    kind: str = AUTO
    """`inline`: in this process, `processes`: in processes of this machine, `ray`: in actors of a Ray cluster, or your
    own as "module:Class" or "file.py:Class"; `auto`: in this process where there are no workers, else in processes."""
    address: str = ""
    """Of the Ray cluster: `auto` (the one that runs on this machine), HOST:PORT or ray://HOST:PORT; empty: an instance
    of this run's own, on this machine."""
    patience_seconds: float = 60.0
    """A worker that shows no sign of life for so long is killed and replaced; one move of a whole batch must fit."""
    start_patience_seconds: float = 300.0
    """The same before its first sign of life: it imports, and on a new machine compiles."""
    max_restarts: int = 5
    """Replacements of one worker in a row, none of which delivered anything or lasted a minute, before the run ends."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether workers take memory and cores of other machines."""
        return bool(self.address)

    def check(self) -> list[str]:
        """All that is wrong with these settings, one sentence each."""
        known = [AUTO, *KINDS]
        problems = []
        if self.kind not in known and not is_outside(self.kind):
            problems.append(
                f"runtime.kind must be one of {', '.join(known)}, module:Class or file.py:Class; got {self.kind!r}."
                f"{nearest(self.kind, known)}"
            )
        if self.address and not (self.kind == RAY or is_outside(self.kind)):
            problems.append(f"runtime.address is a Ray cluster's: it needs runtime.kind ray; got {self.kind!r}.")
        return problems + beyond(
            self, "runtime", patience_seconds=ANY_ABOVE_0, start_patience_seconds=ANY_ABOVE_0, max_restarts=at_least(0)
        )


class StoredGames(Protocol):
    """The games that are stored where a role works, and what is known of them."""

    def stored_games(self, after: int) -> list[GameRow]:
        """What is known of stored games above a sequence, oldest first, without reading them."""
        ...

    def oldest_game(self) -> int:
        """The sequence of the oldest game that is still stored; 0 where there is none."""
        ...

    def read_games(self, sequences: Sequence[int]) -> Sequence[Trajectory]:
        """Stored games, in that order; those that have left or are damaged are passed over."""
        ...

    def put_statistics(self, statistics: Sequence[Statistics]) -> int | None:
        """Store what a search says of stored games; how many of them are news. None: it cannot be done now."""
        ...


class Mailbox(StoredGames, Protocol):
    """What a role sees of the world."""

    @property
    def life(self) -> int:
        """How many lives this task had before: part of ids and seeds, so that no life repeats another."""
        ...

    @property
    def told(self) -> Mapping[str, int | float]:
        """What earlier lives of this task reported: numbers added up, lists by their length."""
        ...

    def newest_weights(self, newer_than: int, channel: str = WEIGHTS) -> tuple[int, dict[str, bytes]] | None:
        """The newest version above `newer_than` that was published in a channel, and its files; or None."""
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


class RuntimePace(NamedTuple):
    """How roles keep time with whoever directs them."""

    in_step: bool
    """Roles move only while `poll` is called: everything goes in one order, and states of roles are part of a
    checkpoint. Else they go on meanwhile, and begin afresh in the next session."""
    publish_seconds: float = 0.0
    """Publishing more often is not noticed, or wears something out."""
    wait_seconds: float = 0.0
    """How long to wait for news at a time, where there is nothing to do without."""


class Place(NamedTuple):
    """All that a runtime may need to know of where it is used; each takes what it needs.

    One session at a time works there (`folders.FolderLock`), and this is its runtime.
    """

    store: Path | None = None
    """The SQLite file of games; None keeps them in memory only, where the runtime can."""
    weights: Path | None = None
    """A folder for what is published. Other channels than that of the weights have theirs beside it."""
    config: RuntimeConfig = RuntimeConfig()
    first_life: int = 0
    """Of every worker that begins afresh, above all lives of those who wrote to this store before."""
    first_sequence: int = 0
    """Games of the store up to this sequence were collected before."""
    states: Mapping[str, State] = {}
    """What `settle` gave in an earlier session; roles are handed theirs."""
    write: Callable[[Callable[[], object]], bool] | None = None
    """Does what it is given, which may raise DiskFullError, and says whether it could be done; None: the runtime waits
    for room itself, and leaves a notice."""


class Runtime(Protocol):
    """What whoever directs roles sees of them, wherever they are; made with a `Place`.

    What earlier runtimes published at the same place is gone when one is made.
    """

    @property
    def pace(self) -> RuntimePace:
        """How its roles keep time."""
        ...

    @property
    def sequence(self) -> int:
        """Of the newest stored game that was collected; `Place.first_sequence` where games are collected before."""
        ...

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

    def publish(self, version: int, files: Mapping[str, bytes], channel: str = WEIGHTS) -> None:
        """Make files available to all roles; versions of a channel go up."""
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

    def collect(self) -> Sequence[Trajectory]:
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
