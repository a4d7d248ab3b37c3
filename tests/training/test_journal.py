"""What a run says: written, then passed on, in order, whatever the disk does."""

from __future__ import annotations

from pathlib import Path

import pytest

from numzero.errors import DiskFullError
from numzero.metrics import Event, Finished, Noted, Started, read_metrics
from numzero.training.journal import Journal

STARTED = Started(run="runs/a", game="tictactoe", seed=0, workers=0, num_updates=10, num_parameters=7)
FINISHED = Finished(seconds=1.0, updates=10, steps=20, games=3, reason="finished")


def make_journal(folder: Path, *, gives_up: bool = False) -> tuple[Journal, list[Event]]:
    heard: list[Event] = []
    return Journal(folder / "metrics.jsonl", heard.append, lambda: gives_up), heard


def test_notes_from_before_the_first_event_follow_it(tmp_path: Path) -> None:
    """A story begins with its start; later notes come at once, dated by where the run is."""
    journal, heard = make_journal(tmp_path)
    journal.note("damaged", "Early.")
    journal.emit(STARTED)
    journal.at(2.5, 4)
    journal.note("died", "Late.")
    journal.emit(FINISHED)
    journal.close()
    early = Noted(seconds=0.0, updates=0, kind="damaged", message="Early.")
    late = Noted(seconds=2.5, updates=4, kind="died", message="Late.")
    assert heard == [STARTED, early, late, FINISHED]
    assert read_metrics(tmp_path / "metrics.jsonl") == heard


def test_a_full_disk_is_said_once_and_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said to whoever listens, not in a file that has no room."""
    monkeypatch.setattr("numzero.files._RETRY_SECONDS", 0.0)
    journal, heard = make_journal(tmp_path)
    journal.emit(STARTED)
    tries = []

    def write() -> None:
        tries.append(1)
        if len(tries) < 4:
            raise DiskFullError("there is no room.")

    journal.write(write)
    journal.close()
    assert len(tries) == 4
    assert [event.message for event in heard if isinstance(event, Noted)] == ["there is no room."]
    assert read_metrics(tmp_path / "metrics.jsonl") == [STARTED]


def test_nobody_waits_for_room_who_is_asked_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written is left out."""
    monkeypatch.setattr("numzero.files._RETRY_SECONDS", 0.0)
    journal, heard = make_journal(tmp_path, gives_up=True)

    def write() -> None:
        raise DiskFullError("there is no room.")

    journal.write(write)
    journal.close()
    assert len(heard) == 1
