"""What a run writes and says: events, notes, and files that wait for room on a full disk.

Knows the metrics file and who listens; knows nothing of what is said.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from numzero.files import when_there_is_room
from numzero.metrics import Event, MetricsFile, Noted
from numzero.replay import StoreBusyError

__all__ = ["BUSY_SECONDS", "Journal"]

BUSY_SECONDS = 1.0
"""How long the learner waits at a time for another process that writes to the store."""
STORE_SECONDS = 300.0
"""How long in all: a worker that hangs is killed before."""


class Journal:
    """Appends events to a run's metrics and passes them on.

    Args:
        path: of metrics.jsonl.
        on_event: called with every event, after it was written.
        give_up: whether nobody waits for room on a full disk any longer.
    """

    def __init__(self, path: Path, on_event: Callable[[Event], None], give_up: Callable[[], bool]) -> None:
        self._metrics = MetricsFile(path)
        self._on_event = on_event
        self._give_up = give_up
        self._early: list[Noted] | None = []
        self._seconds = 0.0
        self._updates = 0

    def at(self, seconds: float, updates: int) -> None:
        """Where the run is: what notes are dated by."""
        self._seconds, self._updates = seconds, updates

    def emit(self, event: Event) -> None:
        """Write an event and pass it on; notes from before the first one follow it."""
        self.write(lambda: self._metrics.write(event))
        self._on_event(event)
        early, self._early = self._early, None
        for note in early or ():
            self.emit(note)

    def note(self, kind: str, message: str) -> None:
        """Something went wrong and was dealt with."""
        noted = self._noted(kind, message)
        if self._early is None:
            self.emit(noted)
        else:
            self._early.append(noted)

    def write(self, write: Callable[[], object]) -> bool:
        """Write; where the disk is full, say so (not in a file) and wait for room. False: the wait was given up."""
        return when_there_is_room(
            write, lambda sentence: self._on_event(self._noted("waiting", sentence)), self._give_up
        )

    def write_to_store(self, write: Callable[[], object], watch: Callable[[], None]) -> None:
        """The same where another process may hold the store; `watch` sees to one that was stopped in the middle."""
        deadline = time.monotonic() + STORE_SECONDS
        while True:
            try:
                self.write(write)
            except StoreBusyError:
                if time.monotonic() > deadline:
                    raise
                watch()
            else:
                return

    def close(self) -> None:
        """Close the file."""
        self._metrics.close()

    def _noted(self, kind: str, message: str) -> Noted:
        return Noted(seconds=self._seconds, updates=self._updates, kind=kind, message=message)
