"""An environment that starts programs, in every way that hides them, and never ends one of them."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.games.environments import Corridor

PIDS = "NUMZERO_TEST_PIDS"
"""Names the folder in which every program leaves a file named by its process id."""
SECONDS = 600


def stay(folder: str) -> None:
    """Say who one is, and stay."""
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(SECONDS)


PROGRAM = f"""
import os, pathlib, sys, time
(pathlib.Path(sys.argv[1]) / str(os.getpid())).touch()
time.sleep({SECONDS})
"""
DAEMON = f"""
import os, subprocess, sys
subprocess.Popen([sys.executable, "-S", "-c", {PROGRAM!r}, sys.argv[1]], start_new_session=True)
"""


def start_all(folder: str) -> int:
    """A child, one of multiprocessing that is no daemon, a fork, an orphan in a session of its own; how many."""
    subprocess.Popen([sys.executable, "-S", "-c", PROGRAM, folder])
    multiprocessing.get_context("spawn").Process(target=stay, args=(folder,)).start()
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        stay(folder)
        os._exit(0)
    os.wait()  # the first of them that ends, in the middle
    subprocess.run([sys.executable, "-S", "-c", DAEMON, folder], check=True)
    return 4


class WithChildren(Corridor):
    """A corridor whose simulator is a handful of programs."""

    _started = False

    def reset(self, *, seed: int | None = None, options: object = None) -> object:
        if not WithChildren._started:  # once in each process
            WithChildren._started = True
            start_all(os.environ[PIDS])
        return super().reset(seed=seed)
