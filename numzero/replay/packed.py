"""Games under way on a tape, and games packed out of it as they are stored: all that end together at once.

Knows columns and their bytes; knows nothing of headers, digests and files, nor of learning.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from numzero.compiled import search_inline, search_kernel
from numzero.replay.trajectory import COLUMNS, Columns, Ended, Field, Sizes, Trajectory, check_trajectory, layout

__all__ = ["PackedGames", "Tape", "check_trajectories", "joined", "num_own_steps", "packed_from", "warm_up"]

_Int64Array = NDArray[np.int64]
_ALIGNED = 8
"""Games begin at multiples of so many bytes."""
_ANYTHING = 0xFFFFFFFF
_MOST_COPIED = 2**26
"""Bytes of games that are joined: a whole window twice in memory could be more than there is."""


class _Format(NamedTuple):
    """What kernels are told of the C columns, in the order of their bytes."""

    width: _Int64Array
    """`[C]` bytes of an entry."""
    extra: _Int64Array
    """`[C]` entries beyond the steps: 1 of columns of positions, else 0."""
    is_word: NDArray[np.bool_]
    """`[C]` whether numbers are looked at as four bytes, or as one."""
    mask: NDArray[np.uint32]
    """`[C]` the bits of a number that are looked at."""
    limit: NDArray[np.uint32]
    """`[C]` the most that these may be, so that the number is sound; `_ANYTHING` where none is looked at."""


@functools.lru_cache(maxsize=64)
def _format(sizes: Sizes) -> _Format:
    fields = layout(1, **sizes._asdict())
    bits = [_sound_bits(field, sizes.num_actions) for field in fields]
    return _Format(
        np.array([math.prod(field.shape[1:]) * field.dtype.itemsize for field in fields], np.int64),
        np.array([field.shape[0] - 1 for field in fields], np.int64),
        np.array([field.dtype.itemsize == 4 for field in fields]),
        np.array([mask for mask, _ in bits], np.uint32),
        np.array([limit for _, limit in bits], np.uint32),
    )


def _sound_bits(field: Field, num_actions: int) -> tuple[int, int]:
    """Mask and limit of a column's numbers, so that these are what `check_trajectory` asks for."""
    if field.dtype == np.float32:
        return 0x7FFFFFFF, 0x7F7FFFFF  # without the sign, the largest finite number
    if field.dtype == np.bool_:
        return _ANYTHING, 1
    limits = {"action": num_actions - 1, "outcome": 0x7FFFFFFF, "to_play": 1}  # negative ones are large without a sign
    return _ANYTHING, limits.get(field.name, _ANYTHING)


class Tape:
    """Columns of B games that move together, a row for each moment, in a ring.

    Attributes:
        columns: views `[room, B, ...]`, to be written to: what moment t is about stands in row t % room.
        room: of how many moments there are rows.
        sizes: of the games.
    """

    def __init__(self, batch_size: int, room: int, sizes: Sizes) -> None:
        self.batch_size, self.room, self.sizes = batch_size, room, sizes
        self._format = form = _format(sizes)
        self._step_bytes, self._more_bytes = _num_bytes(form)
        size = batch_size * form.width
        ends = np.cumsum(_aligned(size))
        self._offset = ends - _aligned(size)
        self._buffer = np.zeros((room, ends[-1]), np.uint8)
        self._words = self._buffer.view(np.uint32)
        views = {}
        for field, begin, end in zip(layout(1, **sizes._asdict()), self._offset, self._offset + size, strict=True):
            shape = room, batch_size, *field.shape[1:]
            views[field.name] = self._buffer[:, begin:end].view(field.dtype).reshape(shape)
        self.columns = Columns(**views)

    def grown(self, room: int, now: int) -> Tape:
        """One with more room, that holds the same of the moments before `now`."""
        longer = Tape(self.batch_size, room, self.sizes)
        for moment in range(max(0, now - self.room), now):
            longer._buffer[moment % room] = self._buffer[moment % self.room]
        return longer

    def packed(
        self,
        copies: _Int64Array,
        first: _Int64Array,
        num_steps: _Int64Array,
        game_ids: Sequence[str],
        ended: Sequence[Ended],
        lead_in: _Int64Array,
    ) -> PackedGames:
        """What N copies `[N]` did from the moments `first` `[N]` on, of so many steps each, and the position behind."""
        size = num_steps * self._step_bytes + self._more_bytes
        begin = np.zeros(len(copies) + 1, np.int64)
        np.cumsum(_aligned(size), out=begin[1:])
        content = np.empty(begin[-1], np.uint8)
        games = copies, first, num_steps, begin
        _pack(self._buffer, self._words, self._offset, self._format, *games, content, content.view(np.uint32))
        return PackedGames(content, begin, size, num_steps, game_ids, ended, lead_in, self.sizes)


def _num_bytes(form: _Format) -> tuple[int, int]:
    """Of the columns of a game for each of its steps, and beyond these."""
    return int(form.width.sum()), int(form.width @ form.extra)


@functools.lru_cache(maxsize=4096)
def _places(num_steps: int, sizes: Sizes) -> dict[str, tuple[int, int]]:
    """Where each column of a game begins and ends in its bytes."""
    fields = layout(num_steps, **sizes._asdict())
    ends = accumulate((field.num_bytes for field in fields), initial=0)
    return {field.name: place for field, place in zip(fields, pairwise(ends), strict=True)}


def _aligned(size: Any) -> Any:
    return (size + (_ALIGNED - 1)) // _ALIGNED * _ALIGNED


class PackedGames(Sequence[Trajectory]):
    """N games of the same sizes; a `Trajectory` of read-only views is made of each when it is asked for.

    Attributes:
        content: `[bytes]` uint8, the columns of each game as they are stored, one game behind the other; what lies
            between two games is of no meaning.
        begin: `[N + 1]` int64, where each game begins in it, a multiple of 8; the end at last.
        size: `[N]` int64, bytes of each.
        num_steps: `[N]` int64, T of each game.
        game_ids: of each game, as the next two.
        ended: how each came to its end.
        lead_in: `[N]` int64, how many of its positions were in the piece before too.
        sizes: of all games.
    """

    def __init__(
        self,
        content: NDArray[np.uint8],
        begin: _Int64Array,
        size: _Int64Array,
        num_steps: _Int64Array,
        game_ids: Sequence[str],
        ended: Sequence[Ended],
        lead_in: _Int64Array,
        sizes: Sizes,
    ) -> None:
        self.content, self.begin, self.size, self.num_steps = content, begin, size, num_steps
        self.game_ids, self.ended, self.lead_in, self.sizes = game_ids, ended, lead_in, sizes
        self._format = _format(sizes)

    @functools.cached_property
    def _shared(self) -> tuple[dict[str, Any], memoryview]:
        """What each game is made of: arguments of `layout`, and all bytes."""
        return self.sizes._asdict(), self.content.data.toreadonly()

    def __len__(self) -> int:
        """N."""
        return len(self.num_steps)

    def __iter__(self) -> Iterator[Trajectory]:
        """Each game."""
        return map(self._game, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Trajectory: ...
    @overload
    def __getitem__(self, index: slice) -> list[Trajectory]: ...
    def __getitem__(self, index: int | slice) -> Trajectory | list[Trajectory]:
        """One game, or some of them."""
        chosen = range(len(self))[index]
        return self._game(chosen) if isinstance(chosen, int) else [self._game(each) for each in chosen]

    def _game(self, index: int) -> Trajectory:
        arrays, offset, (about, view) = {}, int(self.begin[index]), self._shared
        for name, dtype, shape in layout(int(self.num_steps[index]), **about):
            arrays[name] = array = np.ndarray(shape, dtype, view, offset)
            offset += array.nbytes
        lead_in = int(self.lead_in[index])
        return Trajectory(game_id=self.game_ids[index], ended=self.ended[index], lead_in=lead_in, **arrays)

    def write(self, index: int, name: str, column: bytes) -> None:
        """Let a game have other bytes, as many, in one of its columns; none where it has no such column."""
        begin, end = _places(int(self.num_steps[index]), self.sizes)[name]
        if begin < end:
            game = int(self.begin[index])
            self.content.data[game + begin : game + end] = column

    def bytes_of_each(self) -> list[memoryview]:
        """The columns of each game."""
        view = self.content.data
        return [view[at : at + size] for at, size in zip(self.begin.tolist(), self.size.tolist(), strict=False)]

    def versions(self) -> list[int]:
        """What searched the last position of each that was moved from."""
        first, _ = next(iter(COLUMNS.items()))
        assert first == "model_version", "the column that comes first"
        version: list[int] = self.content.view(np.int64)[self.begin[:-1] // 8 + self.num_steps - 1].tolist()
        return version

    def are_sound(self) -> bool:
        """Whether a glance at all shows what `check_trajectory` asks of each; if not, one may be at fault, or none."""
        is_over = np.array([ended == "terminated" for ended in self.ended])
        words = self.content.view(np.uint32)
        games = self.begin, self.num_steps, self.lead_in, is_over
        return all(self.game_ids) and _are_sound(self.content, words, *games, self._format, _VALUES)


_VALUES = list(COLUMNS).index("root_value")


def packed_from(
    payloads: Sequence[bytes],
    offset: _Int64Array,
    num_steps: _Int64Array,
    game_ids: Sequence[str],
    ended: Sequence[Ended],
    lead_in: _Int64Array,
    sizes: Sizes,
) -> PackedGames | None:
    """Copies of N games whose columns lie from `offset` `[N]`, multiples of 8, to the end of some bytes each.

    None where one's columns are not as long as its steps and the sizes ask for.
    """
    length = np.array([len(payload) for payload in payloads], np.int64)
    step_bytes, more_bytes = _num_bytes(_format(sizes))
    size = num_steps * step_bytes + more_bytes
    if (offset + size != length).any():
        return None
    ends = np.cumsum(_aligned(length))
    begin = np.append(ends - _aligned(length) + offset, ends[-1])
    parts = chain.from_iterable((payload, bytes(-len(payload) % _ALIGNED)) for payload in payloads)
    content = np.frombuffer(b"".join(parts), np.uint8).copy()  # kernels are compiled for what can be written to
    return PackedGames(content, begin, size, num_steps, game_ids, ended, lead_in, sizes)


def joined(parts: Sequence[Sequence[Trajectory]]) -> Sequence[Trajectory]:
    """The games of all parts; packed where all are, with games of the same sizes, few enough to copy."""
    parts = [part for part in parts if part]
    if len(parts) == 1:
        return parts[0]
    packed = [part for part in parts if isinstance(part, PackedGames)]
    before = np.cumsum([0, *(len(part.content) for part in packed)])
    if len(packed) < len(parts) or len({part.sizes for part in packed}) != 1 or before[-1] > _MOST_COPIED:
        return list(chain.from_iterable(parts))
    begins = [begin + part.begin[:-1] for begin, part in zip(before, packed, strict=False)]
    return PackedGames(
        np.concatenate([part.content for part in packed]),
        np.concatenate([*begins, before[-1:]]),
        np.concatenate([part.size for part in packed]),
        np.concatenate([part.num_steps for part in packed]),
        [game_id for part in packed for game_id in part.game_ids],
        [ended for part in packed for ended in part.ended],
        np.concatenate([part.lead_in for part in packed]),
        packed[0].sizes,
    )


def num_own_steps(games: Sequence[Trajectory]) -> int:
    """Of all games together: how many steps are in no piece before."""
    if isinstance(games, PackedGames):
        return int((games.num_steps - games.lead_in).sum())
    return sum(game.num_own_steps for game in games)


def check_trajectories(games: Sequence[Trajectory]) -> None:
    """As `check_trajectory` of each; those that are packed are looked at together, one by one only if need be."""
    if isinstance(games, PackedGames) and games.are_sound():
        return
    for game in games:
        check_trajectory(game)


def warm_up() -> None:
    """Compile and cache the kernels, which are the same for all games."""
    tape = Tape(1, 2, Sizes(2, (1,), np.dtype(np.uint8)))
    zero = np.zeros(1, np.int64)
    check_trajectories(tape.packed(zero, zero, zero + 1, ["game"], ["cut"], zero))


@search_kernel
def _pack(
    buffer: NDArray[np.uint8],
    words: NDArray[np.uint32],
    offset: _Int64Array,
    form: _Format,
    copies: _Int64Array,
    first: _Int64Array,
    num_steps: _Int64Array,
    begin: _Int64Array,
    content: NDArray[np.uint8],
    content_words: NDArray[np.uint32],
) -> None:
    """Copy the columns of some games out of the ring, one behind the other.

    words: the same as `buffer`. content_words: the same as `content`.
    """
    for game in range(len(copies)):
        at = begin[game]
        for column in range(len(form.width)):
            count, size = num_steps[game] + form.extra[column], form.width[column]
            source, row = offset[column] + copies[game] * size, first[game] % len(buffer)
            if (size | source | at) % 4 == 0:
                _copy_entries(words, row, source // 4, size // 4, count, content_words, at // 4)
            else:
                _copy_entries(buffer, row, source, size, count, content, at)
            at += count * size
        content[at : begin[game + 1]] = 0


@search_inline
def _copy_entries(
    ring: NDArray[Any], row: int, source: int, size: int, count: int, content: NDArray[Any], at: int
) -> None:
    """`count` entries of so many numbers each, from a row on."""
    for _ in range(count if size else 0):
        for index in range(size):
            content[at + index] = ring[row, source + index]
        at += size
        row = row + 1 if row + 1 < len(ring) else 0


@search_kernel
def _are_sound(
    content: NDArray[np.uint8],
    words: NDArray[np.uint32],
    begin: _Int64Array,
    num_steps: _Int64Array,
    lead_in: _Int64Array,
    is_over: NDArray[np.bool_],
    form: _Format,
    values: int,
) -> bool:
    """Whether each game has steps of its own, numbers within limits, and nothing to come where it is over.

    content: `[bytes]`, the same as `words`. values: the number of the column of root values.
    """
    for game in range(len(num_steps)):
        if lead_in[game] < 0 or lead_in[game] >= num_steps[game]:
            return False
        end = begin[game]
        for column in range(len(form.width)):
            at, end = end, end + (num_steps[game] + form.extra[column]) * form.width[column]
            mask, limit = form.mask[column], form.limit[column]
            most = np.uint32(0)
            if limit != _ANYTHING and form.is_word[column]:
                for index in range(at // 4, end // 4):
                    most = max(most, words[index] & mask)
            elif limit != _ANYTHING:
                for index in range(at, end):
                    most = max(most, np.uint32(content[index]))
            if most > limit or (column == values and is_over[game] and words[end // 4 - 1] & mask):
                return False
    return True
