"""Games in a SQLite file that many processes write and read at once.

Knows rows and bytes; knows nothing of what is learned from them.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from numzero.errors import UserError
from numzero.replay.codec import DamagedData, decode_trajectory, encode_trajectory
from numzero.replay.trajectory import Trajectory

__all__ = ["GameStore"]

_APPLICATION_ID = 0x6E7A5245  # "nzRE", so that other programs' databases are told apart
_SCHEMA_VERSION = 1
_BUSY_SECONDS = 30.0
# The totals spare a limiter, which asks before every learner step, a scan of the whole table.
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS games (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        game_id TEXT NOT NULL UNIQUE,
        num_steps INTEGER NOT NULL,
        ended TEXT NOT NULL,
        model_version INTEGER NOT NULL,
        payload BLOB NOT NULL)""",
    "CREATE TABLE IF NOT EXISTS totals (id INTEGER PRIMARY KEY, num_games INTEGER, num_steps INTEGER)",
    "INSERT OR IGNORE INTO totals VALUES (0, 0, 0)",
    """CREATE TRIGGER IF NOT EXISTS count_games AFTER INSERT ON games BEGIN
        UPDATE totals SET num_games = num_games + 1, num_steps = num_steps + NEW.num_steps; END""",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_SCHEMA_VERSION}",
)
_INSERT = """INSERT INTO games (game_id, num_steps, ended, model_version, payload) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (game_id) DO NOTHING"""


class GameStore:
    """All games of a run in one SQLite file that many processes write and read at once.

    A committed game survives a killed process; a power cut may cost the newest games but never the file (WAL with
    synchronous=NORMAL). Use it as a context manager, or call `close`. One object belongs to one thread.
    """

    def __init__(self, path: str | Path) -> None:
        """Open the store at `path`, or create it; UserError if the file is something else or cannot be used."""
        self.path = Path(path)
        with self._explained():
            self._connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            with self._explained():
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> GameStore:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._connection.close()

    def add(self, trajectories: Iterable[Trajectory]) -> int:
        """Store games in one transaction, all or none; returns how many were new (by game_id)."""
        rows = [
            (t.game_id, t.num_steps, t.ended, int(t.model_version[-1]), payload)
            for t in trajectories
            for payload in (encode_trajectory(t),)
        ]
        with self._explained(), self._transaction():
            return self._connection.executemany(_INSERT, rows).rowcount if rows else 0

    def read_after(self, sequence: int, limit: int) -> tuple[int, list[Trajectory]]:
        """Up to `limit` games stored after `sequence`, in order, and the sequence to go on from; start with 0."""
        query = "SELECT sequence, game_id, payload FROM games WHERE sequence > ? ORDER BY sequence LIMIT ?"
        with self._explained():
            rows = self._connection.execute(query, (sequence, limit)).fetchall()
        return (rows[-1][0] if rows else sequence), [self._decoded(game_id, payload) for _, game_id, payload in rows]

    def read_last(self, num_steps: int) -> list[Trajectory]:
        """The fewest newest games that hold at least `num_steps` steps (all, if there are fewer), oldest first."""
        games: list[Trajectory] = []
        query = "SELECT game_id, payload FROM games ORDER BY sequence DESC"
        with self._explained():
            rows = self._connection.execute(query)
            try:
                while num_steps > 0 and (row := rows.fetchone()) is not None:
                    games.append(self._decoded(*row))
                    num_steps -= games[-1].num_steps
            finally:
                rows.close()
        return games[::-1]

    def num_games(self) -> int:
        """How many games are stored."""
        return self._total("num_games")

    def num_steps(self) -> int:
        """How many steps the stored games have together."""
        return self._total("num_steps")

    def _total(self, column: str) -> int:
        with self._explained():
            return int(self._connection.execute(f"SELECT {column} FROM totals").fetchone()[0])

    def _decoded(self, game_id: str, payload: bytes) -> Trajectory:
        try:
            return decode_trajectory(payload)
        except DamagedData as error:
            raise DamagedData(f"Game {game_id!r} in {self.path} is damaged. {error}") from error

    def _prepare(self) -> None:
        """Create the tables where the file is empty; refuse another program's file before writing anything to it."""
        # In this order: tables that another process is creating appear together with the mark, so who sees the tables
        # will see the mark (test_store_may_be_created_by_many_at_once).
        is_empty = self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
        application = self._pragma("application_id")
        if application != _APPLICATION_ID and not is_empty:
            raise UserError(f"A replay store must be a file that numzero made; {self.path} is not. Name another file.")
        if application == _APPLICATION_ID and self._pragma("user_version") != _SCHEMA_VERSION:
            raise UserError(
                f"A replay store must have version {_SCHEMA_VERSION}; {self.path} has {self._pragma('user_version')}. "
                f"Open it with the numzero that wrote it."
            )
        self._use_wal()
        self._connection.execute("PRAGMA synchronous = NORMAL")
        if application != _APPLICATION_ID:
            with self._transaction():
                for statement in _SCHEMA:
                    self._connection.execute(statement)

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])

    def _use_wal(self) -> None:
        """Switch to WAL. SQLite does not wait for others here, whatever its timeout, so this does."""
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL").fetchone()
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(0.01)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # A full disk may have rolled back already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the machine did (disk, locks, damage) into one sentence; let what the code did wrong through."""
        try:
            yield
        except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
            raise
        except sqlite3.DatabaseError as error:
            raise UserError(f"The replay store {self.path} cannot be used: {error}. {_way_out(str(error))}") from error


def _way_out(problem: str) -> str:
    if "full" in problem:
        return "Free space on that disk, or keep the run on another one."
    if "locked" in problem:
        return f"Another process has held it for {_BUSY_SECONDS:.0f} s: stop that process."
    if "not a database" in problem or "malformed" in problem:
        return "Name another file, or put back a copy of this one."
    return "Check that its folder exists and may be written to."
