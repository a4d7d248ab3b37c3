"""Replay storage: one game as arrays, as bytes, in a SQLite file, and in the in-memory window that batches come from.

Knows trajectories; knows nothing of search, networks, games or how targets are computed. What it promises: a game is
stored once, whoever delivers it how often; a damaged byte is noticed before it is learned from; the window never grows.
"""

from __future__ import annotations

import functools
import hashlib
import math
import sqlite3
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, get_args

import msgspec
import numpy as np
import numpy.typing as npt
from numba import njit

from numzero.errors import UserError

__all__ = [
    "DamagedData",
    "Ended",
    "GameStore",
    "ReplayConfig",
    "Sample",
    "Trajectory",
    "Window",
    "check_trajectory",
    "decode_trajectory",
    "encode_trajectory",
]

Ended = Literal["terminated", "truncated", "cut"]
_ENDINGS: tuple[str, ...] = get_args(Ended)

_BoolArray = npt.NDArray[np.bool_]
_Float32Array = npt.NDArray[np.float32]
_Float64Array = npt.NDArray[np.float64]
_Int64Array = npt.NDArray[np.int64]


class DamagedData(UserError):
    """Stored bytes are not what was written."""


class ReplayConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the learner remembers, and how it draws from it."""

    capacity_steps: int = 100_000
    """Size of the window in slots; a game of T steps takes T + 1 of them, so the window never holds more steps than
    this. Paper: 1 million games (boards), 125,000 sequences of 200 steps (Atari)."""
    priority_exponent: float = 0.0
    """Alpha of prioritised replay, P(i) = p(i) ** alpha / sum: 0 is uniform. Paper: 1 for Atari, 0 for boards."""
    importance_exponent: float = 1.0
    """Beta of the correction for it, weight = (1 / (N P(i))) ** beta: 0 corrects nothing, 1 all. Paper: 1."""

    def check(self) -> list[str]:
        """All that is wrong with these settings, one sentence each."""
        problems = []
        if self.capacity_steps < 2:
            problems.append(f"replay.capacity_steps must be at least 2; got {self.capacity_steps}.")
        for name in ("priority_exponent", "importance_exponent"):
            value = getattr(self, name)
            if not 0.0 <= value < math.inf:
                problems.append(f"replay.{name} must be finite and not negative; got {value}.")
        return problems


# ---------------------------------------------------------------------------------------------------- one game


class Trajectory(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A game, or a piece of one, of T steps: positions 0..T, the final one included; A actions.

    Every value is seen from the player to move at its position: return[t] = reward[t] + discount[t] * return[t + 1].
    """

    game_id: str
    """Unique; a game that is delivered twice is stored once."""
    observation: npt.NDArray[Any]
    """`[T+1, *O]` uint8 or float32."""
    action: npt.NDArray[np.int32]
    """`[T]` int32."""
    reward: _Float32Array
    """`[T]` float32, seen from the player who moved at t."""
    discount: _Float32Array
    """`[T]` float32, of the edge t to t+1: gamma, -gamma where the turn passes to the opponent, 0 at termination."""
    legal: _BoolArray
    """`[T+1, A]` bool."""
    to_play: npt.NDArray[np.int8]
    """`[T+1]` int8, the player to move."""
    policy_target: _Float32Array
    """`[T, A]` float32."""
    root_value: _Float32Array
    """`[T+1]` float32; the last is what a truncated or cut game bootstraps from, and 0 for a terminated one."""
    exploratory: _BoolArray
    """`[T]` bool: the action was drawn at random rather than by the search."""
    model_version: _Int64Array
    """`[T]` int64, the weights that searched this position."""
    ended: Ended
    """How the last position came to be the last; "cut" is a piece of a longer episode, delivered early."""

    @property
    def num_steps(self) -> int:
        """T, the number of actions taken."""
        return len(self.action)


class _Field(NamedTuple):
    """One array of a trajectory, as `_layout` lists them."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


_FLOAT32, _INT64, _INT32, _INT8, _BOOL = (np.dtype(code) for code in ("<f4", "<i8", "<i4", "i1", "?"))
_OBSERVATION_DTYPES = {"u1": np.dtype("u1"), "f4": _FLOAT32}
_FLOAT_FIELDS = ("reward", "discount", "policy_target", "root_value")


@functools.lru_cache(maxsize=4096)
def _layout(
    num_steps: int, num_actions: int, observation_shape: tuple[int, ...], observation_dtype: np.dtype[Any]
) -> tuple[_Field, ...]:
    """The arrays of a trajectory in the order of their bytes: widest items first, so that each begins aligned."""
    steps, positions = num_steps, num_steps + 1
    return (
        _Field("model_version", _INT64, (steps,)),
        _Field("action", _INT32, (steps,)),
        _Field("reward", _FLOAT32, (steps,)),
        _Field("discount", _FLOAT32, (steps,)),
        _Field("policy_target", _FLOAT32, (steps, num_actions)),
        _Field("root_value", _FLOAT32, (positions,)),
        _Field("observation", observation_dtype, (positions, *observation_shape)),
        _Field("legal", _BOOL, (positions, num_actions)),
        _Field("to_play", _INT8, (positions,)),
        _Field("exploratory", _BOOL, (steps,)),
    )


def check_trajectory(trajectory: Trajectory) -> None:
    """Raise UserError, naming the field, unless every shape, dtype and number of the trajectory is as documented."""
    fields = _checked_layout(trajectory)
    for name, dtype, shape in fields:
        array = getattr(trajectory, name)
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
            raise UserError(
                f"Trajectory.{name} must be a {dtype.name} array of shape {shape}; got {_described(array)}. "
                f"{trajectory.num_steps} actions make {trajectory.num_steps} steps and one position more."
            )
    for name in _FLOAT_FIELDS:
        _require_finite(name, getattr(trajectory, name))
    if trajectory.observation.dtype == _FLOAT32:
        _require_finite("observation", trajectory.observation)
    _check_meaning(trajectory)


def _checked_layout(trajectory: Trajectory) -> tuple[_Field, ...]:
    """The layout that the trajectory's own sizes ask for; UserError where they cannot be read off."""
    action, legal, observation = trajectory.action, trajectory.legal, trajectory.observation
    if not isinstance(action, np.ndarray) or action.ndim != 1 or len(action) == 0:
        raise UserError(f"Trajectory.action must be [T] with at least one step; got {_described(action)}.")
    if not isinstance(legal, np.ndarray) or legal.ndim != 2:
        raise UserError(f"Trajectory.legal must be [T+1, A]; got {_described(legal)}.")
    if not isinstance(observation, np.ndarray) or observation.dtype not in _OBSERVATION_DTYPES.values():
        raise UserError(f"Trajectory.observation must be [T+1, *O] uint8 or float32; got {_described(observation)}.")
    return _layout(len(action), legal.shape[1], observation.shape[1:], observation.dtype)


def _check_meaning(trajectory: Trajectory) -> None:
    if not isinstance(trajectory.game_id, str) or not trajectory.game_id:
        raise UserError(f"Trajectory.game_id must be a string that is not empty; got {trajectory.game_id!r}.")
    if trajectory.ended not in _ENDINGS:
        raise UserError(f"Trajectory.ended must be one of {', '.join(_ENDINGS)}; got {trajectory.ended!r}.")
    num_actions = trajectory.legal.shape[1]
    lowest, highest = int(trajectory.action.min()), int(trajectory.action.max())
    if lowest < 0 or highest >= num_actions:
        wrong = lowest if lowest < 0 else highest
        raise UserError(f"Trajectory.action must lie in 0..{num_actions - 1}, the columns of legal; got {wrong}.")
    if trajectory.ended == "terminated" and trajectory.root_value[-1] != 0.0:
        raise UserError(
            f"Trajectory.root_value must end with 0 where the game terminated, since nothing follows; "
            f"got {trajectory.root_value[-1]}. Say ended='truncated' if the episode would have gone on."
        )


def _require_finite(name: str, array: npt.NDArray[Any]) -> None:
    if math.isfinite(float(array.sum(dtype=np.float64))):
        return  # the common case in one pass; a sum is finite only if all of it is
    finite = np.isfinite(array)
    if not finite.all():
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise UserError(f"Trajectory.{name} must be finite; got {array[where]} at index {where}.")


def _described(value: object) -> str:
    return f"{value.dtype.name} of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


# ---------------------------------------------------------------------------------------------------- one game as bytes

# magic and format version | digest of all that follows | length of the header | header | padding to 8 | arrays
_MAGIC = b"numzero\x01"
_DIGEST_SIZE = 16
_LENGTH_AT = len(_MAGIC) + _DIGEST_SIZE
_HEADER_AT = _LENGTH_AT + 4


class _Header(msgspec.Struct, frozen=True, array_like=True):
    game_id: str
    ended: Ended
    num_steps: int
    num_actions: int
    observation_dtype: str
    observation_shape: tuple[int, ...]


_header_encoder = msgspec.msgpack.Encoder()
_header_decoder = msgspec.msgpack.Decoder(_Header)


def encode_trajectory(trajectory: Trajectory) -> bytes:
    """The trajectory as bytes that `decode_trajectory` verifies; UserError if `check_trajectory` objects."""
    check_trajectory(trajectory)
    observation = trajectory.observation
    fields = _layout(trajectory.num_steps, trajectory.legal.shape[1], observation.shape[1:], observation.dtype)
    header = _header_encoder.encode(
        _Header(
            trajectory.game_id,
            trajectory.ended,
            trajectory.num_steps,
            trajectory.legal.shape[1],
            "u1" if observation.dtype == np.uint8 else "f4",
            observation.shape[1:],
        )
    )
    padding = bytes(-(_HEADER_AT + len(header)) % 8)
    arrays = (getattr(trajectory, field.name).tobytes() for field in fields)
    content = b"".join((len(header).to_bytes(4, "little"), header, padding, *arrays))
    return b"".join((_MAGIC, _digest(content), content))


def decode_trajectory(payload: bytes) -> Trajectory:
    """The trajectory that `encode_trajectory` was given; its arrays are read-only views of `payload`.

    Raises DamagedData for anything else, down to a single flipped bit.
    """
    view = memoryview(payload)
    if len(view) < _HEADER_AT or bytes(view[: len(_MAGIC)]) != _MAGIC:
        raise DamagedData(f"A stored game must begin with {_MAGIC!r}; these {len(view)} bytes do not. Discard them.")
    if _digest(view[_LENGTH_AT:]) != bytes(view[len(_MAGIC) : _LENGTH_AT]):
        raise DamagedData(f"A stored game must match its digest; these {len(view)} bytes do not. Discard them.")
    header_end = _HEADER_AT + int.from_bytes(view[_LENGTH_AT:_HEADER_AT], "little")
    try:
        header = _header_decoder.decode(view[_HEADER_AT:header_end])
        fields = _layout(
            header.num_steps,
            header.num_actions,
            header.observation_shape,
            _OBSERVATION_DTYPES[header.observation_dtype],
        )
    except (msgspec.DecodeError, KeyError) as error:
        raise DamagedData(f"A stored game must have a readable header; got {error}. Discard it.") from error
    arrays = _split(payload, header_end + -header_end % 8, fields)
    return Trajectory(game_id=header.game_id, ended=header.ended, **arrays)


def _split(payload: bytes, offset: int, fields: tuple[_Field, ...]) -> dict[str, Any]:
    """The arrays that lie one after another from `offset` to the end of `payload`."""
    counts = [math.prod(shape) for _, _, shape in fields]
    size = sum(count * field.dtype.itemsize for count, field in zip(counts, fields, strict=True))
    if min(counts) < 0 or offset + size != len(payload):
        raise DamagedData(
            f"A stored game must be as long as its header says, {offset + size} bytes; got {len(payload)}. Discard it."
        )
    arrays = {}
    for count, (name, dtype, shape) in zip(counts, fields, strict=True):
        arrays[name] = np.frombuffer(payload, dtype, count, offset).reshape(shape)
        offset += count * dtype.itemsize
    return arrays


def _digest(content: bytes | memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_SIZE).digest()


# ---------------------------------------------------------------------------------------------------- games in a file

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


# ---------------------------------------------------------------------------------------------------- the window

_SMALLEST_PRIORITY = 1e-6
"""A step whose value was predicted exactly may still be drawn; 0 marks what never is."""
_STEP_FIELDS = ("action", "reward", "discount", "policy_target", "exploratory", "model_version")
_POSITION_FIELDS = ("observation", "legal", "to_play", "root_value")


class Sample(NamedTuple):
    """Steps drawn from a window."""

    slot: _Int64Array
    """`[n]` where the drawn positions are."""
    weight: _Float32Array
    """`[n]` importance weights in (0, 1], the largest of the batch being 1."""
    stamp: _Int64Array
    """`[n]` the window's `stamp` of those slots when they were drawn; tells a slot's game from a later one's."""


class Window:
    """The most recent games as flat arrays of `capacity_steps` slots, one slot per position.

    A game of T steps takes T + 1 contiguous slots, so `num_steps + num_games <= capacity_steps` always. The slots form
    a ring: where the next game does not fit before the end, it starts at slot 0 and what it skipped stays free for that
    lap. The oldest games leave, whole, to make room. Treat the arrays as read-only, `value_target` excepted.

    Attributes, by slot s:
        observation: `[slots, *O]` of the dtype given. action, reward, discount, legal, to_play, policy_target,
            root_value, exploratory, model_version: as in `Trajectory`; at a final position, where a trajectory has
            none, they are 0, except that model_version repeats the one before.
        value_target: `[slots]` float32, 0 until whoever computes targets for `stale_games` writes it.
        first_slot, final_slot: `[slots]` int64, where the game of s begins and its final position.
        terminated: `[slots]` bool, that the game of s terminated, rather than being truncated or cut.
        priority: `[slots]` float64, positive where s can be drawn, 0 at final positions and in free slots.
        stamp: `[slots]` int64, the number of the game in s, counted from 1 in order of arrival; 0 in free slots.
    """

    def __init__(
        self,
        capacity_steps: int,
        observation_shape: tuple[int, ...],
        observation_dtype: npt.DTypeLike,
        num_actions: int,
        *,
        priority_exponent: float = 0.0,
        importance_exponent: float = 1.0,
    ) -> None:
        """Allocate everything at once; the exponents are those of `ReplayConfig`."""
        config = ReplayConfig(
            capacity_steps=capacity_steps, priority_exponent=priority_exponent, importance_exponent=importance_exponent
        )
        if problems := config.check():
            raise UserError(" ".join(problems))
        self.capacity_steps = capacity_steps
        self.priority_exponent = priority_exponent
        self.importance_exponent = importance_exponent
        # Zeros, not ones: the system hands out a page of zeros only when it is first written.
        self.observation: npt.NDArray[Any] = np.zeros((capacity_steps, *observation_shape), observation_dtype)
        self.action = np.zeros(capacity_steps, np.int32)
        self.reward = np.zeros(capacity_steps, np.float32)
        self.discount = np.zeros(capacity_steps, np.float32)
        self.legal = np.zeros((capacity_steps, num_actions), np.bool_)
        self.to_play = np.zeros(capacity_steps, np.int8)
        self.policy_target = np.zeros((capacity_steps, num_actions), np.float32)
        self.root_value = np.zeros(capacity_steps, np.float32)
        self.exploratory = np.zeros(capacity_steps, np.bool_)
        self.model_version = np.zeros(capacity_steps, np.int64)
        self.value_target = np.zeros(capacity_steps, np.float32)
        self.first_slot = np.zeros(capacity_steps, np.int64)
        self.final_slot = np.zeros(capacity_steps, np.int64)
        self.terminated = np.zeros(capacity_steps, np.bool_)
        self.priority = np.zeros(capacity_steps, np.float64)
        self.stamp = np.zeros(capacity_steps, np.int64)
        self._games: deque[tuple[int, int]] = deque()  # (first, final), oldest first
        self._stale: dict[int, int] = {}  # first -> final
        self._head = 0
        self._num_added = 0
        self._highest_priority = 1.0
        # The slots that can be drawn, a queue in a ring: uniform drawing costs nothing however large the window.
        self._steps = np.zeros(capacity_steps, np.int64)
        self._steps_begin = 0
        self._num_steps = 0
        # Sums of priority ** alpha as a binary tree, root at 1, leaf of slot s at num_leaves + s.
        num_leaves = 1 << (capacity_steps - 1).bit_length() if priority_exponent > 0 else 0
        self._tree = np.zeros(2 * num_leaves, np.float64)

    @property
    def num_steps(self) -> int:
        """How many steps can be drawn."""
        return self._num_steps

    @property
    def num_games(self) -> int:
        """How many games the window holds."""
        return len(self._games)

    @property
    def memory_bytes(self) -> int:
        """Size of all arrays; the system provides it as the window fills."""
        return sum(value.nbytes for value in vars(self).values() if isinstance(value, np.ndarray))

    def add(self, trajectory: Trajectory) -> None:
        """Take in a game as the newest, with the highest priority seen so far; its value targets are stale.

        Raises UserError for a bad trajectory, one of other shapes than the window's, or one longer than the window.
        """
        self._check_fits(trajectory)
        first = self._make_room(trajectory.num_steps + 1)
        final = first + trajectory.num_steps
        self._num_added += 1
        self._games.append((first, final))
        self._stale[first] = final
        self._head = final + 1
        self._write(first, final, trajectory)
        self._set_priorities(np.arange(first, final), np.full(trajectory.num_steps, self._highest_priority))
        ring = (self._steps_begin + self._num_steps + np.arange(trajectory.num_steps)) % self.capacity_steps
        self._steps[ring] = np.arange(first, final)
        self._num_steps += trajectory.num_steps

    def sample(self, batch_size: int, rng: np.random.Generator) -> Sample:
        """Draw steps with replacement: uniformly, or with P(i) = priority(i) ** alpha / sum of all where alpha > 0.

        weight(i) = (1 / (N P(i))) ** beta over the largest such weight of the batch, N = num_steps (Schaul et al.
        2016, section 3.4). Raises UserError where the window is empty.
        """
        if self._num_steps == 0:
            raise UserError("A window must hold a game before it is sampled; it is empty. Add a trajectory first.")
        if self.priority_exponent == 0:
            index = self._steps_begin + rng.integers(self._num_steps, size=batch_size)
            slot = self._steps[index % self.capacity_steps]
            return Sample(slot, np.ones(batch_size, np.float32), self.stamp[slot])
        slot = np.empty(batch_size, np.int64)
        total = self._tree[1]
        _find_leaves(self._tree, rng.random(batch_size) * total, slot)
        probability = self._tree[len(self._tree) // 2 + slot] / total
        # N drops out with the normalisation, and the quotient of two probabilities neither overflows nor underflows.
        weight = (probability.min(initial=math.inf) / probability) ** self.importance_exponent
        return Sample(slot, weight.astype(np.float32), self.stamp[slot])

    def update_priorities(self, sample: Sample, priority: npt.ArrayLike) -> None:
        """Set the priorities of drawn steps to `priority` `[n]`; steps whose game has left meanwhile are skipped.

        Of a step drawn twice the last one counts. Raises UserError unless all are finite and not negative.
        """
        new = np.asarray(priority, np.float64)
        if new.shape != sample.slot.shape or not (np.isfinite(new) & (new >= 0)).all():
            raise UserError(
                f"Priorities must be {len(sample.slot)} finite numbers, none negative; got shape {new.shape}, lowest "
                f"{new.min(initial=math.inf)}, highest {new.max(initial=-math.inf)}. Has the value loss diverged?"
            )
        here = self.stamp[sample.slot] == sample.stamp
        new = np.maximum(new[here], _SMALLEST_PRIORITY)
        self._set_priorities(sample.slot[here], new)
        self._highest_priority = max(self._highest_priority, new.max(initial=0.0))

    def stale_games(self) -> _Int64Array:
        """`[G, 2]` first and final slots of the games that are new or got new statistics since `mark_fresh`."""
        return np.array(list(self._stale.items()), np.int64).reshape(-1, 2)

    def mark_fresh(self) -> None:
        """Say that `value_target` of all games is up to date."""
        self._stale.clear()

    def update_statistics(
        self,
        slot: _Int64Array,
        policy_target: _Float32Array,
        root_value: _Float32Array,
        model_version: npt.ArrayLike,
        *,
        stamp: _Int64Array | None = None,
    ) -> None:
        """Overwrite what the search said of positions `slot` `[n]`, as reanalyze does; their games become stale.

        policy_target: `[n, A]`; final positions keep none.
        root_value: `[n]`; the final position of a terminated game keeps 0.
        model_version: an integer, or `[n]`.
        stamp: `[n]`, `self.stamp[slot]` as it was when the positions were read: where games may have been added since,
            positions whose game has left are skipped. Positions in free slots always are.
        """
        if policy_target.shape != (len(slot), self.policy_target.shape[1]) or root_value.shape != slot.shape:
            raise UserError(
                f"New statistics of {len(slot)} positions must be policy_target {(len(slot), self.legal.shape[1])} and "
                f"root_value {slot.shape}; got {policy_target.shape} and {root_value.shape}."
            )
        if not (np.isfinite(policy_target).all() and np.isfinite(root_value).all()):
            raise UserError("New statistics must be finite; got nan or infinity. Has the network diverged?")
        here = self.stamp[slot] != 0 if stamp is None else (self.stamp[slot] == stamp) & (stamp != 0)
        has_policy = here & (slot < self.final_slot[slot])
        has_value = here & (has_policy | ~self.terminated[slot])
        self.policy_target[slot[has_policy]] = policy_target[has_policy]
        self.root_value[slot[has_value]] = root_value[has_value]
        self.model_version[slot[here]] = np.broadcast_to(np.asarray(model_version, np.int64), slot.shape)[here]
        for first in np.unique(self.first_slot[slot[here]]).tolist():
            self._stale[first] = int(self.final_slot[first])

    def _check_fits(self, trajectory: Trajectory) -> None:
        check_trajectory(trajectory)
        if trajectory.num_steps >= self.capacity_steps:
            raise UserError(
                f"A game must fit into the window: {trajectory.num_steps} steps take {trajectory.num_steps + 1} slots; "
                f"the window has {self.capacity_steps}. Raise replay.capacity_steps."
            )
        for name in ("observation", "legal"):
            ours, theirs = getattr(self, name), getattr(trajectory, name)
            if ours.shape[1:] != theirs.shape[1:] or ours.dtype != theirs.dtype:
                raise UserError(
                    f"Trajectory.{name} must match the window's, per position {ours.dtype.name} of shape "
                    f"{ours.shape[1:]}; got {theirs.dtype.name} of shape {theirs.shape[1:]}. Is the game another one?"
                )

    def _make_room(self, num_slots: int) -> int:
        """Free `num_slots` slots in a row, by dropping the oldest games, and return the first of them."""
        first = self._head
        if first + num_slots > self.capacity_steps:
            while self._games and self._games[0][0] >= first:  # last lap's games in the stretch that is skipped
                self._drop_oldest()
            first = 0
        while self._games and first <= self._games[0][0] < first + num_slots:
            self._drop_oldest()
        return first

    def _drop_oldest(self) -> None:
        first, final = self._games.popleft()
        self._stale.pop(first, None)
        self.stamp[first : final + 1] = 0
        self._set_priorities(np.arange(first, final), np.zeros(final - first))
        self._steps_begin = (self._steps_begin + final - first) % self.capacity_steps
        self._num_steps -= final - first

    def _write(self, first: int, final: int, trajectory: Trajectory) -> None:
        for name in _STEP_FIELDS:
            column = getattr(self, name)
            column[first:final] = getattr(trajectory, name)
            column[final] = 0
        for name in _POSITION_FIELDS:
            getattr(self, name)[first : final + 1] = getattr(trajectory, name)
        self.model_version[final] = trajectory.model_version[-1]
        self.value_target[first : final + 1] = 0
        self.first_slot[first : final + 1] = first
        self.final_slot[first : final + 1] = final
        self.terminated[first : final + 1] = trajectory.ended == "terminated"
        self.stamp[first : final + 1] = self._num_added

    def _set_priorities(self, slot: _Int64Array, priority: _Float64Array) -> None:
        self.priority[slot] = priority
        if self.priority_exponent > 0:
            _set_leaves(self._tree, slot, priority**self.priority_exponent)


@njit(cache=True)
def _set_leaves(tree: _Float64Array, slot: _Int64Array, mass: _Float64Array) -> None:
    """Write leaves and add up their ancestors anew, so that no rounding error builds up."""
    for i in range(slot.size):
        node = tree.size // 2 + slot[i]
        tree[node] = mass[i]
        node //= 2
        while node >= 1:
            tree[node] = tree[2 * node] + tree[2 * node + 1]
            node //= 2


@njit(cache=True)
def _find_leaves(tree: _Float64Array, point: _Float64Array, slot: _Int64Array) -> None:
    """Fill `slot` with the leaves under the points, the leaves laid end to end over [0, tree[1])."""
    num_leaves = tree.size // 2
    for i in range(point.size):
        node, rest = 1, point[i]
        while node < num_leaves:
            left = tree[2 * node]
            # Rounding can push a point past the last leaf: never go where there is no mass.
            if rest < left or tree[2 * node + 1] == 0.0:
                node = 2 * node
            else:
                rest -= left
                node = 2 * node + 1
        slot[i] = node - num_leaves
