"""Replay storage: one game as arrays, as bytes, in a SQLite file, and in the in-memory window that batches come from.

Knows trajectories; knows nothing of search, networks, games or how targets are computed. What it promises: a game is
stored once, whoever delivers it how often; a damaged byte is noticed before it is learned from; the window never grows.
"""

from numzero.replay.codec import (
    DamagedData,
    decode_statistics,
    decode_trajectories,
    decode_trajectory,
    encode_statistics,
    encode_trajectory,
)
from numzero.replay.packed import PackedGames, Tape, check_trajectories, joined
from numzero.replay.store import GAME_NOTE, EncodedGame, GameRow, GameStore, StoreBusyError, encode_games
from numzero.replay.trajectory import (
    COLUMNS,
    UNKNOWN_VERSION,
    Column,
    Columns,
    Ended,
    Sizes,
    Statistics,
    Trajectory,
    check_trajectory,
    has_shares,
    layout,
    with_statistics,
    zero_columns,
)
from numzero.replay.window import MEBIBYTE, ReplayConfig, Sample, Window, slot_bytes, window_slots

__all__ = [
    "COLUMNS",
    "GAME_NOTE",
    "MEBIBYTE",
    "UNKNOWN_VERSION",
    "Column",
    "Columns",
    "DamagedData",
    "EncodedGame",
    "Ended",
    "GameRow",
    "GameStore",
    "PackedGames",
    "ReplayConfig",
    "Sample",
    "Sizes",
    "Statistics",
    "StoreBusyError",
    "Tape",
    "Trajectory",
    "Window",
    "check_trajectories",
    "check_trajectory",
    "decode_statistics",
    "decode_trajectories",
    "decode_trajectory",
    "encode_games",
    "encode_statistics",
    "encode_trajectory",
    "has_shares",
    "joined",
    "layout",
    "slot_bytes",
    "window_slots",
    "with_statistics",
    "zero_columns",
]
