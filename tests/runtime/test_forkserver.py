"""Workers that are forked: by whom, with what, and what a new process has all the same."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing.forkserver import read_signed
from pathlib import Path
from typing import Any

import pytest

from tests import warm
from tests.chaos import await_all, descendants, is_alive
from tests.runtime import roles
from tests.runtime.roles import Task
from tests.runtime.test_runtimes import Bench

if sys.platform != "linux":
    pytest.skip("elsewhere workers are spawned", allow_module_level=True)

from numzero.runtime import forkserver


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Starts workers that say how they find their process, and waits until they have."""
    made: list[Bench] = []

    def make(count: int = 1) -> Bench:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        bench = Bench("processes", folder)
        made.append(bench)
        bench.start(roles.look_around, *(Task(str(number)) for number in range(count)))
        bench.poll(lambda: len(bench.counts.get("found", ())) == count)
        return bench

    yield make
    for each in made:
        each.runtime.close()


def only(bench: Bench) -> dict[str, Any]:
    (found,) = bench.counts["found"]
    return dict(found)


def test_workers_are_forked_by_a_process_that_has_imported(start: Callable[..., Bench]) -> None:
    """One server for all, a child of this process."""
    first, second = start(2), start(1)
    found = [*first.counts["found"], *second.counts["found"]]
    (server,) = {each["parent"] for each in found}
    assert server in descendants(os.getpid())
    assert len({each["pid"] for each in found}) == 3


def test_the_server_goes_when_nobody_needs_it(start: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the runtime that needed it last."""
    servers = forkserver.Servers()
    monkeypatch.setattr(forkserver, "servers", lambda: servers)
    with servers.kept():
        bench = start()
        server = only(bench)["parent"]
        bench.runtime.close()
        assert is_alive(server)
    await_all([server])


def test_a_worker_finds_what_a_new_process_would_find(
    start: Callable[..., Bench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Environment, folder, path and streams of the moment, not of the server's beginning; one thread, signals heard."""
    start()
    monkeypatch.setenv("OF_AN_ENVIRONMENT", "\udcff set later")
    monkeypatch.delenv("PATH")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = only(start())
    assert found["environment"] == {name: os.environ.get(name) for name in ("OF_AN_ENVIRONMENT", "PATH")}
    assert found["folder"] == str(tmp_path)
    assert found["path"][0] == str(tmp_path)
    assert found["threads"] == 1
    assert found["blocked"] == []
    assert found["arguments"] == sys.argv
    assert not found["has_torch"]
    assert capfd.readouterr().out.count("looked around\n") == 2


ODD = """
import os, resource, sys
from pathlib import Path
from tests.runtime import roles
from tests.runtime.test_runtimes import Bench

if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (2048, most))
    for _ in range(1100):
        os.dup(1)
    os.close(0)
    bench = Bench("processes", Path(sys.argv[1]))
    bench.start(roles.look_around, roles.Task("a"))
    bench.poll(lambda: "found" in bench.counts)
    forked = bench.counts["found"][0]["parent"] != os.getpid()
    bench.runtime.close()
    sys.exit(0 if forked else 1)
"""


def test_an_odd_program_has_workers_all_the_same(tmp_path: Path) -> None:
    """Without a stream, as a daemon may be started, and with more descriptors than `select` takes."""
    assert warm.run(tmp_path, code=ODD).returncode == 0


def test_workers_do_not_draw_alike(start: Callable[..., Bench]) -> None:
    """Of environments that draw from NumPy's or Python's own generators, each has numbers of its own."""
    found = start(2).counts["found"]
    for name in ("numpy", "random"):
        assert found[0][name] != found[1][name]


def test_variables_that_are_read_once_ask_for_a_new_process(
    start: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Python or a library has read already would be the server's."""
    server = only(start())["parent"]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert only(start())["parent"] == os.getpid()
    monkeypatch.undo()
    assert only(start())["parent"] == server


def test_a_killed_server_is_replaced_with_its_workers(start: Callable[..., Bench]) -> None:
    """They end with it, whatever they do, and begin anew."""
    bench = start(2)
    server = bench.counts["found"][0]["parent"]
    pids = [each["pid"] for each in bench.counts["found"]]
    os.kill(server, signal.SIGKILL)
    await_all(pids)
    bench.poll(lambda: len(bench.counts["found"]) == 4)
    assert sorted(notice.kind for notice in bench.notices) == ["died", "died", "replaced", "replaced"]
    assert {each["parent"] for each in bench.counts["found"][2:]} != {server}


def test_signals_do_not_end_the_server(start: Callable[..., Bench]) -> None:
    """^C and a terminal that closes reach it too; it is its parent's to end."""
    bench = start()
    server = only(bench)["parent"]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(server, number)
    os.kill(only(bench)["pid"], signal.SIGKILL)
    bench.poll(lambda: len(bench.counts["found"]) == 2)
    assert bench.counts["found"][1]["parent"] == server


@pytest.mark.parametrize(("threads", "alone"), [(0, "True"), (1, "False")])
def test_a_fork_that_would_lack_a_thread_is_noticed(threads: int, alone: str) -> None:
    """A library may have some: onnxruntime has one where it may report its use."""
    code = "import threading, time\nfrom numzero.runtime import forkserver\n"
    code += f"for _ in range({threads}): threading.Thread(target=time.sleep, args=(60.0,), daemon=True).start()\n"
    code += "print(forkserver._is_alone(), flush=True)\nimport os\nos._exit(0)"
    ran = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == [alone]


def test_where_a_server_refuses_workers_are_spawned(
    start: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no other is tried."""
    made: list[forkserver.Forkserver] = []

    def refuse(server: forkserver.Forkserver) -> bool:
        made.append(server)
        return False

    servers = forkserver.Servers()
    monkeypatch.setattr(forkserver, "servers", lambda: servers)
    monkeypatch.setattr(forkserver.Forkserver, "await_ready", refuse)
    with servers.kept():
        assert {only(start())["parent"], only(start())["parent"]} == {os.getpid()}
    assert len(made) == 1


def test_no_room_for_a_process_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the number of the system's error, which the parent raises."""

    def full() -> int:
        raise BlockingIOError(11, "full")

    monkeypatch.setattr(os, "fork", full)
    assert forkserver._forked() == -11


@pytest.mark.parametrize(
    ("content", "asker_lives", "said"),
    [
        (b"", False, ""),
        (pickle.dumps({"name": "worker"})[:-4], False, ""),
        (b"no pickle", True, "UnpicklingError"),
    ],
)
def test_who_is_killed_while_it_asks_leaves_no_traceback(
    content: bytes, asker_lives: bool, said: str, tmp_path: Path
) -> None:
    """Of what came, the fork cannot know what to be, and nobody is left who would want to know; else it is a bug."""
    stderr = tmp_path / "stderr"
    with forkserver.servers().kept(), stderr.open("wb") as errors:
        server = forkserver.servers().server()
        assert server is not None
        read, write = os.pipe()
        sentinel, end = os.pipe()
        server.fork([], [end, read, 0, 0, 1, errors.fileno()])
        os.close(end)
        os.close(read)
        os.write(write, content)
        if not asker_lives:
            os.close(write)
        assert read_signed(sentinel) > 0
        assert read_signed(sentinel) == 1
        if asker_lives:
            os.close(write)
        os.close(sentinel)
    text = stderr.read_text()
    assert said in text
    assert ("Traceback" in text) == asker_lives
