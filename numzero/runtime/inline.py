"""Every role in this process, one after the other: the reference, the test double, and bit for bit reproducible.

Knows generators and lists; knows nothing of what roles do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from numzero.replay import GameStore, Trajectory
from numzero.runtime.base import Role, add_counts

__all__ = ["InlineRuntime"]

COMMIT_GAMES = 256
"""Games per commit to the store."""


class InlineRuntime:
    """A runtime whose roles move only while `poll` is called; also the mailbox of them all.

    Args:
        store: the SQLite file that delivered trajectories go to; None keeps them in memory only.
    """

    def __init__(self, store: Path | None = None) -> None:
        self._store = None if store is None else GameStore(store)
        self._unstored: list[Trajectory] = []
        self._roles: list[Iterator[None]] = []
        self._weights: tuple[int, dict[str, bytes]] | None = None
        self._delivered: list[Trajectory] = []
        self._counts: dict[str, Any] = {}
        self._steps = 0
        self._allowed = 0
        self._stopping = False

    def start(self, role: Role, tasks: Sequence[Any]) -> None:
        """See `Runtime`."""
        self._roles += [role(task, self) for task in tasks]

    def publish(self, version: int, files: Mapping[str, bytes]) -> None:
        """See `Runtime`."""
        self._weights = version, dict(files)

    def allow_steps(self, total: int) -> None:
        """See `Runtime`."""
        self._allowed = total

    def poll(self, timeout_seconds: float) -> None:
        """See `Runtime`: moves every role once; the timeout has no meaning here."""
        del timeout_seconds
        self._roles = [role for role in self._roles if _advance(role)]

    def collect(self) -> list[Trajectory]:
        """See `Runtime`."""
        delivered, self._delivered = self._delivered, []
        return delivered

    def take_counts(self) -> dict[str, Any]:
        """See `Runtime`."""
        counts, self._counts = self._counts, {}
        return counts

    def running(self) -> bool:
        """See `Runtime`."""
        return bool(self._roles)

    def stop(self) -> None:
        """See `Runtime`."""
        self._stopping = True
        for role in self._roles:
            for _ in role:
                pass
        self._roles = []
        self._commit()

    def close(self) -> None:
        """See `Runtime`."""
        if self._store is not None:
            self._commit()
            self._store.close()

    def _commit(self) -> None:
        if self._store is not None and self._unstored:
            self._store.add(self._unstored)
        self._unstored = []

    def newest_weights(self, newer_than: int) -> tuple[int, dict[str, bytes]] | None:
        """See `Mailbox`."""
        return self._weights if self._weights is not None and self._weights[0] > newer_than else None

    def deliver(self, trajectories: Sequence[Trajectory]) -> None:
        """See `Mailbox`."""
        self._delivered += trajectories
        self._unstored += trajectories
        if len(self._unstored) >= COMMIT_GAMES:
            self._commit()

    def report(self, counts: Mapping[str, Any]) -> None:
        """See `Mailbox`."""
        self._steps += counts.get("steps", 0)
        add_counts(self._counts, counts)

    def step_budget(self) -> int:
        """See `Mailbox`."""
        return self._allowed - self._steps

    def stopping(self) -> bool:
        """See `Mailbox`."""
        return self._stopping

    def wait(self) -> None:
        """See `Mailbox`: nobody else works in this process."""


def _advance(role: Iterator[None]) -> bool:
    """Move a role to its next yield; False when it has returned."""
    return next(role, role) is None
