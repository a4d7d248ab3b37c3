"""Random SIGKILLs and SIGSTOPs of any process: work goes on, and no finished game is lost or stored twice."""

from __future__ import annotations

import sqlite3
import sys
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import pytest

from numzero.replay import GameStore
from tests.chaos import Chaos, tell

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")

PATIENCE_SECONDS = 30.0
"""On a machine that does other things; the figure that is told is the longest time seen."""


def num_stored(folder: Path) -> int:
    """How many games a store that others write to holds."""
    path = folder / "replay.sqlite"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as connection:
        try:
            return int(connection.execute("SELECT num_games FROM totals WHERE id = 0").fetchone()[0])
        except (sqlite3.OperationalError, TypeError):
            return 0


def check_games(folder: Path, num_games: int) -> None:
    """All that was heard is stored, once; of every life the games are there without a gap, from the first on."""
    with GameStore(folder / "replay.sqlite") as store:
        assert store.problems() == []
        stored = [game.game_id for game in store.read_after(0, 10**6)[1]]
    assert len(stored) == len(set(stored)) >= num_games
    heard = (folder / "heard.txt").read_text(encoding="utf-8").splitlines()
    assert set(heard) <= set(stored)
    lives = defaultdict(list)
    for name in stored:
        life, _, number = name.rpartition("-")
        lives[life].append(int(number))
    assert all(numbers == list(range(len(numbers))) for numbers in lives.values())


@pytest.mark.parametrize(
    ("num_faults", "num_games"), [(8, 1500), pytest.param(300, 4000, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_nothing_is_lost_whoever_is_killed(tmp_path: Path, num_faults: int, num_games: int) -> None:
    """Runs of a program with three workers until there were so many faults; each reaches its target."""
    runs: list[Chaos] = []
    while (left := num_faults - sum(sum(run.faults.values()) for run in runs)) > 0:
        folder = tmp_path / str(len(runs))
        folder.mkdir()
        command = [sys.executable, "-m", "tests.runtime.player", str(folder), str(num_games)]
        runs.append(
            Chaos(
                lambda command=command: command,  # type: ignore[misc]
                lambda folder=folder: num_stored(folder),  # type: ignore[misc]
                folder / "log.txt",
                len(runs),
                PATIENCE_SECONDS,
            )
        )
        assert runs[-1].run(left)
        check_games(folder, num_games)
    tell("chaos", runs)
