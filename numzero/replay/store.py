"""Games in a SQLite file that many processes write and read at once.

Knows rows and bytes; knows nothing of what is learned from them.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeAlias, TypeVar

from numzero.errors import DiskFullError, UserError
from numzero.files import own_file
from numzero.paths import explained, is_plain
from numzero.replay.codec import (
    DamagedData,
    content_digest,
    decode_packed,
    decode_statistics,
    decode_trajectory,
    encode_packed,
    encode_statistics,
    encode_trajectory,
    freshen_packed,
)
from numzero.replay.packed import PackedGames, joined, num_own_steps
from numzero.replay.trajectory import Statistics, Trajectory, with_statistics

__all__ = ["GAME_NOTE", "EncodedGame", "GameRow", "GameStore", "StoreBusyError", "encode_games"]

_Decoded = TypeVar("_Decoded", Trajectory, Statistics)
_Row: TypeAlias = tuple[Any, ...]
"""Of `_COLUMNS`, and whatever comes behind them."""

_APPLICATION_ID = 0x6E7A5245  # "nzRE", so that other programs' databases are told apart
_SCHEMA_VERSION = 3
_BUSY_SECONDS = 30.0
_AT_A_TIME = 1000  # games
_BYTES_AT_A_TIME = 2**18
"""Of games that are looked at together."""
_ROWS_AT_A_TIME = 100
"""Games of one statement; one by one they take a quarter more time. SQLite before 3.32 takes 999 values at most."""
_NOT_WRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)
_PRESENT, _LEFT = 0, 1  # rows of totals: games that are here, games that left to make room
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
    "INSERT OR IGNORE INTO totals VALUES (0, 0, 0), (1, 0, 0)",
    """CREATE TABLE IF NOT EXISTS statistics (
        revision INTEGER PRIMARY KEY AUTOINCREMENT,
        game_id TEXT NOT NULL UNIQUE,
        agent TEXT NOT NULL,
        model_version INTEGER NOT NULL,
        payload BLOB NOT NULL)""",
    """CREATE TRIGGER IF NOT EXISTS drop_games AFTER DELETE ON games BEGIN
        DELETE FROM statistics WHERE game_id = OLD.game_id;
        UPDATE totals SET num_games = num_games - 1, num_steps = num_steps - OLD.num_steps WHERE id = 0;
        UPDATE totals SET num_games = num_games + 1, num_steps = num_steps + OLD.num_steps WHERE id = 1; END""",
    "CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value BLOB NOT NULL)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_SCHEMA_VERSION}",
)
# Version 2 counted games by a trigger, a fifth of the time that a game took; version 1 without `WHERE id = 0`, and it
# knew no statistics.
_UPGRADE = ("DROP TRIGGER count_games", *_SCHEMA)
_FIRST_READABLE = 2
"""Stores from this version on can be read as they are."""
_BESIDE = ("", "-wal", "-shm", "-journal")
"""What SQLite opens, after the file's name."""
_ROW = "(?, ?, ?, ?, ?)"
_INSERT, _INSERT_MANY = (
    f"""INSERT INTO games (game_id, num_steps, ended, model_version, payload) VALUES {", ".join([_ROW] * num_rows)}
        ON CONFLICT (game_id) DO NOTHING"""
    for num_rows in (1, _ROWS_AT_A_TIME)
)
# Replacing gives a row a new revision, so that whoever follows the table meets it again.
_INSERT_STATISTICS = """INSERT OR REPLACE INTO statistics (game_id, agent, model_version, payload)
    SELECT :game_id, :agent, :model_version, :payload
    WHERE EXISTS (SELECT 1 FROM games WHERE game_id = :game_id)
    AND NOT EXISTS (SELECT 1 FROM statistics WHERE game_id = :game_id AND (agent = :agent OR :agent = '')
                    AND (model_version > :model_version OR payload = :payload))"""
_GAMES = "games LEFT JOIN statistics USING (game_id)"
_COLUMNS = "games.sequence, games.game_id, games.payload, statistics.payload"
GAME_NOTE = "game"
"""Under this name a store keeps the spec of the game that it holds games of, as JSON."""
_LIMIT_NOTE = "max_bytes"
_EVICTED_SHARE = 0.02
"""So much of the limit is freed at a time, so that not every new game pays for it."""


class StoreBusyError(UserError):
    """Another process has held the store for too long, in the middle of writing; nothing is damaged."""


class GameRow(NamedTuple):
    """What the store's index says of a game."""

    sequence: int
    num_steps: int
    model_version: int
    """How fresh its statistics are; see `Statistics.mean_version`."""
    agent: str
    """As in `Statistics`."""


class EncodedGame(NamedTuple):
    """A game as the store keeps it: bytes, and what the index says of them."""

    game_id: str
    num_steps: int
    """Own ones, as `Trajectory.num_own_steps`."""
    ended: str
    model_version: int
    payload: bytes
    """As `encode_trajectory` makes it."""


def encode_games(games: Iterable[Trajectory]) -> list[EncodedGame]:
    """What `GameStore.add_encoded` takes; UserError if `check_trajectories` objects."""
    if not isinstance(games, PackedGames):
        return [
            EncodedGame(game.game_id, game.num_own_steps, game.ended, int(game.model_version[-1]), payload)
            for game, payload in ((game, encode_trajectory(game)) for game in games)
        ]
    num_steps = (games.num_steps - games.lead_in).tolist()
    return list(map(EncodedGame, games.game_ids, num_steps, games.ended, games.versions(), encode_packed(games)))


class GameStore:
    """All games of a run in one SQLite file that many processes write and read at once.

    A committed game survives a killed process; a power cut may cost the newest games but never the file (WAL with
    synchronous=NORMAL). Use it as a context manager, or call `close`. One object belongs to one thread.

    Whatever cannot be done raises a UserError and changes nothing: DiskFullError, StoreBusyError, DamagedData where a
    game is not what was written, and a plain one where the file cannot be used at all.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        busy_seconds: float = _BUSY_SECONDS,
        on_damage: Callable[[str], None] | None = None,
        reading: bool = False,
    ) -> None:
        """Open the store at `path`, or create it; UserError if the file is something else or cannot be used.

        Args:
            path: of the file.
            busy_seconds: how long to wait for another process that writes.
            on_damage: hears once of each damaged game, which is then passed over; None raises DamagedData instead.
            reading: nothing is to be written: no store is made, and one that cannot be written to is read as it is.
        """
        self.path = Path(path)
        self._busy_seconds = busy_seconds
        self._on_damage = on_damage
        self._known_damage: set[str] = set()
        self._copies: tempfile.TemporaryDirectory[str] | None = None
        for suffix in _BESIDE:
            with suppress(OSError):  # SQLite finds the words for what is not there or may not be looked at
                own_file(self.path.with_name(self.path.name + suffix))
        self._makes = not reading
        with self._explained():
            try:
                self._open("rw" if reading else "rwc")
            except sqlite3.OperationalError as error:
                if not reading or getattr(error, "sqlite_errorcode", 0) & 0xFF not in _NOT_WRITABLE:
                    raise
                self._open_fixed()

    def _open_fixed(self) -> None:
        """Open a file on a disk that nobody writes to; a copy, where games are still in the log beside it."""
        log = self.path.with_name(f"{self.path.name}-wal")
        if not (is_plain(log) and log.stat().st_size):
            self._open("ro&immutable=1")
            return
        self._copies = tempfile.TemporaryDirectory()
        place = Path(self._copies.name) / self.path.name
        with explained(place):
            for source, copy in ((self.path, place), (log, place.with_name(log.name))):
                shutil.copyfile(source, copy)
        self._open("rw", place)

    def _open(self, mode: str, path: Path | None = None) -> None:
        uri = f"{Path(os.path.abspath(path or self.path)).as_uri()}?mode={mode}"
        self._connection = sqlite3.connect(uri, timeout=self._busy_seconds, isolation_level=None, uri=True)
        try:
            self._prepare(is_fixed="immutable" in mode)
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
        if self._copies is not None:
            self._copies.cleanup()

    def add(self, trajectories: Iterable[Trajectory]) -> int:
        """Store games in one transaction, all or none; returns how many were new (by game_id).

        Where the file has a limit (`set_limit`), the oldest games leave in the same transaction.
        """
        return self.add_encoded(encode_games(trajectories))

    def add_encoded(self, games: Sequence[EncodedGame]) -> int:
        """The same for games that were encoded elsewhere; whoever reads one finds out whether its bytes are whole."""
        if not games:
            return 0
        with self._explained(), self._transaction():
            (newest,) = self._connection.execute("SELECT coalesce(max(sequence), 0) FROM games").fetchone()
            whole = len(games) - len(games) % _ROWS_AT_A_TIME
            for first in range(0, whole, _ROWS_AT_A_TIME):
                rows = games[first : first + _ROWS_AT_A_TIME]
                self._connection.execute(_INSERT_MANY, list(chain.from_iterable(rows)))
            self._connection.executemany(_INSERT, games[whole:])
            num_new = self._count_after(newest)
            self._evict()
            return num_new

    def _count_after(self, sequence: int) -> int:
        """Add games stored after `sequence`, a moment ago, to the totals; returns how many there are."""
        added = "SELECT count(*), coalesce(sum(num_steps), 0) FROM games WHERE sequence > ?"
        num_games, num_steps = self._connection.execute(added, (sequence,)).fetchone()
        counted = "UPDATE totals SET num_games = num_games + ?, num_steps = num_steps + ? WHERE id = ?"
        self._connection.execute(counted, (num_games, num_steps, _PRESENT))
        return int(num_games)

    def add_statistics(self, statistics: Iterable[Statistics]) -> int:
        """Store what later searches said of stored games, in one transaction; returns how many were news.

        The run's own weights replace what older ones said, another agent what anyone said but itself. A game that is
        not here, or has fresher statistics or these, is passed over: delivering twice changes nothing.
        """
        rows = [
            {
                "game_id": each.game_id,
                "agent": each.agent,
                "model_version": each.mean_version,
                "payload": encode_statistics(each),
            }
            for each in statistics
        ]
        if not rows:
            return 0
        with self._explained(), self._transaction():
            num_new = sum(self._connection.execute(_INSERT_STATISTICS, row).rowcount for row in rows)
            self._evict()
            return num_new

    def read_after(self, sequence: int, limit: int) -> tuple[int, Sequence[Trajectory]]:
        """Up to `limit` games stored after `sequence`, in order, and the sequence to go on from; start with 0.

        Games come with the freshest statistics that are stored, here as in all other ways of reading.
        """
        query = f"SELECT {_COLUMNS} FROM {_GAMES} WHERE games.sequence > ? ORDER BY games.sequence LIMIT ?"
        with self._explained():
            rows = self._connection.execute(query, (sequence, limit)).fetchall()
        return (rows[-1][0] if rows else sequence), self._intact(rows)

    def read_all_after(self, sequence: int) -> tuple[int, Sequence[Trajectory]]:
        """All games stored after `sequence`, as `read_after` reads them, a thousand at a time."""
        parts: list[Sequence[Trajectory]] = []
        while True:
            newest, more = self.read_after(sequence, _AT_A_TIME)
            if newest == sequence:
                return sequence, joined(parts)
            sequence = newest
            parts.append(more)

    def read_last(self, num_steps: int) -> Sequence[Trajectory]:
        """The fewest newest games that hold at least `num_steps` steps (all, if there are fewer), oldest first."""
        parts = []
        query = f"SELECT {_COLUMNS}, max(1, CAST(num_steps AS INTEGER)) FROM {_GAMES} ORDER BY games.sequence DESC"
        with self._explained():
            rows = self._connection.execute(query)
            try:
                while num_steps > 0 and (newest := list(_enough(rows, num_steps))):
                    games = self._intact(newest[::-1])
                    num_steps -= num_own_steps(games)
                    parts.append(games)
            finally:
                rows.close()
        return joined(parts[::-1])

    def read_games(self, sequences: Iterable[int]) -> Sequence[Trajectory]:
        """The games of these sequences, in their order; those that have left are left out."""
        return self._read_each("games.sequence", sequences)

    def read_named(self, game_ids: Iterable[str]) -> Sequence[Trajectory]:
        """The games of these ids, in their order; those that are not here are left out."""
        return self._read_each("games.game_id", game_ids)

    def _read_each(self, column: str, keys: Iterable[int] | Iterable[str]) -> Sequence[Trajectory]:
        query = f"SELECT {_COLUMNS} FROM {_GAMES} WHERE {column} = ?"
        with self._explained():
            rows = [self._connection.execute(query, (key,)).fetchone() for key in keys]
        return self._intact([row for row in rows if row is not None])

    def read_statistics_after(self, revision: int, limit: int) -> tuple[int, list[Statistics]]:
        """Up to `limit` statistics stored after `revision`, in order, and the revision to go on from."""
        query = "SELECT revision, game_id, payload FROM statistics WHERE revision > ? ORDER BY revision LIMIT ?"
        with self._explained():
            rows = self._connection.execute(query, (revision, limit)).fetchall()
        found = [self._checked(game_id, decode_statistics, payload) for _, game_id, payload in rows]
        return (rows[-1][0] if rows else revision), [statistics for statistics in found if statistics is not None]

    def index(self, after: int = 0) -> list[GameRow]:
        """What is known of the games stored after sequence `after`, without reading them."""
        query = f"""SELECT games.sequence, num_steps, coalesce(statistics.model_version, games.model_version),
                    coalesce(agent, '') FROM {_GAMES} WHERE games.sequence > ? ORDER BY games.sequence"""
        with self._explained():
            rows = self._connection.execute(query, (after,)).fetchall()
        if any([type(value) for value in row] != [int, int, int, str] or row[1] < 1 for row in rows):
            raise DamagedData(f"The index of {self.path} is damaged. Put back a copy of the file.")
        return [GameRow(*row) for row in rows]

    def oldest(self) -> int:
        """The sequence of the oldest game that has not left; 0 where there is none."""
        with self._explained():
            return int(self._connection.execute("SELECT coalesce(min(sequence), 0) FROM games").fetchone()[0])

    def newest(self) -> tuple[int, int]:
        """The sequence of the newest game and the revision of the newest statistics; 0 where there is none."""
        with self._explained():
            rows = self._connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
        numbers = {name: number for name, number in rows if isinstance(number, int)}
        return numbers.get("games", 0), numbers.get("statistics", 0)

    def set_limit(self, max_bytes: int) -> None:
        """Keep the file's content below `max_bytes` from now on, whoever adds to it; 0: no limit."""
        self.write_note(_LIMIT_NOTE, str(max_bytes).encode())

    def limit(self) -> int:
        """The bound that `set_limit` gave, in bytes; 0: none."""
        note = self.read_note(_LIMIT_NOTE) or b"0"
        if not re.fullmatch(rb"[0-9]{1,18}", note):
            raise DamagedData(f"The note {_LIMIT_NOTE!r} in {self.path} is no number of bytes. Put back a copy of it.")
        return int(note)

    def write_note(self, name: str, value: bytes) -> None:
        """Keep a few bytes with the games, by name; synced to the disk, and all that was stored before with them."""
        with self._explained():
            self._connection.execute("PRAGMA synchronous = FULL")
            try:
                row = name, content_digest(value) + value
                self._connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", row)
            finally:
                self._connection.execute("PRAGMA synchronous = NORMAL")

    def read_note(self, name: str) -> bytes | None:
        """What was last written under that name, or None."""
        with self._explained():
            row = self._connection.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        size = len(content_digest(b""))
        if not isinstance(row[0], bytes) or content_digest(row[0][size:]) != row[0][:size]:
            raise DamagedData(f"The note {name!r} in {self.path} is damaged. Put back a copy of the file.")
        return row[0][size:]

    def num_bytes(self) -> int:
        """Size of what the file holds; pages freed by games that left are used again, not given back."""
        with self._explained():
            return (self._pragma("page_count") - self._pragma("freelist_count")) * self._pragma("page_size")

    def _evict(self) -> None:
        """Let the oldest games go while there is more than the limit allows; the newest one stays."""
        limit = self.limit()
        if not limit or self.num_bytes() <= limit:
            return
        goal = int(limit * (1.0 - _EVICTED_SHARE))
        while (used := self.num_bytes()) > goal and (present := self.num_games()) > 1:
            count = min(present - 1, max(1, present * (used - goal) // (2 * used)))
            oldest = "SELECT sequence FROM games ORDER BY sequence LIMIT ?"
            self._connection.execute(f"DELETE FROM games WHERE sequence IN ({oldest})", (count,))

    def num_games(self) -> int:
        """How many games are stored."""
        return self._total("num_games", _PRESENT)

    def num_searched_again(self) -> int:
        """Of how many games a later search has said something."""
        with self._explained():
            return int(self._connection.execute("SELECT count(*) FROM statistics").fetchone()[0])

    def num_steps(self, *, ever: bool = False) -> int:
        """How many steps the stored games have together; `ever` counts those that left to make room as well."""
        return self._total("num_steps", _PRESENT) + (self._total("num_steps", _LEFT) if ever else 0)

    def problems(self) -> list[str]:
        """All that is damaged in the file, one sentence each; reads everything once."""
        found: list[str] = []
        try:
            with self._explained():
                rows = self._connection.execute("PRAGMA integrity_check(10)").fetchall()
                found += [f"{self.path}: {row[0]}." for row in rows if row[0] != "ok"]
                found += self._false_rows()
        except UserError as error:
            found.append(str(error))
        return found

    def _false_rows(self) -> Iterator[str]:
        """What a look at each game shows; the index must say of a game what the game itself says."""
        num_games = num_steps = 0
        columns = f"{_COLUMNS}, num_steps, ended, games.model_version, agent, statistics.model_version"
        for _, game_id, payload, statistics, *said in self._connection.execute(f"SELECT {columns} FROM {_GAMES}"):
            try:
                game = self._decode(game_id, decode_trajectory, payload)
                fresh = None if statistics is None else self._decode(game_id, decode_statistics, statistics)
                if fresh is not None:
                    with_statistics(game, fresh)
            except UserError as error:
                yield str(error)
                continue
            num_games, num_steps = num_games + 1, num_steps + game.num_own_steps
            newest = (None, None) if fresh is None else (fresh.agent, fresh.mean_version)
            if said != [game.num_own_steps, game.ended, int(game.model_version[-1]), *newest]:
                yield f"The index of {self.path} is damaged: it says {said} of game {game_id!r}."
        if (num_games, num_steps) != (expected := (self.num_games(), self.num_steps())):
            yield f"{self.path} should hold {expected} games and steps; {(num_games, num_steps)} are whole."

    def _total(self, column: str, row: int) -> int:
        with self._explained():
            found = self._connection.execute(f"SELECT {column} FROM totals WHERE id = ?", (row,)).fetchone()
        if found is None or not isinstance(found[0], int):
            raise DamagedData(f"The totals of {self.path} are damaged. Put back a copy of the file.")
        return found[0]

    def _intact(self, rows: Sequence[_Row]) -> Sequence[Trajectory]:
        """The games of rows of `_COLUMNS`, each with its freshest statistics; without those that are damaged."""
        return joined([self._intact_few(few) for few in _batches(rows)])

    def _intact_few(self, rows: Sequence[_Row]) -> Sequence[Trajectory]:
        if (packed := self._together(rows)) is None:
            return self._one_by_one(rows)
        for number, (_, _, _, statistics, *_) in enumerate(rows):
            if statistics is None:
                continue
            if not isinstance(statistics, bytes) or not freshen_packed(packed, number, statistics):
                return self._one_by_one(rows)
        return packed

    def _one_by_one(self, rows: Sequence[_Row]) -> Sequence[Trajectory]:
        games = []
        for _, game_id, payload, statistics, *_ in rows:
            game = self._checked(game_id, decode_trajectory, payload)
            fresh = None if statistics is None else self._checked(game_id, decode_statistics, statistics)
            if game is not None:
                games.append(game if fresh is None else self._freshened(game, fresh))
        return games

    def _together(self, rows: Sequence[_Row]) -> PackedGames | None:
        """The games as they were played, all at once; None where each has to be looked at."""
        payloads = [payload for _, _, payload, *_ in rows if isinstance(payload, bytes)]
        games = decode_packed(payloads) if len(payloads) == len(rows) else None
        return games if games is not None and games.game_ids == [game_id for _, game_id, *_ in rows] else None

    def _freshened(self, game: Trajectory, fresh: Statistics) -> Trajectory:
        """The game with its statistics, or as it is where they are of another one."""
        try:
            return with_statistics(game, fresh)
        except UserError as error:
            self._hear(DamagedData(f"Game {game.game_id!r} in {self.path} has others' statistics. {error}"))
            return game

    def _checked(self, game_id: object, decode: Callable[[bytes], _Decoded], payload: object) -> _Decoded | None:
        """What the payload of a game holds, or None where it is damaged and somebody hears of it."""
        try:
            return self._decode(game_id, decode, payload)
        except DamagedData as error:
            self._hear(error)
            return None

    def _hear(self, damage: DamagedData) -> None:
        """Let somebody hear of it once; raise it where nobody listens."""
        if self._on_damage is None:
            raise damage
        if str(damage) not in self._known_damage:
            self._known_damage.add(str(damage))
            self._on_damage(f"{damage} It is passed over.")

    def _decode(self, game_id: object, decode: Callable[[bytes], _Decoded], payload: object) -> _Decoded:
        try:
            if not isinstance(payload, bytes):
                raise DamagedData(f"Its content is {type(payload).__name__}.")
            decoded = decode(payload)
            if decoded.game_id != game_id:
                raise DamagedData(f"It says that it is {decoded.game_id!r}.")
            return decoded
        except DamagedData as error:
            raise DamagedData(f"Game {game_id!r} in {self.path} is damaged. {error}") from error

    def _prepare(self, *, is_fixed: bool) -> None:
        """Create the tables where the file is empty; refuse another program's file before writing anything to it."""
        # In this order: tables that another process is creating appear together with the mark, so who sees the tables
        # will see the mark (test_store_may_be_created_by_many_at_once).
        self._connection.execute("PRAGMA trusted_schema = OFF")
        self._connection.execute("PRAGMA cell_size_check = ON")
        is_empty = self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
        application = self._pragma("application_id")
        if application != _APPLICATION_ID and not (is_empty and self._makes):
            raise UserError(f"A replay store must be a file that numzero made; {self.path} is not. Name another file.")
        version = self._pragma("user_version")
        if application == _APPLICATION_ID and not 1 <= version <= _SCHEMA_VERSION:
            raise UserError(
                f"A replay store must have version {_SCHEMA_VERSION}; {self.path} has {version}. "
                f"Open it with the numzero that wrote it."
            )
        if application == _APPLICATION_ID:
            self._check_schema()
        if is_fixed and version >= _FIRST_READABLE:
            return
        self._use_wal()
        self._connection.execute("PRAGMA synchronous = NORMAL")
        # Who only reads leaves the trigger to an older numzero, which may be counting by it.
        if application != _APPLICATION_ID or version < (_SCHEMA_VERSION if self._makes else _FIRST_READABLE):
            with self._transaction():
                older = 1 <= self._pragma("user_version") < _SCHEMA_VERSION  # again: another may have been faster
                for statement in _UPGRADE if older else _SCHEMA:
                    self._connection.execute(statement)

    def _check_schema(self) -> None:
        """Refuse what numzero never made: a view or a trigger of somebody else could do anything, for ever."""
        for kind, name, sql in self._connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql NOT NULL"):
            if (kind, name) != ("table", "sqlite_sequence") and _bare(sql) not in _KNOWN:
                raise DamagedData(f"{self.path} must hold what numzero made; its {kind} {name!r} is not. Name another.")

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])

    def _use_wal(self) -> None:
        """Switch to WAL. SQLite does not wait for others here, whatever its timeout, so this does."""
        deadline = time.monotonic() + self._busy_seconds
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
            kind, way_out = self._kind_of(error)
            raise kind(f"The replay store {self.path} cannot be used: {error}. {way_out}") from error
        except UnicodeDecodeError as error:  # SQLite's own message quotes a damaged byte
            raise DamagedData(f"The replay store {self.path} is damaged. Put back a copy of this file.") from error

    def _kind_of(self, error: sqlite3.DatabaseError) -> tuple[type[UserError], str]:
        """The exception for what SQLite says, and the way out."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest tells apart what is alike here
        if code == sqlite3.SQLITE_FULL:
            return DiskFullError, "Free space on that disk, and it goes on."
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreBusyError, f"Another process has held it for {self._busy_seconds:.0f} s: stop that process."
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return DamagedData, "Name another file, or put back a copy of this one."
        return UserError, "Check that its folder exists and may be written to."


def _enough(rows: Iterator[_Row], num_steps: int) -> Iterator[_Row]:
    """The next rows, as many as have so many steps together by what they say at their end, a thousand at most."""
    for row in islice(rows, _AT_A_TIME):
        yield row
        num_steps -= row[-1]
        if num_steps <= 0:
            return


def _batches(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    """In the same order, those that lie in memory together."""
    batch, room = [], _BYTES_AT_A_TIME
    for row in rows:
        batch.append(row)
        room -= len(row[2]) if isinstance(row[2], bytes) else 0
        if room <= 0:
            yield batch
            batch, room = [], _BYTES_AT_A_TIME
    if batch:
        yield batch


def _bare(sql: object) -> str:
    """A statement without its spaces, as SQLite keeps it."""
    return re.sub(r"\s|IF NOT EXISTS", "", str(sql))


_COUNT_1 = """CREATE TRIGGER count_games AFTER INSERT ON games BEGIN
    UPDATE totals SET num_games = num_games + 1, num_steps = num_steps + NEW.num_steps; END"""
_COUNT_2 = _COUNT_1.replace("; END", " WHERE id = 0; END")
_KNOWN = {_bare(statement) for statement in (*_SCHEMA, _COUNT_1, _COUNT_2)}
