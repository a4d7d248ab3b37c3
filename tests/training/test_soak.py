"""A long run of tiny games: no process grows, and neither do descriptors nor temporary files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from tests.chaos import ROOT, descendants, name_of
from tests.runtime.test_chaos import num_stored
from tests.training.test_chaos import OVERRIDES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads memory and descriptors from /proc")

SAMPLE_SECONDS = 0.5
WARM_UP_SHARE = 0.4
"""Of the time, in which the window and the store fill and caches reach their size."""
MEBIBYTE = 2**20
TABLE = 2.5
"""MiB that a table takes more when it doubles."""


def memory_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def num_temporary(folder: Path) -> int:
    """Files that are nobody's for long: of writers in the run, and of numzero and multiprocessing elsewhere."""
    shared = [path for path in (Path("/dev/shm"), Path(tempfile.gettempdir())) if path.is_dir()]
    ours = [name for _, folders, files in os.walk(folder) for name in folders + files if name.startswith(".")]
    return len(ours) + sum(len(list(path.glob("pym-*"))) for path in shared)


@pytest.mark.parametrize("seconds", [8, pytest.param(3600, marks=pytest.mark.slow)])
def test_nothing_grows(tmp_path: Path, seconds: int) -> None:
    """Trainer, actor and reanalyzer over so many seconds: less than 2 MB an hour, or what a short look cannot tell.

    A short look meets tables that double once, Python's own of names by 2 MB: it leaves out the one largest step, which
    says nothing of growth, up to `TABLE` of it. What grows goes on.
    """
    folder = tmp_path / "run"
    bounds = ("replay.capacity_steps=1000", "replay.disk_mb=1", "schedule.num_updates=100000000")
    bounds += ("runtime.patience_seconds=60",)  # nobody hangs here
    settings = [f"--set={setting}" for setting in (*OVERRIDES, *bounds, "evaluation.interval=0")]
    command = [sys.executable, "cli.py", "train", "tictactoe", "--run", str(folder), *settings]
    samples: dict[str, list[tuple[float, int, int]]] = defaultdict(list)
    temporary: list[int] = []
    log = tmp_path / "log.txt"
    with log.open("wb") as output:
        program = subprocess.Popen(
            [*command, "--workers", "1", "--reanalyze-workers", "1"], stdout=output, stderr=output, cwd=ROOT
        )
    try:
        deadline = time.monotonic() + 480.0  # the first on a machine compiles
        while num_stored(folder) < 300:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        started = time.monotonic()
        while (now := time.monotonic() - started) < seconds:
            for index, pid in enumerate([program.pid, *descendants(program.pid)]):
                name = "trainer" if index == 0 else f"{name_of(pid)} {index}"
                samples[name].append((now, memory_bytes(pid), len(os.listdir(f"/proc/{pid}/fd"))))
            temporary.append(num_temporary(folder))
            time.sleep(SAMPLE_SECONDS)
        num_games = num_stored(folder)
        program.send_signal(signal.SIGINT)
        assert program.wait(30) == 130, log.read_text()
    finally:
        program.kill()
        program.wait()
    assert len(samples) == 5, "trainer, tracker, who forks, actor and reanalyzer, the same ones to the end"
    for name, rows in samples.items():
        kept = np.array(rows, float)[int(WARM_UP_SHARE * len(rows)) :]
        slope = np.polyfit(kept[:, 0], kept[:, 1], 1)[0] * 3600 / MEBIBYTE
        grown = (np.median(kept[-5:, 1]) - np.median(kept[:5, 1])) / MEBIBYTE
        if seconds < 60:
            grown -= np.clip(np.diff(kept[:, 1]).max() / MEBIBYTE, 0.0, TABLE)
        sys.stdout.write(
            f"{name}: {kept[:, 1].mean() / MEBIBYTE:.0f} MB, {slope:+.2f} MB/h ({grown:+.2f} MB), "
            f"{kept[:, 2].min():.0f} to {kept[:, 2].max():.0f} descriptors\n"
        )
        assert slope < 2.0 or grown < (2.0 if seconds < 60 else 0.1), name
        assert kept[:, 2].max() <= kept[0, 2] + 3, "a file that is being written, and no more"
    assert max(temporary[len(temporary) // 2 :]) <= max(temporary[: len(temporary) // 2]) + 1
    sys.stdout.write(f"{seconds} s, {num_games} games in the store, at most {max(temporary)} temporary files\n")
