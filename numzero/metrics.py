"""What a run says of itself, one JSON object a line.

Knows typed events and a file that only grows; knows nothing of who shows them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any

import msgspec

__all__ = ["Evaluated", "Event", "Finished", "MetricsFile", "Progress", "Started", "read_metrics"]


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """A run began or was taken up again."""

    run: str
    game: str
    seed: int
    workers: int
    num_updates: int
    num_parameters: int


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """Where training stands; rates are over the time since the last such event."""

    seconds: float
    """Since this process started training."""
    updates: int
    steps: int
    """Environment steps, of all actors together."""
    games: int
    """Episodes finished."""
    updates_per_second: float
    steps_per_second: float
    samples_per_step: float
    """Learner samples per environment step so far: the replay ratio."""
    mean_return: float | None
    """Of episodes finished lately, as played in training; None before the first and for two players."""
    mean_length: float | None
    """Steps of those episodes."""
    losses: dict[str, float]
    """Means since the last event: total, policy, value, reward, consistency, and the learning rate."""
    selfplay_share: float
    """Share of the time spent in self-play (one-process runs)."""
    window_steps: int
    eta_seconds: float


class Evaluated(msgspec.Struct, frozen=True, kw_only=True, tag="evaluated"):
    """How the current agent did."""

    seconds: float
    updates: int
    steps: int
    scores: dict[str, Any]


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag="finished"):
    """The run reached its target, or was stopped."""

    seconds: float
    updates: int
    steps: int
    games: int
    reason: str


Event = Started | Progress | Evaluated | Finished


class MetricsFile:
    """Appends events to `metrics.jsonl`; each line is complete or absent once written."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("ab+")
        if self._file.tell():
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":  # a crash cut the last line off: do not write into it
                self._file.write(b"\n")

    def write(self, event: Event) -> None:
        """Append one event."""
        self._file.write(msgspec.json.encode(event) + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: Path) -> list[Event]:
    """All whole events of a metrics file; a last line cut off by a crash is left out."""
    events: list[Event] = []
    for line in path.read_bytes().split(b"\n"):
        try:
            events.append(msgspec.json.decode(line, type=Event))
        except msgspec.DecodeError:
            continue
    return events
