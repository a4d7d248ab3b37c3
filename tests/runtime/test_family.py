"""Families: what a process started ends with it, however it ends, and nothing else does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos import ROOT, await_all, is_alive, kill_all
from tests.runtime import roles
from tests.runtime.test_runtimes import Bench

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whose descendant an orphan is")

PROGRAM = """
import os, subprocess, sys, time
from pathlib import Path
from numzero.runtime.family import no_orphans
from tests.games.with_children import PROGRAM, start_all

if __name__ == "__main__":
    folder = sys.argv[1]
    before = subprocess.Popen([sys.executable, "-S", "-c", PROGRAM, sys.argv[2]])
    with no_orphans(ends_rest=sys.argv[3] == "rest"):
        start_all(folder)
        clean = {name: value for name, value in os.environ.items() if name == "PATH"}
        subprocess.Popen([sys.executable, "-S", "-c", PROGRAM, folder], env=clean, start_new_session=True)
        while len(os.listdir(folder)) < 5 or not os.listdir(sys.argv[2]):
            time.sleep(0.01)
        if sys.argv[3] != "leave":
            time.sleep(1.5)  # until the watcher has seen the one without a mark
        if sys.argv[3] == "wait":
            print("ready", flush=True)
            time.sleep(600)
    os._exit(0)  # multiprocessing would wait for its own
"""


class Program:
    """A process with five others below it, and one that it started before it asked for a watcher."""

    def __init__(self, folder: Path, how: str) -> None:
        self.inside, self.before = folder / "inside", folder / "before"
        self.inside.mkdir()
        self.before.mkdir()
        words = [sys.executable, "-c", PROGRAM, str(self.inside), str(self.before), how]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)

    def await_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def pids(self, folder: Path) -> list[int]:
        return [int(path.name) for path in folder.iterdir()]


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[[str], Program]]:
    made: list[Program] = []

    def make(how: str) -> Program:
        made.append(Program(tmp_path, how))
        return made[-1]

    yield make
    for each in made:
        each.process.kill()
        kill_all(each.pids(each.inside) + each.pids(each.before))
        each.process.communicate(timeout=60)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM, signal.SIGABRT])
def test_what_was_started_ends_with_a_process_that_dies(number: int, program: Callable[[str], Program]) -> None:
    """Children, forks, orphans in sessions of their own, one without our environment; what was there before stays."""
    family = program("wait")
    family.await_ready()
    pids = family.pids(family.inside)
    assert len(pids) == 5
    assert all(map(is_alive, pids))
    family.process.send_signal(number)
    await_all(pids)
    assert all(map(is_alive, family.pids(family.before)))
    assert family.process.wait(10) != 0


@pytest.mark.parametrize("how", ["rest", "leave"])
def test_what_still_runs_at_the_end_is_ended_only_where_that_was_asked(
    how: str, program: Callable[[str], Program]
) -> None:
    """A command ends all it started; a notebook in which an agent was trained keeps what else it started."""
    family = program(how)
    assert family.process.wait(60) == 0
    pids = family.pids(family.inside)
    assert len(pids) == 5
    if how == "rest":
        await_all(pids)
    else:
        time.sleep(1.0)
        assert all(map(is_alive, pids))
    assert all(map(is_alive, family.pids(family.before)))


def test_the_watcher_holds_no_output_open_and_ends_too() -> None:
    """Who reads a killed program's output to its end is not kept waiting, and nothing of ours is left."""
    code = (
        "import os, signal\nfrom numzero.runtime.family import no_orphans\nwith no_orphans():\n"
        "    print(os.getpid(), flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 10.0
    while watchers(int(done.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def watchers(pid: int) -> list[bytes]:
    """Command lines of the watchers of a process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.endswith(b"family.py") for word in words) and str(pid).encode() in words:
            found.append(path.read_bytes())
    return found


@pytest.mark.parametrize("role", [roles.start_daemon, roles.start_group])
@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_what_an_environment_hid_ends_with_its_worker(how: str, role: Callable[..., object], tmp_path: Path) -> None:
    """An orphan in a session of its own, and a process that left the worker's group."""
    bench = Bench("processes", tmp_path)
    try:
        bench.start(role, roles.Task(str(tmp_path)))
        bench.poll(lambda: "pids" in bench.counts and bool([*tmp_path.glob("pid-*")]))
        (server,) = (int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*"))
        assert is_alive(server)
        if how == "killed":
            os.kill(bench.counts["pids"][0], signal.SIGKILL)
            bench.poll(lambda: bool(bench.notices))
        else:
            bench.runtime.stop()
        await_all([server])
    finally:
        bench.runtime.close()


STARTING = """
import sys
from pathlib import Path
from numzero.runtime.base import Place
from numzero.runtime.processes import ProcessRuntime
from tests.runtime import roles

if __name__ == "__main__":
    runtime = ProcessRuntime(Place(Path(sys.argv[1]) / "replay.sqlite", Path(sys.argv[1]) / "weights"))
    print("starting", flush=True)
    runtime.start(roles.idle, [roles.Task(str(number)) for number in range(4)])
    while True:
        runtime.poll(0.1)
"""


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.1, 0.2, 0.4, 0.8])
def test_workers_that_are_still_starting_end_with_their_parent(moment: float, tmp_path: Path) -> None:
    """At whatever moment of their start it is killed; one that is stopped meanwhile, too."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMZERO_TEST_MARK": str(tmp_path)}
    command = [sys.executable, "-c", STARTING, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "starting\n"
        time.sleep(moment)
        workers = [pid for pid in with_variable(f"NUMZERO_TEST_MARK={tmp_path}") if pid != parent.pid]
        if workers and moment:  # at the very first moment it has not asked yet to end with its parent
            os.kill(workers[-1], signal.SIGSTOP)
        parent.kill()
    deadline = time.monotonic() + 10.0
    while left := with_variable(f"NUMZERO_TEST_MARK={tmp_path}"):
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def with_variable(text: str) -> list[int]:
    """Processes that were started with this in their environment, but for the tracker and the watcher."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            is_one = text.encode() in (path / "environ").read_bytes().split(b"\0")
            words = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if is_one and is_alive(int(path.name)) and b"resource_tracker" not in words and b"family.py" not in words:
            found.append(int(path.name))
    return found


def test_an_environment_can_end_its_own_processes_in_a_worker(tmp_path: Path) -> None:
    """It may have some of multiprocessing, and SIGTERM means to them what it means elsewhere."""
    bench = Bench("processes", tmp_path)
    try:
        bench.start(roles.end_children, roles.Task("a"))
        bench.poll(lambda: "codes" in bench.counts)
        assert bench.counts["codes"] == [-signal.SIGTERM] * 3
    finally:
        bench.runtime.close()
