"""Ray: what only it has to stand, beside the suite of all runtimes.

What starts it is slow: on a busy machine that takes longer than Ray allows itself.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from numzero.commands import main
from numzero.errors import UserError
from numzero.replay import GameStore
from numzero.runtime.base import RuntimeConfig
from numzero.runtime.factory import runtime_maker
from numzero.training.config import load_preset
from numzero.training.plan import RunPlan, check_plan, spec_of
from tests.chaos import ROOT, await_all, descendants, is_alive
from tests.recorder import missing_recorder
from tests.runtime import roles
from tests.runtime.roles import Task
from tests.runtime.test_chaos import num_stored
from tests.runtime.test_faults import NUM_GAMES, play_with
from tests.runtime.test_runtimes import Bench
from tests.test_network import Recorded
from tests.tiny import RUN

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'numzero[ray]'"
)
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="finds processes and sockets in /proc")
PATIENCE_SECONDS = 240.0
LOOPBACK = ("0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")
"""127.0.0.1, the same in IPv6's words, and ::1, as /proc/net writes them."""


def listening(pids: list[int]) -> list[str]:
    """Addresses on which processes accept connections, as /proc/net writes them."""
    sockets = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with_number = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(descriptor))
            sockets |= {with_number[1]} if with_number else set()
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    return [words[1].partition(":")[0] for words in lines if words[3] == "0A" and words[9] in sockets]


# ---------------------------------------------------------------------------------------------- without Ray


def test_without_ray_the_way_to_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the library is not installed, in one sentence."""
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in ("runtime", "actors", "library"):
        monkeypatch.delitem(sys.modules, f"numzero.runtime.ray.{name}", raising=False)
    with pytest.raises(UserError, match=r"^runtime\.kind ray needs ray, which is not installed: pip install"):
        runtime_maker("ray", 2)


def test_an_address_belongs_to_ray() -> None:
    """Other kinds would pass it over."""
    (problem,) = RuntimeConfig(kind="processes", address="auto").check()
    assert problem == "runtime.address is a Ray cluster's: it needs runtime.kind ray; got 'processes'."
    assert not RuntimeConfig(kind="ray", address="auto").check()
    assert not RuntimeConfig(kind="mine.py:Runtime", address="10.0.0.1:6379").check()


def test_workers_of_a_cluster_take_nothing_of_this_machine() -> None:
    """What this machine holds bounds those that run on it, and no others."""
    config = load_preset("cartpole", ["runtime.kind=ray", "runtime.address=auto"])
    check_plan(config, RunPlan(seed=0, workers=900, reanalyze_workers=8, offline=False, spec=spec_of(config)))


# ------------------------------------------------------------------------------------------------- with Ray


@needs_ray
@pytest.mark.parametrize("allowed", [0, 1, 5, 64, 1000])
def test_grants_never_go_beyond_what_is_allowed_and_use_it_all(allowed: int) -> None:
    """Four workers that ask in turn, use what they get and ask again, at strides of 1 or 64, one of them never."""
    from numzero.runtime.ray.runtime import Claims, Worker, share_of

    for stride in (1, 64):
        workers = [Worker(f"worker-{n}", "play", "steps", None, 0, 60.0, stride) for n in range(4)]
        for worker in workers[:3]:
            worker.heard, worker.heard_at = 1, 0.0
        for _ in range(60):
            claims = Claims(workers, 1.0)
            for worker in workers[:3]:
                worker.granted = max(worker.units, share_of(worker, allowed, claims))
                claims.change(worker)
                assert sum(max(each.granted, each.units) for each in workers) <= allowed
            for worker in workers[:3]:
                worker.units = worker.granted
        assert sum(worker.units for worker in workers) == allowed


@needs_ray
def test_a_worker_is_granted_nothing_before_it_has_begun() -> None:
    """Its process may be long in starting: it would find its grant when another has used the same."""
    from numzero.runtime.ray.runtime import Claims, Worker, share_of

    late, other = workers = [Worker(name, "play", "steps", None, 0, 60.0) for name in "ab"]
    assert [share_of(worker, 10, Claims(workers, 0.0)) for worker in workers] == [0, 0]
    other.heard, other.heard_at = 1, 8.0
    assert share_of(other, 10, Claims(workers, 9.0)) == 10
    other.granted = other.units = 10
    late.heard, late.heard_at = 1, 20.0
    assert share_of(late, 10, Claims(workers, 20.0)) == 0


@needs_ray
def test_a_grant_that_nobody_hears_of_any_longer_is_anothers() -> None:
    """A worker that was granted all and went silent keeps what it did, and no more."""
    from numzero.runtime.ray.runtime import GRANT_SECONDS, Claims, Worker, share_of

    silent, other = (Worker(name, "play", "steps", None, 0, 60.0) for name in "ab")
    silent.heard = other.heard = 1
    silent.heard_at, silent.units, silent.granted = 0.0, 3, 10
    other.heard_at = GRANT_SECONDS
    assert share_of(other, 10, Claims([silent, other], GRANT_SECONDS / 2)) == 0
    assert share_of(other, 10, Claims([silent, other], GRANT_SECONDS + 1.0)) == 3
    silent.finished = True
    assert share_of(other, 10, Claims([silent, other], GRANT_SECONDS + 1.0)) == 7


@needs_ray
def test_a_cluster_without_a_token_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Unless the user says that her network needs none."""
    from numzero.runtime.ray.library import require_token

    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    with pytest.raises(UserError, match=r"a Ray cluster needs a token.*no RAY_AUTH_TOKEN and no file .*token"):
        require_token("10.0.0.1:6379")
    (tmp_path / "token").write_text("secret")
    require_token("10.0.0.1:6379")
    (tmp_path / "token").unlink()
    folder, there = tmp_path / "run", ("--runtime", "ray", "--address", "10.0.0.1:6379")
    refused = CliRunner().invoke(main, ["train", "tictactoe", "--run", str(folder), "--workers", "1", *there])
    assert (refused.exit_code, folder.exists()) == (2, False)
    assert "a Ray cluster needs a token" in refused.output
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    require_token("10.0.0.1:6379")


@needs_ray
@needs_linux
@pytest.mark.slow
def test_a_local_instance_listens_here_alone_and_a_killed_actor_is_replaced(tmp_path: Path) -> None:
    """No actor's death costs a game; nothing can be reached from outside; nothing is left behind, nor changed."""
    bench = Bench("ray", tmp_path)
    environment, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
    try:
        bench.start(roles.play, Task("a"), Task("b"), steps=20)
        bench.poll(lambda: bench.counts["steps"] >= 20 and len(bench.counts["pids"]) == 2)
        pids = descendants(os.getpid())
        assert set(bench.counts["pids"]) <= set(pids)
        addresses = listening([pid for pid in pids if is_alive(pid)])
        assert addresses
        assert set(addresses) <= set(LOOPBACK)
        (folder,) = bench.runtime._library.folders  # type: ignore[attr-defined]
        os.kill(bench.counts["pids"][0], signal.SIGKILL)
        bench.poll(lambda: len(bench.notices) == 2)
        assert [notice.kind for notice in bench.notices] == ["died", "replaced"]
        assert re.fullmatch(
            r"worker numzero-play-\d died\. Its process was killed, or memory ran out: then use fewer workers\.",
            bench.notices[0].message,
        )
        bench.runtime.allow("play", 60)
        bench.poll(lambda: bench.counts["steps"] >= 60)
        bench.runtime.stop()
        bench.listen()
        assert folder.is_dir()
    finally:
        bench.runtime.close()
    await_all(pids)
    assert not folder.exists()
    assert dict(os.environ) == environment
    assert signal.getsignal(signal.SIGTERM) == handler
    assert sorted(bench.stored()) == sorted(bench.collected)
    assert len(bench.collected) == bench.counts["steps"] == 60


@needs_ray
@needs_linux
@pytest.mark.slow
def test_what_misbehaves_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception, a crash of the interpreter, a hang with and without Python's lock, and a bad number."""
    names = ["Raises", "Segfaults", "Hangs", "NanObservation"]
    seen = play_with(names, tmp_path, monkeypatch, kind="ray")
    for name in names:
        fault, replaced = seen[name]
        assert f"of environment 'tests.games.misbehaving:{name}'" in fault.message, fault.message
        assert replaced.kind == "replaced"
    with GameStore(tmp_path / "replay.sqlite") as store:
        games = [game.game_id.split("-")[0] for game in store.read_after(0, 10_000)[1]]
    assert {name: games.count(name) for name in names} == dict.fromkeys(names, NUM_GAMES)


class Program:
    """A command of numzero, in a process of its own."""

    def __init__(self, *words: object, environment: Mapping[str, str] = os.environ) -> None:
        command = [sys.executable, "cli.py", *map(str, words)]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, text=True, start_new_session=True, **pipes)

    def wait(self) -> tuple[int, str, str]:
        output, errors = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, output, errors


def train_words(run: Path, num_updates: int, *more: object) -> list[object]:
    """A tiny run of tic-tac-toe with two actors."""
    settings = [*RUN, f"schedule.num_updates={num_updates}", "evaluation.interval=0", "replay.capacity_steps=2000"]
    sets = [word for setting in settings for word in ("--set", setting)]
    return ["train", "tictactoe", "--run", run, "--workers", 2, "--json", *sets, *more]


def await_games(run: Path, count: int, program: Program) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while num_stored(run) < count:
        assert program.process.poll() is None, program.wait()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def events_of(run: Path) -> list[dict[str, Any]]:
    """What a run has said."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def await_note(run: Path, pattern: str, program: Program) -> None:
    """Wait until a run has noted so of a worker."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not any(re.search(pattern, event.get("message", "")) for event in events_of(run)):
        assert program.process.poll() is None, program.wait()
        assert time.monotonic() < deadline
        time.sleep(0.2)


@needs_ray
@needs_linux
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=["term", "int", "kill"])
def test_a_run_goes_on_elsewhere_and_nothing_is_left_of_ray(number: int, tmp_path: Path) -> None:
    """Begun with Ray and stopped or killed, gone on with processes, and back: no process, no folder, no game twice."""
    run, temporary = tmp_path / "run", tmp_path / "tmp"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    program = Program(*train_words(run, 100_000, "--runtime", "ray"), environment=environment)
    await_games(run, 30, program)
    pids = descendants(program.process.pid)
    os.killpg(program.process.pid, number)
    code, _, errors = program.wait()
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 130), errors
    await_all(pids)
    for kind in ("processes", "ray"):
        before = num_stored(run)
        program = Program("resume", run, "--runtime", kind, environment=environment)
        await_games(run, before + 30, program)
        pids = descendants(program.process.pid)
        program.process.send_signal(signal.SIGTERM)
        assert program.wait()[0] == 130
        await_all(pids)
    with GameStore(run / "replay.sqlite") as store:
        names = [game.game_id for game in store.read_after(0, 10**6)[1]]
        assert store.problems() == []
    assert len(names) == len(set(names))
    assert {kind for kind in ("ray",) if list(temporary.glob(f"numzero-{kind}-*"))} == set()


@needs_ray
@pytest.mark.slow
@pytest.mark.skipif(bool(missing_recorder()), reason=missing_recorder() or "")
def test_nothing_leaves_the_machine(tmp_path: Path) -> None:
    """No look-up, no connection to another machine, no file outside the run and the folder for temporary files."""
    recorded = Recorded(tmp_path)
    words = train_words(recorded.work / "run", 12, "--runtime", "ray", "--reanalyze-workers", 1)
    words += ["--set", "reanalyze.fraction=0.5"]
    with tempfile.TemporaryDirectory(prefix="nz-") as short:  # Ray's sockets lie there
        seen = recorded.run(sys.executable, "cli.py", *words, TMPDIR=short, LET_LOOPBACK="1")
        assert list(Path(short).iterdir()) == []
    assert [line for line in seen if not line.startswith(f"write {short}/")] == []
    assert list(recorded.home.iterdir()) == []


@needs_ray
@needs_linux
@pytest.mark.slow
def test_a_study_is_spread_stopped_and_goes_on(tmp_path: Path) -> None:
    """^C leaves no process, no folder of Ray's and no half a result; a killed seed is said and trained anew."""
    folder, temporary = tmp_path / "s", tmp_path / "tmp"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    settings = [*RUN, "selfplay.batch_size=4", "evaluation.interval=0"]
    sets = [word for setting in settings for word in ("--set", setting)]
    words = ["study", "tictactoe", "--out", folder, "--seeds", 2, "--runtime", "ray", "--json"]
    long = ["--variant", "long:schedule.num_updates=100000"]
    program = Program(*words, *long, "--jobs", 2, *sets, environment=environment)
    deadline = time.monotonic() + PATIENCE_SECONDS
    killed: list[int] = []
    while len(killed) < 1 or not (folder / "runs" / "preset" / "seed-1.json").exists():
        assert program.process.poll() is None, program.wait()
        assert time.monotonic() < deadline
        if not killed and (folder / "runs" / "preset" / "seed-0.json").exists():
            killed += [pid for pid in descendants(program.process.pid) if "_JobActor.do" in command_line(pid)][:1]
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
    pids = descendants(program.process.pid)
    program.process.send_signal(signal.SIGINT)
    code, _, errors = program.wait()
    assert code == 130, errors
    assert re.search(r"seed \d was lost: .*\. It is trained anew\.", errors), errors
    await_all(pids)
    assert list(temporary.glob("numzero-*")) == []
    assert not list((folder / "runs" / "long").glob("*.json"))
    code, output, errors = Program(*words, *sets, environment=environment).wait()
    assert code == 0, errors
    assert [seed["updates"] for seed in json.loads(output)["seeds"]] == [12, 12]


def command_line(pid: int) -> str:
    """What a process says it is; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@pytest.fixture
def cluster() -> Iterator[tuple[str, Callable[[str], None], dict[str, str]]]:
    """Address of a cluster of two machines with a token, what tells it to lose one, and the environment for both."""
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on the loopback address
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "tests.runtime.ray_cluster"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        heard = program.stdout

        def tell(word: str) -> None:
            assert program.stdin is not None
            program.stdin.write(f"{word}\n")
            program.stdin.flush()
            assert heard.readline() == "done\n"

        yield heard.readline().strip(), tell, environment
        program.stdin.close()


@needs_ray
@needs_linux
@pytest.mark.slow
def test_a_machine_that_dies_costs_no_game_and_one_that_joins_late_is_used(
    cluster: tuple[str, Callable[[str], None], dict[str, str]], tmp_path: Path
) -> None:
    """Two machines, one killed in the middle: the target is reached and every finished game is there, once."""
    address, tell, environment = cluster
    run = tmp_path / "run"
    patient = ("--set", "runtime.patience_seconds=200")
    words = train_words(run, 100_000, "--runtime", "ray", "--address", address, *patient)
    program = Program(*words, environment=environment)
    await_games(run, 20, program)
    tell("lose")
    await_note(run, r"died: its machine .* is gone\.", program)
    tell("gain")
    await_note(run, "was replaced", program)
    await_games(run, num_stored(run) + 20, program)
    program.process.send_signal(signal.SIGTERM)
    assert program.wait()[0] == 130
    done = max(event.get("updates", 0) for event in events_of(run))
    words = ["resume", run, "--runtime", "ray", "--address", address, "--updates", done + 20, "--json"]
    program = Program(*words, environment=environment)
    code, output, errors = program.wait()
    assert code == 0, errors
    assert json.loads(output)["run"] == str(run), "Ray prints nothing to standard output"
    with GameStore(run / "replay.sqlite") as store:
        assert store.problems() == []
        names = [game.game_id for game in store.read_after(0, 10**6)[1]]
    assert len(names) == len(set(names))
    assert [event for event in events_of(run) if event.get("reason")][-1]["reason"] == "finished"


@needs_ray
@pytest.mark.slow
def test_an_environment_of_ones_own_folder_reaches_the_machines_of_a_cluster(
    cluster: tuple[str, Callable[[str], None], dict[str, str]], tmp_path: Path
) -> None:
    """By a file and by a module, which actors find in a copy of the current folder; runs are not copied."""
    address, _, environment = cluster
    text = (ROOT / "tests" / "games" / "environments.py").read_text(encoding="utf-8")
    (tmp_path / "my_env.py").write_text(text, encoding="utf-8")
    settings = [word for setting in (*RUN, "evaluation.interval=0") for word in ("--set", setting)]
    for number, game in enumerate(("my_env.py:Corridor", "my_env:Corridor")):
        words = ["train", game, "--run", f"runs/{number}", "--workers", 1, "--runtime", "ray", "--address", address]
        command = [sys.executable, "-m", "numzero", *map(str, words), *settings]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stderr
        assert num_stored(tmp_path / "runs" / str(number)) > 0
