"""The inside of a worker process: its main function, and its role's mailbox.

Knows its pipe, its row on the board, the store's file and the weights' folder; knows nothing of what roles do.
"""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from numzero.errors import DiskFullError, EnvironmentFault, UserError
from numzero.files import read_newest
from numzero.replay import EncodedGame, GameRow, GameStore, Statistics, StoreBusyError, Trajectory, encode_games
from numzero.runtime.base import WEIGHTS, Role, State, add_counts
from numzero.runtime.begin import settle_in
from numzero.runtime.board import Board
from numzero.runtime.channels import channel_folder
from numzero.runtime.shelf import Shelf, unheard
from numzero.usage import resident_bytes

__all__ = ["WorkerStart", "last_word", "work"]

REPORT_SECONDS = 0.2
"""A worker commits its games and reports at most this often."""
WEIGHTS_SECONDS = 0.2
"""A worker looks for new weights at most this often."""
WAIT_SECONDS = 0.02
"""How long a worker with nothing to do sleeps."""
BUSY_SECONDS = 1.0
"""A worker waits so long at a time for another that writes, and shows in between that it lives."""
LAST_TRIES_SECONDS = 10.0
"""When it was told to stop, a worker waits for another that writes no longer than that."""
RETRY_SECONDS = 0.5
"""A worker tries a full disk again so often."""


class WorkerStart(NamedTuple):
    """All that a worker is told when it starts."""

    role: Role
    task: Any
    unit: str
    life: int
    told: dict[str, int | float]
    row: int
    store: Path
    weights: Path
    parent: int
    """Id of the supervisor's process."""
    family: str
    """Name of the worker's family: itself, and what its environment starts."""


def work(start: WorkerStart, board: Board, pipe: Connection) -> None:
    """A worker's main function: what ended its role is the last thing it says."""
    settle_in(start.family, start.parent, board.place(start.row))
    mailbox = None
    try:
        mailbox = _ProcessMailbox(start, board, pipe)
        try:
            for _ in start.role(start.task, mailbox):
                pass
        finally:
            mailbox.flush()  # what was delivered is kept, whatever ended the role
        pipe.send(("done", None))
    except Exception as error:
        pipe.send(last_word(error))
    finally:
        if mailbox is not None:
            mailbox.close()


def last_word(error: Exception) -> tuple[str, str]:
    """What a worker whose role raised says in the end: the kind, and the sentence or the traceback."""
    if isinstance(error, EnvironmentFault):
        return "fault", str(error)
    if isinstance(error, UserError):
        return "user_error", str(error)
    return "bug", "".join(traceback.format_exception(error))


class _ProcessMailbox(Shelf):
    """See `Mailbox`."""

    _store: GameStore

    def __init__(self, start: WorkerStart, board: Board, pipe: Connection) -> None:
        super().__init__(GameStore(start.store, busy_seconds=BUSY_SECONDS, on_damage=unheard))
        self.life = start.life
        self.told = start.told
        self.keeps_state = False
        self._unit = start.unit
        self._row = start.row
        self._board = board
        self._pipe = pipe
        self._weights = start.weights
        self._parent = multiprocessing.parent_process()
        self._pending: list[EncodedGame] = []
        self._counts: dict[str, Any] = {}
        self._last_report = time.monotonic()
        self._looked: dict[str, float] = {}
        self._orphaned = False
        self._noticed: set[str] = set()
        self._note_memory()

    def newest_weights(self, newer_than: int, channel: str = WEIGHTS) -> tuple[int, dict[str, bytes]] | None:
        self._live()
        now = time.monotonic()
        if now - self._looked.get(channel, -WEIGHTS_SECONDS) < WEIGHTS_SECONDS:
            return None
        self._looked[channel] = now
        folder = channel_folder(self._weights, channel)
        return read_newest(folder, newer_than, lambda sentence: self._notice("damaged", sentence))

    def stored_games(self, after: int) -> list[GameRow]:
        self._live()
        return super().stored_games(after)

    def read_games(self, sequences: Sequence[int]) -> Sequence[Trajectory]:
        self._live()
        return super().read_games(sequences)

    def put_statistics(self, statistics: Sequence[Statistics]) -> int | None:
        self._live()
        return super().put_statistics(statistics)

    def deliver(self, trajectories: Sequence[Trajectory]) -> None:
        self._live()
        self._pending += encode_games(trajectories)

    def report(self, counts: Mapping[str, Any]) -> None:
        self._live()
        self._board.units[self._row] += counts.get(self._unit, 0)
        add_counts(self._counts, counts)
        if time.monotonic() - self._last_report >= REPORT_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Commit the games in hand, then say so: whoever hears of a game finds it stored."""
        num_games = len(self._pending)
        if self._pending:
            self._commit()
            self._pending = []
        if self._counts or num_games:
            self._pipe.send(("counts", (num_games, self._counts)))
            self._counts = {}
        self._last_report = time.monotonic()
        self._note_memory()
        self._orphaned = self._parent is not None and not self._parent.is_alive()

    def _commit(self) -> None:
        """Store the games in hand, however long it takes until there is room, or another is done writing."""
        started, full = time.monotonic(), ""
        while True:
            try:
                self._store.add_encoded(self._pending)
            except StoreBusyError:
                if self.stopping() and time.monotonic() - started > LAST_TRIES_SECONDS:
                    raise
            except DiskFullError as error:
                if self.stopping():
                    raise
                full = str(error)
                self._notice("waiting", full)
                time.sleep(RETRY_SECONDS)
            else:
                self._noticed.discard(full)
                return

    def _notice(self, kind: str, sentence: str) -> None:
        """Tell the supervisor, once."""
        if sentence not in self._noticed:
            self._noticed.add(sentence)
            self._pipe.send(("notice", (kind, sentence)))

    def budget(self) -> int:
        self._live()
        return self._board.budget()

    def stopping(self) -> bool:
        self._live()
        return self._orphaned or self._board.stopping()

    def wait(self) -> None:
        if self._pending or self._counts or time.monotonic() - self._last_report >= REPORT_SECONDS:
            self.flush()
        started = time.monotonic()
        time.sleep(WAIT_SECONDS)
        self._board.waiting_seconds[self._row] += time.monotonic() - started
        self._live()

    def keep_state(self, save: Callable[[], State]) -> State | None:
        del save
        return None

    def close(self) -> None:
        self._store.close()

    def _live(self) -> None:
        self._board.signs[self._row] += 1

    def _note_memory(self) -> None:
        self._board.memory_bytes[self._row] = resident_bytes()
