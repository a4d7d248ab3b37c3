"""A worker in a process of Ray's: what a call brings and takes away, and what its role sees of the world.

Knows what is said between an actor and whoever directs it; knows nothing of what roles do, and opens no store.
"""

from __future__ import annotations

import mmap
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from numzero import crash_context
from numzero.replay import (
    EncodedGame,
    GameRow,
    Statistics,
    Trajectory,
    decode_trajectories,
    encode_games,
    encode_statistics,
)
from numzero.runtime import family
from numzero.runtime.base import WEIGHTS, State, add_counts
from numzero.runtime.ray.library import Surroundings, ray, version_here
from numzero.runtime.worker import last_word
from numzero.usage import resident_bytes

__all__ = ["Actor", "At", "News", "Report", "WorkerStart", "where_it_was"]

IDLE_SECONDS = 0.02
"""How long a worker with nothing to do sleeps."""


class WorkerStart(NamedTuple):
    """What an actor is told when it begins."""

    name: str
    unit: str
    life: int
    told: dict[str, int | float]
    work: list[Any]
    """A reference to the role and its task, which are imported when the actor can say what goes wrong."""


class News(NamedTuple):
    """What a call brings."""

    heard: int
    """Number of the last report that arrived."""
    granted: int
    """Units that may be done, counted from the beginning of the runtime."""
    seconds: float
    """How long the call may stay."""
    stopping: bool
    published: dict[str, tuple[int, list[Any]]]
    """Version and reference of the newest files of each channel."""
    answer: tuple[int, Any]
    """Number of a question, and its answer."""


class At(NamedTuple):
    """Where an actor is."""

    machine: str
    """Ray's id of its node."""
    address: str
    file: str
    """In which it notes where it is inside an environment."""


class Report(NamedTuple):
    """What a call takes away."""

    number: int
    games: list[EncodedGame]
    counts: dict[str, Any]
    units: int
    """Done since the beginning of the runtime."""
    stride: int
    """Most units that were done between two looks at the budget."""
    is_hungry: bool
    """Whether it waits for more budget."""
    signs: int
    waiting_share: float
    memory_bytes: int
    question: tuple[int, str, tuple[Any, ...]]
    """Number (0: none), what is asked for, and of what."""
    last_word: tuple[str, str]
    """How the role ended, as `worker.last_word` has it; ("", "") while it works."""
    at: At
    version: str
    """Of numzero."""


class Actor:
    """One life of a worker, in a process of Ray's."""

    def __init__(self, surroundings: Surroundings, start: WorkerStart) -> None:
        surroundings.enter()
        self.start = start
        self.changed = threading.Condition()
        self.news = News(0, 0, 0.0, False, {}, (0, None))
        self.units = int(start.told.get(start.unit, 0))
        self.signs = 0
        self.stride = 1
        self.waiting_seconds = 0.0
        self.is_hungry = False
        self.games: list[EncodedGame] = []
        self.counts: dict[str, Any] = {}
        self.question: tuple[int, str, tuple[Any, ...]] = 0, "", ()
        self.answer: tuple[int, Any] = 0, None
        self._began = time.monotonic()
        self._last_word = "", ""
        self._asked = 0
        self._report: Report | None = None
        self._make_place()
        threading.Thread(target=self._work, daemon=True).start()

    def _make_place(self) -> None:
        """The file that outlives this process if the environment ends it."""
        context = ray.get_runtime_context()
        path = Path(context.get_temp_dir()) / f"numzero-{secrets.token_hex(8)}.place"
        path.write_bytes(bytes(crash_context.SIZE))
        with path.open("r+b") as file:
            self._place = memoryview(mmap.mmap(file.fileno(), crash_context.SIZE))
        crash_context.keep_in(self._place)
        self._at = At(context.get_node_id(), ray.util.get_node_ip_address(), str(path))

    def call(self, news: News) -> Report:
        """Take in what is new, and say what there is to say, waiting a moment for it."""
        with self.changed:
            if self._report is not None and news.heard < self._report.number:
                return self._report  # it was lost on its way
            self.news = news
            self.answer = news.answer if news.answer[0] > self.answer[0] else self.answer
            self.is_hungry = self.is_hungry and news.granted <= self.units
            self.changed.notify_all()
            if self._report is not None:
                self.changed.wait_for(self._is_urgent, news.seconds)
            self._report = self._next_report()
            return self._report

    def _is_urgent(self) -> bool:
        is_hungry = self.is_hungry and not self.news.stopping
        return is_hungry or self.question[0] > self._asked or self._last_word[0] != ""

    def _next_report(self) -> Report:
        games, self.games = self.games, []
        counts, self.counts = self.counts, {}
        self._asked = self.question[0]
        lived = max(time.monotonic() - self._began, 1e-9)
        return Report(
            number=1 if self._report is None else self._report.number + 1,
            games=games,
            counts=counts,
            units=self.units,
            stride=self.stride,
            is_hungry=self.is_hungry,
            signs=self.signs,
            waiting_share=min(1.0, self.waiting_seconds / lived),
            memory_bytes=resident_bytes(),
            question=self.question if self.question[0] > self.answer[0] else (0, "", ()),
            last_word=self._last_word,
            at=self._at,
            version=version_here(),
        )

    def _work(self) -> None:
        """The thread of the role."""
        said = "done", ""
        try:
            role, task = ray.get(self.start.work[0])
            with family.no_orphans(ends_rest=True):
                for _ in role(task, RayMailbox(self)):
                    pass
        except Exception as error:
            said = last_word(error)
        except BaseException:  # a library that calls exit
            os._exit(1)
        with self.changed:
            Path(self._at.file).unlink(missing_ok=True)
            self._last_word = said
            self.changed.notify_all()


class RayMailbox:
    """What a role in an actor sees of the world; see `Mailbox`."""

    keeps_state = False

    def __init__(self, actor: Actor) -> None:
        self.life, self.told = actor.start.life, actor.start.told
        self._actor = actor
        self._unit = actor.start.unit

    def newest_weights(self, newer_than: int, channel: str = WEIGHTS) -> tuple[int, dict[str, bytes]] | None:
        self._live()
        version, references = self._actor.news.published.get(channel, (newer_than, []))
        return (version, ray.get(references[0])) if version > newer_than else None

    def stored_games(self, after: int) -> list[GameRow]:
        return [GameRow(*row) for row in self._ask("stored_games", after)]

    def oldest_game(self) -> int:
        return int(self._ask("oldest_game"))

    def read_games(self, sequences: Sequence[int]) -> Sequence[Trajectory]:
        return decode_trajectories(self._ask("read_games", list(sequences)))

    def put_statistics(self, statistics: Sequence[Statistics]) -> int | None:
        found: int | None = self._ask("put_statistics", [encode_statistics(each) for each in statistics])
        return found

    def _ask(self, what: str, *of: Any) -> Any:
        """Something about stored games, of the process that has their store."""
        actor = self._actor
        self._live()
        with actor.changed:
            number = actor.question[0] + 1
            actor.question = number, what, of
            actor.changed.notify_all()
            actor.changed.wait_for(lambda: actor.answer[0] == number)
            self._live()
            return actor.answer[1]

    def deliver(self, trajectories: Sequence[Trajectory]) -> None:
        self._live()
        games = encode_games(trajectories)
        with self._actor.changed:
            self._actor.games += games

    def report(self, counts: Mapping[str, Any]) -> None:
        self._live()
        actor, units = self._actor, counts.get(self._unit, 0)
        with actor.changed:
            actor.units += units
            actor.stride = max(actor.stride, units)
            add_counts(actor.counts, counts)

    def budget(self) -> int:
        self._live()
        actor = self._actor
        with actor.changed:
            left = actor.news.granted - actor.units
            if left <= 0 and not actor.is_hungry:
                actor.is_hungry = True
                actor.changed.notify_all()
        return left

    def stopping(self) -> bool:
        self._live()
        return self._actor.news.stopping

    def wait(self) -> None:
        started = time.monotonic()
        with self._actor.changed:
            self._actor.changed.wait(IDLE_SECONDS)
        self._actor.waiting_seconds += time.monotonic() - started
        self._live()

    def keep_state(self, save: Callable[[], State]) -> State | None:
        del save
        return None

    def _live(self) -> None:
        self._actor.signs += 1


def where_it_was(path: str) -> str:
    """Where a dead actor of this machine was inside an environment; its file is removed."""
    file = Path(path)
    found = crash_context.describe(memoryview(file.read_bytes()))
    file.unlink()
    return found
