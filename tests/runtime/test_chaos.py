"""Random SIGKILLs and SIGSTOPs of any process: work goes on, and no finished game is lost or stored twice."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from numzero.replay import GameStore
from tests.chaos import ROOT, Chaos, tell

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


def check_games(folder: Path, num_games: int, log: Path) -> None:
    """All that was heard is stored, once; of every life the games are there without a gap, from the first on."""
    with GameStore(folder / "replay.sqlite") as store:
        assert store.problems() == []
        stored = [game.game_id for game in store.read_after(0, 10**6)[1]]
    assert len(stored) == len(set(stored)) >= num_games
    heard = log.read_text(encoding="utf-8").splitlines()
    assert set(heard) <= set(stored)
    lives = defaultdict(list)
    for name in stored:
        life, _, number = name.rpartition("-")
        lives[life].append(int(number))
    assert all(numbers == list(range(len(numbers))) for numbers in lives.values())


@pytest.mark.parametrize(
    ("num_faults", "num_games"), [(5, 800), pytest.param(300, 4000, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_nothing_is_lost_whoever_is_killed(tmp_path: Path, num_faults: int, num_games: int) -> None:
    """Runs of a program with three workers until there were so many faults; each reaches its target."""
    runs: list[Chaos] = []
    while (left := num_faults - sum(sum(run.faults.values()) for run in runs)) > 0:
        folder = tmp_path / str(len(runs))
        heard = tmp_path / f"heard-{len(runs)}.txt"
        command = [sys.executable, "-m", "tests.runtime.player", str(folder), str(num_games), str(heard)]
        runs.append(
            Chaos(
                lambda command=command: command,  # type: ignore[misc]
                lambda folder=folder: num_stored(folder),  # type: ignore[misc]
                tmp_path / f"log-{len(runs)}.txt",
                len(runs),
                PATIENCE_SECONDS,
            )
        )
        assert runs[-1].run(left)
        check_games(folder, num_games, heard)
    tell("chaos", runs)


SMALL_DISK = """
mount -t tmpfs -o size=4m none "$1"
mkdir "$1/run"
"$2" -m tests.runtime.player "$1/run" "$3" "$4" && cp -r "$1/run" "$5"
"""


def can_mount() -> bool:
    """Whether this machine lets a process have file systems of its own."""
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="makes a disk of 4 MB")
def test_work_waits_for_room_on_a_full_disk_and_goes_on(tmp_path: Path) -> None:
    """One message about each file that found no room, nothing damaged, nothing lost, and the target is reached."""
    disk, heard, copy, log = (tmp_path / name for name in ("disk", "heard", "copy", "log"))
    disk.mkdir()
    num_games = 2000
    command = ["unshare", "-rm", "sh", "-c", SMALL_DISK, "sh", disk, sys.executable, str(num_games), heard, copy]
    with log.open("wb") as output:
        program = subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT, start_new_session=True)

    def num_heard() -> int:
        return heard.read_bytes().count(b"\n") if heard.exists() else 0

    try:
        wait_until(lambda: num_heard() > 200, log)
        filler = Path(f"/proc/{program.pid}/root{disk}/filler")  # as the program sees it
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        wait_until(lambda: "no room" in log.read_text() and "is full" in log.read_text(), log)
        time.sleep(2.5)  # long enough for a worker that was thought to hang to be replaced
        before = num_heard()
        time.sleep(1.0)
        assert num_heard() == before < num_games
        filler.unlink()
        assert program.wait(60) == 0, log.read_text()
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()
    sentences = log.read_text().splitlines()
    assert len(sentences) == len(set(sentences)) <= 4, "said once by each"
    assert all("no room" in sentence or "is full" in sentence for sentence in sentences)
    check_games(copy, num_games, heard)


def wait_until(condition: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + 90.0
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
