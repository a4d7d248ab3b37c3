"""Replay storage: one game as arrays, as bytes, in a SQLite file, and in the in-memory window that batches come from.

Knows trajectories; knows nothing of search, networks, games or how targets are computed. What it promises: a game is
stored once, whoever delivers it how often; a damaged byte is noticed before it is learned from; the window never grows.
"""

from numzero.replay.codec import DamagedData, decode_trajectory, encode_trajectory
from numzero.replay.store import GameStore
from numzero.replay.trajectory import Ended, Trajectory, check_trajectory
from numzero.replay.window import ReplayConfig, Sample, Window

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
