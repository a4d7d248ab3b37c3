"""metrics.jsonl: what is written can be read again, whatever a crash left behind."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from numzero.errors import DiskFullError
from numzero.metrics import (
    Diagnosed,
    Evaluated,
    Event,
    Finished,
    MetricsFile,
    Noted,
    Predicted,
    Progress,
    RandomPlayed,
    Started,
    history,
    read_metrics,
)

EVENTS: list[Event] = [
    Started(run="runs/a", game="tictactoe", seed=2**40, workers=0, num_updates=10, num_parameters=72655),
    Progress(
        seconds=1.5,
        updates=3,
        steps=40,
        games=2,
        updates_per_second=2.0,
        steps_per_second=26.7,
        samples_per_step=4.0,
        mean_return=None,
        mean_length=7.5,
        losses={"total": 3.25, "policy": 2.0, "learning_rate": 1e-3},
        busy={"selfplay": 0.3},
        window_steps=40,
        eta_seconds=3.5,
    ),
    Diagnosed(
        updates=5,
        steps=60,
        value=Predicted(mean=[0.5, 0.25], target=[1.0, 1.0], error=[0.5, 0.75], spread=[0.125, 0.0]),
        reward=Predicted(mean=[1.0], target=[1.0], error=[0.0], spread=[0.0]),
        policy_entropy=0.5,
        search_entropy=0.25,
        uniform_entropy=0.75,
        search_agreement=0.875,
    ),
    RandomPlayed(seconds=0.5, updates=0, steps=0, scores={"mean_return": -200.0, "games": 32}),
    Evaluated(seconds=2.0, updates=5, steps=60, scores={"mean": 0.5, "by_opponent": {"random": [1, 2]}, "text": "é\n"}),
    Noted(seconds=3.0, updates=7, kind="died", message="worker numzero-selfplay-0 died (exit code -9)."),
    Finished(seconds=4.0, updates=10, steps=120, games=9, reason="finished"),
]


def write(path: Path, events: list[Event]) -> None:
    file = MetricsFile(path)
    for event in events:
        file.write(event)
    file.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def test_every_event_comes_back_as_it_was_written(path):
    """One of each type, in order."""
    assert {type(event) for event in EVENTS} == set(get_args(Event))
    write(path, EVENTS)
    assert read_metrics(path) == EVENTS


def test_each_event_is_one_line_of_json_that_says_its_type(path):
    """So that any other program can read it."""
    write(path, EVENTS)
    lines = path.read_text("utf-8").splitlines()
    types = ["started", "progress", "diagnosed", "random", "evaluated", "noted", "finished"]
    assert [json.loads(line)["type"] for line in lines] == types


def test_an_event_is_in_the_file_before_it_is_closed(path):
    """Whoever looks on sees it at once, and a killed run has lost nothing."""
    file = MetricsFile(path)
    file.write(EVENTS[0])
    assert read_metrics(path) == EVENTS[:1]
    file.close()


def test_a_file_is_continued_rather_than_begun_again(path):
    """A run taken up again adds to what it said before."""
    write(path, EVENTS[:2])
    write(path, EVENTS[2:])
    assert read_metrics(path) == EVENTS


def test_a_last_line_that_was_cut_off_is_left_out_wherever_it_was_cut(path):
    """Every length of the file gives the events whose lines are whole."""
    write(path, EVENTS)
    content = path.read_bytes()
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        ends = [i for i, byte in enumerate(content) if byte == ord("\n")]
        assert read_metrics(path) == EVENTS[: sum(length >= end for end in ends)]


def test_what_follows_a_cut_line_is_not_lost_with_it(path):
    """A new event after a crash begins a line of its own."""
    write(path, EVENTS[:2])
    path.write_bytes(path.read_bytes()[:-10])
    write(path, EVENTS[2:])
    assert read_metrics(path) == [EVENTS[0], *EVENTS[2:]]
    assert b"\n\n" not in path.read_bytes()


def test_every_flipped_bit_is_noticed(path):
    """The events of the lines that are whole come back, and each damaged line is named."""
    write(path, EVENTS)
    content = path.read_bytes()
    for i in range(len(content)):
        flipped = content[:i] + bytes([content[i] ^ (1 << i % 8)]) + content[i + 1 :]
        path.write_bytes(flipped)
        said: list[str] = []
        found = read_metrics(path, said.append)
        assert all(event in EVENTS for event in found)
        cut_off = not flipped.endswith(b"\n")  # the last line is no longer told from one that a crash cut
        assert len(found) >= len(EVENTS) - 2, "a newline that is none joins two lines"
        assert said or cut_off, f"byte {i}"


def test_a_full_disk_leaves_the_file_as_it_was(path, monkeypatch):
    """Half a line is taken back, one sentence says what is wrong, and later there is room."""

    class Full(io.FileIO):
        room = 100

        def write(self, line: Any) -> int:
            return super().write(bytes(line)[: self.room])

    file = MetricsFile(path)
    file.write(EVENTS[0])
    file._file.close()
    file._file = Full(path, "ab+")
    before = path.read_bytes()
    with pytest.raises(DiskFullError, match=r"no room on the disk for .*metrics\.jsonl"):
        file.write(EVENTS[1])
    assert path.read_bytes() == before
    file._file.room = 10**6
    file.write(EVENTS[1])
    file.close()
    assert read_metrics(path) == EVENTS[:2]


def test_an_empty_file_holds_no_events(path):
    """As a run has it before its first."""
    MetricsFile(path).close()
    assert read_metrics(path) == []


def test_a_resumed_runs_history_is_one_story():
    """What an earlier session said of updates after the checkpoint was undone; all else stays, in order."""
    started, progress = EVENTS[0], EVENTS[1]
    later = msgspec.structs.replace(progress, updates=9)
    again = msgspec.structs.replace(started, resumed_at=5)
    assert history([started, progress, later, again, later]) == [started, progress, again, later]
    assert history([started, progress, later]) == [started, progress, later]
