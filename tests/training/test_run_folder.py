"""The folder of a run: which of the agents that others are to meet stay in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from numzero.folders import RUN, FolderLock
from numzero.games import game_spec
from numzero.metrics import Evaluated, Event, Started
from numzero.training import run_folder
from numzero.training.run_folder import RunFolder

KEPT = 3


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunFolder]:
    """Of a run that keeps three judged agents."""
    monkeypatch.setattr(run_folder, "KEPT_JUDGED", KEPT)
    path = tmp_path / "run"
    with RunFolder(path, FolderLock(path, RUN), game_spec("tictactoe"), 0, lambda event: None, lambda: False) as made:
        yield made


def keep(folder: RunFolder, *updates: int) -> None:
    """Agents that may be judged."""
    for each in updates:
        folder.keep_for_judge(each, {"agent": b"%d" % each})


def judge(folder: RunFolder, updates: int) -> None:
    """The score of one comes."""
    folder.journal.emit(evaluated(updates))
    folder.prune_judged()


def evaluated(updates: int) -> Event:
    """A score."""
    return Evaluated(seconds=1.0, updates=updates, steps=1, scores={})


def kept(folder: RunFolder) -> list[int]:
    """Updates of those in the folder."""
    return sorted(int(path.name) for path in (folder.path / "judged").iterdir())


def met(folder: RunFolder) -> list[int]:
    """Updates of those that the next session's agents meet."""
    return [int(files["agent"]) for files in folder.judged_agents()]


def test_a_slow_judge_leaves_the_agents_that_it_judged(folder: RunFolder) -> None:
    """However many it passes over, none of those stays, and no judged one has to leave for them."""
    keep(folder, *range(1, 40))
    assert met(folder) == []
    judge(folder, 1)
    assert kept(folder) == [*range(1, 40)]  # which of these it took is not known
    judge(folder, 37)
    assert kept(folder) == [1, 37, 38, 39]
    judge(folder, 38)
    judge(folder, 39)
    keep(folder, 40)
    assert (kept(folder), met(folder)) == ([37, 38, 39, 40], [37, 38, 39])


def test_scores_that_a_crash_undid_are_none(folder: RunFolder) -> None:
    """The agent of as many updates is another now, and was not judged."""
    keep(folder, 2)
    judge(folder, 2)
    folder.journal.emit(evaluated(5))
    start = {"run": "r", "game": "tictactoe", "seed": 0, "workers": 0, "num_updates": 9, "num_parameters": 9}
    folder.journal.emit(Started(**start, resumed_at=3))
    keep(folder, 5)
    assert met(folder) == [2]


def test_a_damaged_copy_is_read_where_the_agent_still_is(folder: RunFolder) -> None:
    """Both places may have it; the one that verifies will do, and without one it is left out."""
    keep(folder, 1, 2)
    judge(folder, 1)
    judge(folder, 2)
    folder.save_agent(2, {"agent": b"2"})
    for name in ("000000001", "000000002"):
        (folder.path / "judged" / name / "agent").write_bytes(b"x")
    assert met(folder) == [2]
