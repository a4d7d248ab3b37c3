"""Runtimes: one suite that every runtime passes, and what only processes have to stand."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from numzero.errors import UserError
from numzero.replay import GameStore, Statistics
from numzero.runtime import supervision
from numzero.runtime.base import AGENTS, KINDS, WEIGHTS, Notice, Place, Runtime, RuntimeConfig, add_counts
from numzero.runtime.factory import make_runtime
from numzero.runtime.shelf import Shelf
from numzero.training.roles.selfplay import SelfPlayConfig, SelfPlayTask, warm_up
from tests import warm
from tests.chaos import is_alive
from tests.runtime import roles
from tests.runtime.roles import Task
from tests.tiny import SEARCH, model_files

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 240.0


class Bench:
    """A runtime under test, and all that it has said so far."""

    def __init__(self, kind: str, folder: Path, **config: Any) -> None:
        self.kind = kind
        self.store = folder / "replay.sqlite"
        self.place = Place(self.store, folder / "weights", RuntimeConfig(**config))
        self.runtime: Runtime = make_runtime(kind, self.place)
        self.notices: list[Notice] = []
        self.counts: dict[str, Any] = {"steps": 0}
        self.collected: list[str] = []

    def start(self, role: Any, *tasks: Any, steps: int = 0) -> Bench:
        self.runtime.start(role, tasks)
        self.runtime.allow(role.__name__, steps)
        return self

    def listen(self) -> None:
        add_counts(self.counts, self.runtime.take_counts())
        self.notices += self.runtime.take_notices()
        self.collected += [game.game_id for game in self.runtime.collect()]

    def poll(self, until: Callable[[], bool]) -> None:
        """Poll until it is so."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not until():
            assert time.monotonic() < deadline, f"waited too long; heard {self.counts}"
            self.runtime.poll(0.1)
            self.listen()

    def poll_to_the_end(self) -> None:
        self.poll(lambda: not self.runtime.running())

    def stored(self) -> list[str]:
        self.runtime.close()
        with GameStore(self.store) as store:
            return [game.game_id for game in store.read_after(0, 10_000)[1]]


OUTSIDE = f"{ROOT / 'tests' / 'runtime' / 'outside_runtime.py'}:ThreadRuntime"
"""One that nothing inside the package knows of."""


RAY = pytest.param(
    "ray",
    marks=[
        pytest.mark.slow,  # a start takes 10 s of a core, and fails on a machine that is too busy for it
        pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
    ],
)


@pytest.fixture(params=["inline", "processes", OUTSIDE, RAY], ids=["inline", "processes", "outside", "ray"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(request.param, tmp_path)
    yield made
    made.runtime.close()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Bench]:
    made = Bench("processes", tmp_path)
    yield made
    made.runtime.close()


def test_games_arrive_once_and_are_stored(bench: Bench) -> None:
    """Every delivered game is collected once and stored once, counts add up, and roles that end are seen to."""
    bench.start(roles.play, Task("a", 4), Task("b", 3), steps=100)
    bench.poll_to_the_end()
    bench.listen()
    expected = ["a-0", "a-1", "a-2", "a-3", "b-0", "b-1", "b-2"]
    assert sorted(bench.collected) == expected
    assert bench.counts["steps"] == 7
    assert sorted(bench.counts["names"]) == [*"aaaabbb"]
    assert bench.runtime.take_counts() == {}
    assert sorted(bench.stored()) == expected


def test_a_game_delivered_twice_is_stored_once(bench: Bench) -> None:
    """The store keeps one copy of a game, by its id."""
    bench.start(roles.play, Task("a", 2, copies=2), steps=100)
    bench.poll_to_the_end()
    assert bench.stored() == ["a-0", "a-1"]


def test_the_step_budget_is_kept(bench: Bench) -> None:
    """Roles play as many steps as they are allowed together, and go on when more is allowed.

    Two that look at the same moment may each take the last step.
    """
    bench.start(roles.play, Task("a"), Task("b"), steps=6)
    for total in (6, 10):
        bench.runtime.allow("play", total)
        bench.poll(lambda total=total: bench.counts["steps"] >= total)  # type: ignore[misc]
        for _ in range(5):
            bench.runtime.poll(0.05)
            bench.listen()
        assert total <= bench.counts["steps"] < total + 2


def test_settings_refuse_what_makes_no_sense() -> None:
    """Every problem is named, all at once."""
    problems = RuntimeConfig(patience_seconds=0.0, start_patience_seconds=-1.0, max_restarts=-1).check()
    names = ["patience_seconds", "start_patience_seconds", "max_restarts"]
    assert [problem.split()[0] for problem in problems] == [f"runtime.{name}" for name in names]
    assert not RuntimeConfig().check()


def test_stop_ends_all_and_brings_the_rest(bench: Bench) -> None:
    """After stop nobody runs, and what was delivered until then is counted, collected and stored."""
    bench.start(roles.play, Task("a"), Task("b"), steps=40)
    bench.poll(lambda: bench.counts["steps"] >= 4)
    bench.runtime.stop()
    assert not bench.runtime.running()
    bench.listen()
    assert len(bench.collected) == len(set(bench.collected)) == bench.counts["steps"]
    assert sorted(bench.stored()) == sorted(bench.collected)


def test_stop_before_anything_happened_is_fine(bench: Bench) -> None:
    """Roles that were never polled end as well."""
    bench.start(roles.play, Task("a")).runtime.stop()
    assert not bench.runtime.running()


def test_who_has_not_begun_is_not_waited_for(processes: Bench) -> None:
    """Stopping at once takes no longer than it takes to start, and nobody is said to have died."""
    processes.start(roles.play, Task("a"), Task("b"))
    os.kill(processes.runtime._workers[0].process.pid, signal.SIGSTOP)  # type: ignore[attr-defined]
    processes.runtime.stop()
    assert processes.runtime.take_notices() == []
    assert all(worker.process is None for worker in processes.runtime._workers)  # type: ignore[attr-defined]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody says whether a process computes")
def test_a_worker_that_is_stopped_before_it_has_begun_is_replaced(tmp_path: Path) -> None:
    """Starting may take minutes, but only while it computes."""
    bench = Bench("processes", tmp_path, patience_seconds=10.0)
    try:
        bench.start(roles.play, Task("a"), steps=5)
        os.kill(bench.runtime._workers[0].process.pid, signal.SIGSTOP)  # type: ignore[attr-defined]
        bench.poll(lambda: bench.counts["steps"] >= 5)
        assert [notice.kind for notice in bench.notices[:2]] == ["hung", "replaced"]
    finally:
        bench.runtime.close()


def test_published_weights_reach_every_role(bench: Bench) -> None:
    """Roles see versions in rising order, with their contents, and those published before they looked."""
    bench.runtime.publish(1, {"file": b"one"})
    bench.start(roles.watch_weights, Task("a"), Task("b"))
    bench.poll(lambda: len(bench.counts.get("weights", ())) == 2)
    assert {version for version, _ in bench.counts["weights"]} == {1}
    bench.runtime.publish(7, {"file": b"seven"})
    bench.poll(lambda: len(bench.counts["weights"]) == 4)
    assert [(version, files["file"]) for version, files in bench.counts["weights"][2:]] == [(7, b"seven")] * 2


def test_channels_are_apart(bench: Bench) -> None:
    """What is published in one is not seen in another, and each has versions of its own."""
    bench.start(roles.watch_agents, Task("a"))
    bench.runtime.publish(5, {"file": b"five"})
    bench.poll(lambda: bench.counts.get(WEIGHTS) == [5])
    bench.runtime.publish(3, {"file": b"three"}, AGENTS)
    bench.poll(lambda: AGENTS in bench.counts)
    assert (bench.counts[WEIGHTS], bench.counts[AGENTS]) == ([5], [3])


def test_what_an_earlier_runtime_published_is_gone(bench: Bench) -> None:
    """A lower version of today is not hidden by a higher one of yesterday, in any channel."""
    for channel in (WEIGHTS, AGENTS):
        bench.runtime.publish(9, {"file": b"yesterday"}, channel)
    bench.runtime.close()
    bench.runtime = make_runtime(bench.kind, bench.place)
    bench.start(roles.watch_agents, Task("a"))
    for channel in (WEIGHTS, AGENTS):
        bench.runtime.publish(2, {"file": b"today"}, channel)
    bench.poll(lambda: WEIGHTS in bench.counts and AGENTS in bench.counts)
    assert (bench.counts[WEIGHTS], bench.counts[AGENTS]) == ([2], [2])


def test_roles_read_stored_games_and_put_statistics_back(bench: Bench) -> None:
    """Games of this session and those before are read through the mailbox; what is put there is stored."""
    with GameStore(bench.store) as store:
        store.add([roles.make_game("before")])
    bench.start(roles.play, Task("a", 3), steps=10).start(roles.renew, Task("b"))
    bench.poll(lambda: bench.counts.get("renewed") == 4)
    assert sorted(bench.counts["read"]) == ["a-0", "a-1", "a-2", "before"]
    assert set(bench.counts["oldest"]) == {1}
    bench.runtime.close()
    with GameStore(bench.store) as store:
        assert {row.model_version for row in store.index()} == {1}
        assert all(game.root_value[0] == 0.5 for game in store.read_after(0, 10)[1])


def test_statistics_wait_while_the_store_cannot_be_written_to(tmp_path: Path) -> None:
    """Another process that writes is no error of the role: it is told to try again."""
    path = tmp_path / "replay.sqlite"
    with GameStore(path, busy_seconds=0.05) as store, contextlib.closing(sqlite3.connect(path)) as other:
        game = roles.make_game("a")
        store.add([game])
        shelf = Shelf(store)
        news = Statistics(
            game_id="a",
            policy_target=game.policy_target,
            root_value=game.root_value,
            model_version=game.model_version + 1,
        )
        other.execute("BEGIN IMMEDIATE")
        assert shelf.put_statistics([news]) is None
        other.rollback()
        assert shelf.put_statistics([news]) == 1
        assert shelf.put_statistics([news]) == 0, "no news"


def test_games_that_were_collected_before_are_not_collected_again(bench: Bench) -> None:
    """A later session's runtime begins after the sequence that its place says, and says how far it has come."""
    bench.start(roles.play, Task("a", 2), steps=10).poll_to_the_end()
    bench.runtime.stop()
    bench.listen()
    bench.runtime.close()
    bench.runtime = make_runtime(bench.kind, bench.place._replace(first_sequence=2))
    assert bench.runtime.sequence == 2
    bench.start(roles.play, Task("b", 1), steps=10).poll_to_the_end()
    bench.listen()
    assert bench.collected == ["a-0", "a-1", "b-0"]
    assert bench.runtime.sequence == (2 if bench.runtime.pace.in_step else 3)


@pytest.mark.parametrize(("workers", "kind"), [(0, "inline"), (1, "processes")])
def test_without_workers_roles_are_in_this_process(workers: int, kind: str, tmp_path: Path) -> None:
    """So says `auto`, which is what settings say unless they say otherwise."""
    assert RuntimeConfig().kind == "auto"
    runtime = make_runtime("auto", Place(tmp_path / "replay.sqlite", tmp_path / "weights"), workers)
    runtime.close()
    assert f"{type(runtime).__module__}:{type(runtime).__name__}" == KINDS[kind]


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("tests.runtime.outside_runtime:half_a_runtime", "must name a class with all operations of a `Runtime`"),
        ("tests.runtime.outside_runtime:Half", "lacks .*collect.*settle"),
        ("tests.runtime.outside_runtime:ThreadRuntim", "Did you mean 'ThreadRuntime'"),
        ("nowhere/mine.py:Mine", "there is no file"),
        ("nomodule:Mine", "there is no module 'nomodule'"),
    ],
)
def test_what_is_no_runtime_is_refused(kind: str, sentence: str, tmp_path: Path) -> None:
    """Before anything is made: by name, by file, by what it lacks."""
    with pytest.raises(UserError, match=f"^runtime.kind.*{sentence}"):
        make_runtime(kind, Place(tmp_path / "replay.sqlite", tmp_path / "weights"))
    assert list(tmp_path.iterdir()) == []


def test_a_runtime_that_is_misspelled_is_refused_with_the_settings() -> None:
    """The nearest one is named."""
    (problem,) = RuntimeConfig(kind="proceses").check()
    assert problem.startswith("runtime.kind must be one of auto, inline, processes, ray, module:Class or file.py:Class")
    assert "'processes'" in problem
    assert not RuntimeConfig(kind="file.py:Mine").check()


def test_a_roles_user_error_reaches_the_parent(bench: Bench) -> None:
    """Bad input that a role met is raised as that very sentence, and its games are kept."""
    bench.start(roles.refuse, Task("game", 2))
    with pytest.raises(UserError, match=r"^game must be something else\. Change it\.$"):
        bench.poll_to_the_end()
    bench.runtime.stop()
    assert bench.stored() == ["game-0", "game-1"]


def test_a_roles_bug_keeps_its_traceback(bench: Bench) -> None:
    """A bug is no UserError; where it happened can be read, and its games are kept."""
    bench.start(roles.break_down, Task("oops", 2))
    with pytest.raises((ZeroDivisionError, RuntimeError)) as caught:
        bench.poll_to_the_end()
    assert not isinstance(caught.value, UserError)
    if not isinstance(caught.value, ZeroDivisionError):  # from another process: as text
        assert "in break_down" in str(caught.value)
        assert "ZeroDivisionError: oops" in str(caught.value)
    bench.runtime.stop()
    assert bench.stored() == ["oops-0", "oops-1"]


def test_a_killed_worker_is_replaced_and_its_games_are_kept(processes: Bench) -> None:
    """SIGKILL of one of two workers costs neither the run nor a game; its next life has other ids and goes on."""
    processes.start(roles.play, Task("a"), Task("b"), steps=20)
    processes.poll(lambda: processes.counts["steps"] >= 20 and len(processes.counts["pids"]) == 2)
    os.kill(processes.counts["pids"][0], signal.SIGKILL)
    killed = time.monotonic()
    processes.poll(lambda: len(processes.notices) == 2)
    assert time.monotonic() - killed < 2.0, "replaced within two seconds"
    (died, replaced), name = processes.notices, processes.notices[0].worker
    assert (died.kind, replaced.kind, replaced.worker) == ("died", "replaced", name)
    assert died.message == f"worker {name} died (exit code -9). Memory may have run out: use fewer workers."
    processes.runtime.allow("play", 60)
    processes.poll(lambda: processes.counts["steps"] >= 60 and len(processes.counts["pids"]) == 3)
    assert {status.name: status.life for status in processes.runtime.workers()}[name] == 1
    processes.runtime.stop()
    processes.listen()
    assert sorted(processes.stored()) == sorted(processes.collected)
    assert len(processes.collected) == processes.counts["steps"]


def test_a_worker_that_hangs_is_named_killed_and_replaced(tmp_path: Path) -> None:
    """One that is stopped in the middle of everything, and the work goes on without it meanwhile."""
    bench = Bench("processes", tmp_path, patience_seconds=1.0)
    try:
        bench.start(roles.play, Task("a"), Task("b"), steps=20)
        bench.poll(lambda: bench.counts["steps"] >= 20 and len(bench.counts["pids"]) == 2)
        os.kill(bench.counts["pids"][0], signal.SIGSTOP)
        bench.runtime.allow("play", 40)
        bench.poll(lambda: bench.counts["steps"] >= 40 and len(bench.notices) == 2)
        assert [notice.kind for notice in bench.notices] == ["hung", "replaced"]
        assert re.fullmatch(
            r"worker numzero-play-\d showed no sign of life for 1 s; killed\.", bench.notices[0].message
        )
    finally:
        bench.runtime.close()


def test_a_worker_that_hangs_in_the_middle_of_writing_holds_up_nobody_for_long(tmp_path: Path) -> None:
    """The others wait for the store, show that they live, lose nothing, and go on when it was killed."""
    bench = Bench("processes", tmp_path, patience_seconds=2.0)
    try:
        bench.start(roles.hold_store, Task(str(bench.store)))
        bench.poll(lambda: "pids" in bench.counts)
        time.sleep(0.5)
        bench.runtime.start(roles.play, [Task("a")])
        bench.runtime.allow("play", 30)
        bench.poll(lambda: bench.counts["steps"] == 30 and len(bench.notices) == 2)
        assert [(notice.worker, notice.kind) for notice in bench.notices] == [
            ("numzero-hold_store-0", "hung"),
            ("numzero-hold_store-0", "replaced"),
        ]
        bench.runtime.stop()
        assert bench.stored() == [f"a-{number}" for number in range(30)]
    finally:
        bench.runtime.close()


def test_a_worker_that_only_dies_ends_the_run(tmp_path: Path) -> None:
    """After so many replacements that delivered nothing, with the last cause and what is kept."""
    bench = Bench("processes", tmp_path, max_restarts=2)
    try:
        bench.start(roles.exit_at_once, Task("a"))
        with pytest.raises(
            UserError, match=r"numzero-exit_at_once-0 died \(exit code 7\)\. It was replaced 2 times and"
        ):
            bench.poll_to_the_end()
        bench.listen()
        assert [notice.kind for notice in bench.notices] == ["died", "replaced"] * 2 + ["died"]
        assert not bench.runtime.running()
    finally:
        bench.runtime.close()


def test_a_worker_that_lasted_may_die_as_often_as_it_likes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some roles deliver no games: what counts is that they worked for a while."""
    monkeypatch.setattr(supervision, "LASTING_SECONDS", 0.2)
    bench = Bench("processes", tmp_path, max_restarts=1)
    try:
        bench.start(roles.exit_later, Task("a"))
        bench.poll(lambda: len(bench.notices) >= 6)
        assert [notice.kind for notice in bench.notices[:6]] == ["died", "replaced"] * 3
    finally:
        bench.runtime.close()


def test_what_an_environment_does_costs_its_worker_only(processes: Bench) -> None:
    """Its sentence is passed on, and earlier lives are remembered: the games asked for are delivered in all."""
    processes.start(roles.fail_once, Task("a", 6), steps=100)
    processes.poll_to_the_end()
    processes.listen()
    assert [(notice.kind, notice.message) for notice in processes.notices] == [
        ("failed", "worker numzero-fail_once-0 ended: step() of environment 'a' failed at step 3."),
        ("replaced", "worker numzero-fail_once-0 was replaced."),
    ]
    assert processes.stored() == ["a-0-0", "a-0-1", "a-0-2", "a-1-3", "a-1-4", "a-1-5"]
    assert processes.counts["steps"] == 6


def test_roles_have_budgets_of_their_own(bench: Bench) -> None:
    """Two roles at once, each held by its own unit; everybody's state can be asked for."""
    bench.start(roles.play, Task("a"), Task("b"), steps=6)
    bench.runtime.start(roles.sweep, [Task("c")], unit="positions")
    bench.runtime.allow("sweep", 30)
    bench.poll(lambda: bench.counts["steps"] >= 6 and bench.counts.get("positions", 0) >= 30)
    assert bench.counts["steps"] < 6 + 2
    assert bench.counts["positions"] == 30
    statuses = bench.runtime.workers()
    assert sorted(status.role for status in statuses) == ["play", "play", "sweep"]
    assert sum(status.units for status in statuses if status.role == "sweep") == 30
    assert all(0.0 <= status.waiting_share <= 1.0 and status.life == 0 for status in statuses)
    bench.runtime.stop()


@pytest.mark.skipif(os.name != "posix", reason="sends ^C to one process")
def test_interrupts_never_reach_a_worker(processes: Bench) -> None:
    """^C is the parent's business: a worker survives it from its first moment on."""
    processes.start(roles.idle, Task("a"))
    (worker,) = processes.runtime._workers  # type: ignore[attr-defined]
    for _ in range(20):
        os.kill(worker.process.pid, signal.SIGINT)
        time.sleep(0.02)
    processes.poll(lambda: "pids" in processes.counts)
    os.kill(worker.process.pid, signal.SIGINT)
    processes.runtime.stop()
    assert processes.runtime.take_notices() == [], "it ended by itself"


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_what_an_environment_started_ends_with_its_worker(how: str, processes: Bench) -> None:
    """However the worker ends, a game server of its environment does not run on without it."""
    processes.start(roles.start_server, Task("a"))
    processes.poll(lambda: "servers" in processes.counts)
    (pid,), (server,) = processes.counts["pids"], processes.counts["servers"]
    assert is_alive(server)
    if how == "killed":
        os.kill(pid, signal.SIGKILL)
        processes.poll(lambda: bool(processes.notices))
    else:
        processes.runtime.stop()
        processes.runtime.close()
    deadline = time.monotonic() + 10.0
    while is_alive(server):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_close_kills_workers(processes: Bench) -> None:
    """Closing without stop leaves no process behind."""
    processes.start(roles.idle, Task("a"))
    processes.poll(lambda: "pids" in processes.counts)
    (pid,) = processes.counts["pids"]
    assert is_alive(pid)
    processes.runtime.close()
    assert not is_alive(pid)


def test_old_weights_are_removed(processes: Bench) -> None:
    """However many versions are published, few stay on the disk, the newest among them."""
    for version in range(8):
        processes.runtime.publish(version, {"file": bytes([version])})
    kept = sorted(path.name for path in (processes.store.parent / "weights").iterdir())
    assert kept == ["000000005", "000000006", "000000007"]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("batch_size", [2, 64])
def test_selfplay_workers_stay_small(processes: Bench, batch_size: int) -> None:
    """After `warm_up` a process that plays tic-tac-toe compiles nothing, loads nothing heavy, and takes < 220 MB."""
    files = model_files("tictactoe")
    processes.runtime.publish(0, {"initial.onnx": files.initial, "recurrent.onnx": files.recurrent})
    task = SelfPlayTask("tictactoe", SEARCH, SelfPlayConfig(batch_size=batch_size), 1.0, 0, 0, num_games=100)
    warm_up(task, files)
    processes.start(roles.measured_selfplay, task, steps=10**6)
    processes.poll_to_the_end()
    assert processes.counts["heavy"] == []
    assert processes.counts["compiled"] == []
    assert processes.counts["peak_kilobytes"][0] < 220_000
    assert len(processes.stored()) == 100


ORPHANAGE = """
import sys, time
from pathlib import Path
from numzero.runtime.base import Place
from numzero.runtime.processes import ProcessRuntime
from tests.runtime import roles

if __name__ == "__main__":
    runtime = ProcessRuntime(Place(Path(sys.argv[1]) / "replay.sqlite", Path(sys.argv[1]) / "weights"))
    runtime.start(getattr(roles, sys.argv[2]), [roles.Task("a"), roles.Task("b")])
    pids = []
    while len(pids) < 2:
        runtime.poll(0.1)
        pids += runtime.take_counts().get("pids", [])
    print(*pids, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL")
@pytest.mark.parametrize("role", ["idle", "stuck"] if sys.platform == "linux" else ["idle"])
def test_workers_end_with_their_parent(role: str, tmp_path: Path) -> None:
    """When the parent is killed without a word its workers vanish too; on Linux even one that is stuck."""
    pids: list[int] = []
    try:
        with warm.Command(tmp_path, role, code=ORPHANAGE, stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            try:
                pids += [int(word) for word in parent.stdout.readline().split()]
                assert len(pids) == 2
                assert all(map(is_alive, pids))
            finally:
                parent.kill()
        deadline = time.monotonic() + 20
        while any(map(is_alive, pids)):
            assert time.monotonic() < deadline, f"{pids} outlived their parent"
            time.sleep(0.05)
    finally:
        for pid in filter(is_alive, pids):
            os.kill(pid, signal.SIGKILL)
