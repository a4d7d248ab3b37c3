"""One game as bytes with a digest.

Knows the format; knows nothing of where the bytes are kept.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import msgspec
import numpy as np

from numzero.errors import UserError
from numzero.replay.trajectory import (
    OBSERVATION_DTYPES,
    Ended,
    Field,
    Trajectory,
    check_trajectory,
    layout,
)

__all__ = ["DamagedData", "decode_trajectory", "encode_trajectory"]


class DamagedData(UserError):
    """Stored bytes are not what was written."""


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
    fields = layout(trajectory.num_steps, trajectory.legal.shape[1], observation.shape[1:], observation.dtype)
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
        fields = layout(
            header.num_steps,
            header.num_actions,
            header.observation_shape,
            OBSERVATION_DTYPES[header.observation_dtype],
        )
    except (msgspec.DecodeError, KeyError) as error:
        raise DamagedData(f"A stored game must have a readable header; got {error}. Discard it.") from error
    arrays = _split(payload, header_end + -header_end % 8, fields)
    return Trajectory(game_id=header.game_id, ended=header.ended, **arrays)


def _split(payload: bytes, offset: int, fields: tuple[Field, ...]) -> dict[str, Any]:
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
