"""What a run says of itself, one JSON object a line.

Knows typed events and a file that only grows; knows nothing of who shows them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from numzero.errors import UserError
from numzero.files import UNREADABLE, open_file, own_file
from numzero.paths import explained

__all__ = ["BY_LISTENER", "Diagnosed", "Evaluated", "Event", "Finished", "Met", "MetricsFile", "Noted", "Predicted"]
__all__ += ["Progress", "RandomPlayed", "Started", "history", "read_metrics"]

LARGEST_FILE = 2**32
LARGEST_LINE = 2**20
"""Bytes; a longer one is none of ours."""


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """A run began or was taken up again."""

    run: str
    game: str
    seed: int
    workers: int
    num_updates: int
    num_parameters: int
    reanalyze_workers: int = 0
    learner_threads: int = 1
    """Over which an update is split."""
    num_players: int = 1
    takes_vectors: bool = False
    """Actions are vectors, not numbers of a list."""
    reward_threshold: float | None = None
    """As `GameSpec.reward_threshold`."""
    offline: bool = False
    """No environment: it learns from stored games alone."""
    resumed_at: int | None = None
    """Updates it goes on from; None for a new run. What an earlier session said of later updates is undone."""
    window_slots: int = 0
    window_mb: float = 0.0
    """Most memory that the window will take, in MiB."""
    running_mb: float = 0.0
    """Most that episodes under way will take."""
    trees_mb: float = 0.0
    """Of all searches; 0 where only a body's own code knows its latents."""
    most_steps: int | None = None
    """Longer episodes are delivered in pieces, so that those under way keep to their memory; None: none will be."""
    disk_mb: int = 0
    """Bound of the store; 0: none."""


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
    samples_per_step: float | None
    """Learner samples per environment step so far: the replay ratio; None without steps."""
    reanalyzed: int = 0
    """Positions searched again."""
    reanalyzed_per_sample: float = 0.0
    """The same per learner sample."""
    mean_return: float | None
    """Of episodes finished lately, as played in training; None before the first and for two players."""
    mean_length: float | None
    """Steps of those episodes."""
    losses: dict[str, float]
    """Means since the last event: total, policy, value, reward, consistency, and the learning rate."""
    target_age: float | None = None
    """Updates since the weights that made the window's targets, on average."""
    weights_age: float | None = None
    """Updates since the weights that played the games that came in last."""
    busy: dict[str, float] = {}
    """Share of time at work by role: selfplay, learner, reanalyze, evaluate. In one process they share its time; a
    process of its own waits the rest."""
    memory_mb: dict[str, float] = {}
    """Resident memory by role, in MiB; in one process all of it is the learner's."""
    window_steps: int
    eta_seconds: float


class Predicted(msgspec.Struct, frozen=True, kw_only=True):
    """One scalar of the model against its target, means over a batch, by unroll step."""

    mean: list[float]
    """Predicted."""
    target: list[float]
    """What the targets were."""
    error: list[float]
    """|predicted - target|."""
    spread: list[float]
    """|target - its mean|: the error of a model that says the same of every position."""


class Diagnosed(msgspec.Struct, frozen=True, kw_only=True, tag="diagnosed"):
    """What the network said of one batch before it learned from it, against the targets."""

    updates: int
    steps: int
    value: Predicted
    """At unroll steps 0 to K."""
    reward: Predicted
    """Of unroll steps 1 to K."""
    policy_entropy: float
    """Of the network's policy at the sampled positions, in nats, mean."""
    search_entropy: float
    """Of the search's policy there."""
    uniform_entropy: float
    """The most that entropies can be: that of a uniform policy over all actions."""
    search_agreement: float
    """Share of positions where the network's likeliest action is the search's."""
    observation_spread: float | None = None
    """How far what the body sees of positions is from its mean, of its size: 0 where all are alike, 1 at most; runs of
    before do not say."""
    latent_spread: float | None = None
    """The same of the encodings that the body makes of them."""
    repeated: int = 0
    """Situations, all that was seen and done since an episode began and what was done then, that games came to twice or
    more; counted where the model knows of no chance."""
    repeated_by_chance: int = 0
    """Those of them that something else followed at another time."""


class RandomPlayed(msgspec.Struct, frozen=True, kw_only=True, tag="random"):
    """What a random policy gets, measured once in a run."""

    seconds: float
    updates: int
    """Made before; 0 but in runs that were begun by an earlier version."""
    steps: int
    scores: dict[str, Any]
    """As those of an evaluation, and `games`, of how many."""


class Met(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent came to against an earlier one of its run."""

    updates: int
    """Of the other."""
    wins: int
    draws: int
    losses: int


class Evaluated(msgspec.Struct, frozen=True, kw_only=True, tag="evaluated"):
    """How the current agent did."""

    seconds: float
    updates: int
    steps: int
    scores: dict[str, Any]
    games: int | None = None
    """Of how many; runs of before do not say."""
    met: tuple[Met, ...] = ()
    """Games against agents that were judged before, where the run rates its agents."""


class Noted(msgspec.Struct, frozen=True, kw_only=True, tag="noted"):
    """What is worth saying: a worker that died, a damaged checkpoint, what a check of the environment found."""

    seconds: float
    updates: int
    kind: str
    message: str
    """One sentence."""


BY_LISTENER = "ended by a listener"
"""Why a run finished whose listener asked for it."""


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag="finished"):
    """The run reached its target, or was stopped."""

    seconds: float
    updates: int
    steps: int
    games: int
    reason: str
    """`finished`, `interrupted`, `ended by a listener` or `failed`."""


Event = Started | Progress | Diagnosed | RandomPlayed | Evaluated | Noted | Finished


class MetricsFile:
    """Appends events to `metrics.jsonl`; each line is complete or absent, and ends with a checksum of itself.

    Raises:
        DamagedFilesError: something else than an ordinary file has its name.
    """

    def __init__(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            own_file(path)
        self._path = path
        with explained(path):
            self._file: IO[bytes] = path.open("ab+", buffering=0)
        size = self._file.tell()
        self._file.seek(max(0, size - LARGEST_LINE))
        content = self._file.read()
        last = content[content.rfind(b"\n") + 1 :]
        if last and _decode(last) is None:  # a crash cut it off
            self._file.truncate(size - len(last))
        elif last:
            self._append(b"\n")

    def write(self, event: Event) -> None:
        """Append one event.

        Raises:
            DiskFullError: there is no room; the file is as it was.
        """
        line = msgspec.json.encode(event)
        self._append(line[:-1] + _CHECKSUM % zlib.crc32(line) + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, line: bytes) -> None:
        size = self._file.seek(0, os.SEEK_END)
        try:
            with explained(self._path):
                written = self._file.write(line)
                if written < len(line):  # the last bytes of a disk
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except (OSError, UserError):
            self._file.truncate(size)
            raise


def history(events: Iterable[Event]) -> list[Event]:
    """The events of a run that was taken up again, without those of updates that a crash undid."""
    kept: list[Event] = []
    for event in events:
        if isinstance(event, Started) and event.resumed_at is not None:
            kept = [old for old in kept if isinstance(old, Started) or old.updates <= event.resumed_at]
        kept.append(event)
    return kept


def read_metrics(path: Path, on_damage: Callable[[str], None] | None = None) -> list[Event]:
    """All whole events of a metrics file; a last line cut off by a crash is left out.

    `on_damage` hears a sentence about each other line that is not what was written; they are left out too.

    Raises:
        DamagedFilesError: it is no ordinary file, or far too large.
    """
    events: list[Event] = []
    with open_file(path, LARGEST_FILE) as file:
        for number, line in enumerate(_lines(file), 1):
            event = _decode(line.removesuffix(b"\n"))
            if event is not None:
                events.append(event)
            elif line.endswith(b"\n") and on_damage is not None:
                on_damage(f"Line {number} of {path} is damaged. It is passed over.")
    return events


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file with their ends; of one that is too long only where it ends, if it does."""
    while line := file.readline(LARGEST_LINE):
        while not line.endswith(b"\n") and (rest := file.readline(LARGEST_LINE)):
            line = rest[-1:]
        yield line


_CHECKSUM = b',"crc32":"%08x"}'
"""Ends each line, over the line without it."""


def _decode(line: bytes) -> Event | None:
    """The event of one line, or None where it is not what was written."""
    size = len(_CHECKSUM % 0)
    content = line[:-size] + b"}"
    if line[-size:] != _CHECKSUM % zlib.crc32(content):
        return None
    try:
        event: Event = msgspec.json.decode(content, type=Event)
    except UNREADABLE:  # of a later version, say
        return None
    return event
