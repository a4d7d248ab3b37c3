"""One game, or what a search said of it, as bytes with a digest.

Knows the format; knows nothing of where the bytes are kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, TypeVar

import msgspec
import numpy as np

from numzero.errors import UserError
from numzero.replay.packed import PackedGames, check_trajectories, packed_from
from numzero.replay.trajectory import (
    COLUMNS,
    OBSERVATION_DTYPES,
    Ended,
    Field,
    Sizes,
    Statistics,
    Trajectory,
    check_statistics,
    check_trajectory,
    layout,
    sizes_of,
    statistics_layout,
)

__all__ = [
    "DamagedData",
    "content_digest",
    "decode_packed",
    "decode_statistics",
    "decode_trajectories",
    "decode_trajectory",
    "encode_packed",
    "encode_statistics",
    "encode_trajectory",
    "freshen_packed",
]

_AnyHeader = TypeVar("_AnyHeader")


class DamagedData(UserError):
    """Stored bytes are not what was written."""


# magic and format version | digest of all that follows | length of the header | header | padding to 8 | arrays
_MAGIC = b"numzero\x01"
_STATISTICS_MAGIC = b"numzstt\x01"
_DIGEST_SIZE = 16
_LENGTH_AT = len(_MAGIC) + _DIGEST_SIZE
_HEADER_AT = _LENGTH_AT + 4
_SMALL = 2**16
"""Bytes of the longest game that is worth a copy."""
_DIMENSIONS = 16
"""Of observations, not more than any NumPy has."""


class _Header(msgspec.Struct, frozen=True, array_like=True):
    game_id: str
    ended: Ended
    num_steps: int
    num_actions: int
    observation_dtype: str
    observation_shape: tuple[int, ...]


class _PieceHeader(_Header, frozen=True, array_like=True):
    """Of a game that looks back at the piece before, reports outcomes, or has vectors; all others are as ever."""

    lead_in: int = 0
    has_outcomes: bool = False
    action_size: int = 0


class _ChoicesHeader(_PieceHeader, frozen=True, array_like=True):
    """Of a game whose masks are of the choices of action vectors; all others are written as ever."""

    num_choices: int = 0


class _SharesHeader(_ChoicesHeader, frozen=True, array_like=True):
    """Of a game that says how likely its actions were; all others are written as ever."""

    has_shares: bool = False


class _StatisticsHeader(msgspec.Struct, frozen=True, array_like=True):
    game_id: str
    agent: str
    num_steps: int
    num_actions: int


class _VectorStatisticsHeader(_StatisticsHeader, frozen=True, array_like=True):
    """Of action vectors; all others are written as ever."""

    action_size: int = 0


class _SharesStatisticsHeader(_VectorStatisticsHeader, frozen=True, array_like=True):
    """Of actions whose share of the network's own policy is said; all others are written as ever."""

    has_shares: bool = False


_encoder = msgspec.msgpack.Encoder()
_header_decoder = msgspec.msgpack.Decoder(_SharesHeader)
_statistics_decoder = msgspec.msgpack.Decoder(_SharesStatisticsHeader)


def encode_trajectory(trajectory: Trajectory) -> bytes:
    """The trajectory as bytes that `decode_trajectory` verifies; UserError if `check_trajectory` objects."""
    check_trajectory(trajectory)
    about = trajectory.game_id, trajectory.ended, trajectory.num_steps, trajectory.lead_in
    header = _header(*about, *_as_in_headers(sizes_of(trajectory)))
    return _seal(_MAGIC, header, *(getattr(trajectory, name).tobytes() for name in COLUMNS))


def encode_packed(games: PackedGames) -> list[bytes]:
    """The same of each; UserError if `check_trajectories` objects."""
    check_trajectories(games)
    shape, more = _as_in_headers(games.sizes)
    about = games.game_ids, games.ended, games.num_steps.tolist(), games.lead_in.tolist()
    return [
        _seal(_MAGIC, _header(game_id, ended, num_steps, lead_in, shape, more), columns)
        for game_id, ended, num_steps, lead_in, columns in zip(*about, games.bytes_of_each(), strict=True)
    ]


def _as_in_headers(sizes: Sizes) -> tuple[tuple[int, str, tuple[int, ...]], tuple[int, ...]]:
    """The fields of `_Header` that all games of these sizes share, and those of longer ones, as few as need be."""
    dtype = "u1" if sizes.observation_dtype == np.uint8 else "f4"
    choices = sizes.num_choices if sizes.num_choices != sizes.num_actions else 0  # as a game's own arrays tell
    more = sizes.has_outcomes, sizes.action_size, choices, sizes.has_shares and sizes.action_size == 0
    needed = 4 if more[3] else 3 if choices else 2
    return (sizes.num_actions, dtype, sizes.observation_shape), more[:needed]


def _header(
    game_id: str,
    ended: Ended,
    num_steps: int,
    lead_in: int,
    shape: tuple[int, str, tuple[int, ...]],
    more: tuple[int, ...],
) -> tuple[Any, ...]:
    """The fields of a `_Header`, or where need be of a longer one: a tuple is made and encoded in half the time."""
    if lead_in or any(more):
        return (game_id, ended, num_steps, *shape, lead_in, *more)
    return (game_id, ended, num_steps, *shape)


def decode_trajectory(payload: bytes) -> Trajectory:
    """The trajectory that `encode_trajectory` was given; its arrays are read-only views of `payload`.

    Raises DamagedData for anything else, down to a single flipped bit.
    """
    header, offset = _unseal(_MAGIC, payload, _header_decoder)
    try:
        dtype = OBSERVATION_DTYPES[header.observation_dtype]
    except KeyError as error:
        raise DamagedData(f"A stored game must have a readable header; got {error}. Discard it.") from error
    _check_sizes(
        header.num_steps, header.num_actions, *header.observation_shape, header.action_size, header.num_choices
    )
    sizes = header.num_steps, header.num_actions, header.observation_shape, dtype
    about: dict[str, Any] = {"action_size": header.action_size, "num_choices": header.num_choices}
    about |= {"has_shares": header.has_shares}
    fields = layout(*sizes, has_outcomes=header.has_outcomes, **about)
    arrays = _split(payload, offset, fields)
    with _unsound_explained():
        trajectory = Trajectory(game_id=header.game_id, ended=header.ended, lead_in=header.lead_in, **arrays)
        check_trajectory(trajectory)
    return trajectory


def decode_trajectories(payloads: Sequence[bytes]) -> Sequence[Trajectory]:
    """As `decode_trajectory` of each."""
    return decode_packed(payloads) or [decode_trajectory(payload) for payload in payloads]


def decode_packed(payloads: Sequence[bytes]) -> PackedGames | None:
    """The games, read and looked at together: short ones take a tenth of the time that they take one by one.

    None where `decode_trajectory` has to look at each: one is not sound, is large, or has other sizes than the others.
    """
    if max(map(len, payloads), default=_SMALL) >= _SMALL:
        return None
    try:
        headers, offsets = zip(*(_unseal(_MAGIC, payload, _header_decoder) for payload in payloads), strict=True)
    except DamagedData:
        return None
    sizes = _small_sizes(headers[0])
    if sizes is None or any(_sizes_in(header) != _sizes_in(headers[0]) for header in headers):
        return None
    if any(not 0 <= header.lead_in < header.num_steps < _SMALL for header in headers):
        return None
    offset, num_steps, lead_in = (
        np.array(numbers, np.int64)
        for numbers in (offsets, [header.num_steps for header in headers], [header.lead_in for header in headers])
    )
    names, ended = [header.game_id for header in headers], [header.ended for header in headers]
    games = packed_from(payloads, offset, num_steps, names, ended, lead_in, sizes)
    return games if games is not None and games.are_sound() else None


def freshen_packed(games: PackedGames, index: int, statistics: bytes) -> bool:
    """Let a game have what a later search said of it, as `with_statistics` does, in a fifth of the time.

    Returns:
        False where nothing was done: `decode_statistics` and `with_statistics` say what is the matter.
    """
    try:
        header, offset = _unseal(_STATISTICS_MAGIC, statistics, _statistics_decoder)
    except DamagedData:
        return False
    sizes = int(games.num_steps[index]), games.sizes.num_actions, games.sizes.action_size
    if (games.game_ids[index], *sizes) != (header.game_id, header.num_steps, header.num_actions, header.action_size):
        return False
    fields = statistics_layout(*sizes, has_shares=header.has_shares)
    ends = list(accumulate((field.num_bytes for field in fields), initial=offset))
    if ends[-1] != len(statistics) or not np.isfinite(np.frombuffer(statistics, np.float32, offset=ends[1])).all():
        return False
    for field, (begin, end) in zip(fields, pairwise(ends), strict=True):
        column = statistics[begin:end]
        is_over = field.name == "root_value" and games.ended[index] == "terminated"
        games.write(index, field.name, column[:-4] + bytes(4) if is_over else column)
    return True


def _sizes_in(header: _SharesHeader) -> tuple[Any, ...]:
    """What tells whether two games have the same sizes."""
    about = header.has_outcomes, header.action_size, header.num_choices, header.has_shares
    return header.num_actions, header.observation_shape, header.observation_dtype, *about


def _small_sizes(header: _SharesHeader) -> Sizes | None:
    """None where no small game has these, or NumPy has no such arrays."""
    shape, dtype = header.observation_shape, OBSERVATION_DTYPES.get(header.observation_dtype)
    least = min(header.num_actions, header.action_size + 1, header.num_choices + 1, *shape)
    most = max(header.num_actions, header.action_size, header.num_choices, math.prod(shape))
    if dtype is None or least < 1 or most > _SMALL or len(shape) > _DIMENSIONS:
        return None
    num_actions, _, _, *about = _sizes_in(header)
    return Sizes(num_actions, shape, dtype, *about)


def encode_statistics(statistics: Statistics) -> bytes:
    """The statistics as bytes that `decode_statistics` verifies; UserError where they are not sound."""
    check_statistics(statistics)
    num_steps, num_actions = statistics.policy_target.shape
    about = statistics.game_id, statistics.agent, num_steps, num_actions
    size = 0 if statistics.candidates is None else statistics.candidates.shape[2]
    header = _VectorStatisticsHeader(*about, size) if size else _StatisticsHeader(*about)
    if shares := statistics.prior is not None:
        header = _SharesStatisticsHeader(*about, size, True)
    fields = statistics_layout(num_steps, num_actions, size, has_shares=shares)
    return _seal(_STATISTICS_MAGIC, header, *(getattr(statistics, field.name).tobytes() for field in fields))


def decode_statistics(payload: bytes) -> Statistics:
    """The statistics that `encode_statistics` was given; DamagedData for anything else."""
    header, offset = _unseal(_STATISTICS_MAGIC, payload, _statistics_decoder)
    sizes = header.num_steps, header.num_actions, header.action_size
    _check_sizes(*sizes)
    arrays = _split(payload, offset, statistics_layout(*sizes, has_shares=header.has_shares))
    with _unsound_explained():
        statistics = Statistics(game_id=header.game_id, agent=header.agent, **arrays)
        check_statistics(statistics)
    return statistics


def _check_sizes(num_steps: int, num_actions: int, *sizes: int) -> None:
    """A header of ours has steps and actions, and nothing negative; two negative sizes would make a positive one."""
    if num_steps < 1 or num_actions < 1 or min(sizes, default=0) < 0:
        seen = f"{num_steps} steps, {num_actions} actions, sizes {sizes}"
        raise DamagedData(f"A stored game must have steps, actions and no negative size; got {seen}. Discard it.")


@contextlib.contextmanager
def _unsound_explained() -> Iterator[None]:
    """Bytes with a right digest may still hold what `encode_trajectory` would have refused."""
    try:
        yield
    except UserError as error:
        raise DamagedData(f"A stored game must be sound: {error} Discard it.") from error


def _seal(magic: bytes, header: msgspec.Struct | tuple[Any, ...], *columns: bytes | memoryview) -> bytes:
    encoded = _encoder.encode(header)
    padding = bytes(-(_HEADER_AT + len(encoded)) % 8)
    content = b"".join((len(encoded).to_bytes(4, "little"), encoded, padding, *columns))
    return b"".join((magic, content_digest(content), content))


def _unseal(magic: bytes, payload: bytes, decoder: msgspec.msgpack.Decoder[_AnyHeader]) -> tuple[_AnyHeader, int]:
    """The header of `payload`, and where its arrays begin."""
    view = memoryview(payload)
    if len(view) < _HEADER_AT or bytes(view[: len(magic)]) != magic:
        raise DamagedData(f"A stored game must begin with {magic!r}; these {len(view)} bytes do not. Discard them.")
    if content_digest(view[_LENGTH_AT:]) != bytes(view[len(magic) : _LENGTH_AT]):
        raise DamagedData(f"A stored game must match its digest; these {len(view)} bytes do not. Discard them.")
    header_end = _HEADER_AT + int.from_bytes(view[_LENGTH_AT:_HEADER_AT], "little")
    try:
        header = decoder.decode(view[_HEADER_AT:header_end])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise DamagedData(f"A stored game must have a readable header; got {error}. Discard it.") from error
    return header, header_end + -header_end % 8


def _split(payload: bytes, offset: int, fields: tuple[Field, ...]) -> dict[str, Any]:
    """The arrays that lie one after another from `offset` to the end of `payload`."""
    size = sum(field.num_bytes for field in fields)
    if offset + size != len(payload):
        raise DamagedData(
            f"A stored game must be as long as its header says, {offset + size} bytes; got {len(payload)}. Discard it."
        )
    arrays = {}
    for name, dtype, shape in fields:
        count = math.prod(shape)
        column = np.frombuffer(payload, dtype if dtype.kind != "b" else np.uint8, count, offset)
        try:
            arrays[name] = column.reshape(shape)
        except ValueError as error:  # of more dimensions than numpy has, or too large for it though empty
            raise DamagedData(f"A stored game must have a shape that numpy has; {error}. Discard it.") from error
        if dtype.kind == "b":
            if count and column.max() > 1:
                raise DamagedData(f"A stored game must have truth values in {name!r}; got others. Discard it.")
            arrays[name] = arrays[name].view(np.bool_)
        offset += count * dtype.itemsize
    return arrays


def content_digest(content: bytes | memoryview) -> bytes:
    """16 bytes that change with any bit of `content`."""
    return hashlib.blake2b(content, digest_size=_DIGEST_SIZE).digest()
