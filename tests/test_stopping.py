"""Every command and every signal: a sentence, code 130 or what was finished, no traceback, and nothing left running."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from numzero.files import generations
from numzero.metrics import Finished, read_metrics
from numzero.replay import GameStore
from tests import warm
from tests.chaos import ROOT, await_all, descendants, is_alive, kill_all
from tests.games.with_children import PIDS
from tests.tiny import RUN, write_agent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sends signals, and finds processes in /proc")

PATIENCE_SECONDS = 120.0
GAME = "tests.games.with_children:WithChildren"
NUM_CHILDREN = 4
ENDLESS = ("schedule.num_updates=1000000", "selfplay.batch_size=2", "evaluation.interval=0")
TERM, HUP, KILL = signal.SIGTERM, signal.SIGHUP, signal.SIGKILL


def tiny(*more: str) -> list[str]:
    return [word for setting in (*RUN, *more) for word in ("--set", setting)]


class Command:
    """cli.py at work, and every process that it or its environments started."""

    def __init__(
        self, folder: Path, *words: object, streams: object = subprocess.PIPE, forked: bool = True, **variables: str
    ) -> None:
        self.pids = folder / "pids"
        self.pids.mkdir(exist_ok=True)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), PIDS: str(self.pids), **variables}
        self.process = warm.Command(
            *words,
            forked=forked,
            env=environment,
            stdin=subprocess.PIPE if streams is subprocess.PIPE else streams,  # type: ignore[arg-type]
            stdout=streams,  # type: ignore[arg-type]
            stderr=streams,  # type: ignore[arg-type]
            start_new_session=True,
        )

    def wait(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not ready():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def children(self) -> list[int]:
        """What environments started."""
        return [int(path.name) for path in self.pids.iterdir()]

    def end(self, number: int, seconds: float = 60.0) -> tuple[int, str, str]:
        """Send a signal to the command alone; its exit code and output, once nothing is left of it."""
        below = descendants(self.process.pid)
        self.process.send_signal(number)
        stdout, stderr = self.process.communicate(timeout=seconds)
        await_all(below + self.children())
        assert "Traceback" not in stderr, stderr
        return self.process.returncode, stdout, stderr

    def interrupt(self) -> tuple[int, str, str]:
        """^C, and once more if a library lost the first: what a person would do."""
        self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20.0)
        return self.end(signal.SIGINT)

    def close(self) -> None:
        below = descendants(self.process.pid)
        self.process.kill()
        kill_all(below + self.children())
        self.process.communicate(timeout=60)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    with contextlib.ExitStack() as stack:

        def make(*words: object, **more: Any) -> Command:
            command = Command(tmp_path, *words, **more)
            stack.callback(command.close)
            return command

        yield make


def num_games(folder: Path) -> int:
    if not (folder / "replay.sqlite").exists():
        return 0
    with GameStore(folder / "replay.sqlite") as store:
        return store.num_games()


# ---------------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("number", [KILL, HUP])
@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_that_environments_started_survives_the_trainer(
    workers: int, number: int, start: Callable[..., Command], tmp_path: Path
) -> None:
    """Children, forks and orphans, of the trainer's own environments or of a worker's; SIGHUP leaves a checkpoint."""
    run = tmp_path / "run"
    words = ("--run", run, "--workers", workers, "--no-check", *tiny(f"game={GAME}", *ENDLESS))
    command = start("train", "cartpole", *words)
    command.wait(lambda: len(command.children()) >= NUM_CHILDREN)
    assert all(map(is_alive, command.children()))
    if number == HUP:
        command.wait(lambda: len(generations(run / "agents")) > 1)
    code, _, said = command.end(number)
    if number == HUP:
        assert code == 130
        assert f"To go on: python cli.py resume {run}" in said
        last = read_metrics(run / "metrics.jsonl")[-1]
        assert isinstance(last, Finished)
        assert (last.updates, last.reason) == (generations(run / "checkpoints")[-1][0], "interrupted")


def test_a_check_leaves_nothing_running(start: Callable[..., Command], tmp_path: Path) -> None:
    """What its copies of the environment started ends with it, and does not hold it up."""
    command = start("check-env", GAME, "--steps", 10)
    command.process.communicate(timeout=PATIENCE_SECONDS)
    assert command.process.returncode == 0
    assert command.children()
    await_all(command.children())


def test_training_that_ends_well_leaves_nothing_running(start: Callable[..., Command], tmp_path: Path) -> None:
    """Even if its environment never ends what it started, and Python would wait for that."""
    words = ("--run", tmp_path / "run", "--workers", 0, "--no-check", *tiny(f"game={GAME}"))
    command = start("train", "cartpole", *words)
    command.process.communicate(timeout=PATIENCE_SECONDS)
    assert command.process.returncode == 0
    assert len(command.children()) == NUM_CHILDREN
    await_all(command.children())


IN_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
sys.argv[0] = "cli.py"
from numzero.__main__ import run
run()
"""


def test_a_terminal_that_closes_leaves_a_checkpoint(start: Callable[..., Command], tmp_path: Path) -> None:
    """Nothing can be said there any more; the run says in its own file how it ended."""
    run = tmp_path / "run"
    ours, theirs = os.openpty()
    words = ("train", "tictactoe", "--run", run, *tiny(*ENDLESS))
    process = warm.Command(*words, code=IN_TERMINAL, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(generations(run / "agents")) < 2:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        os.set_blocking(ours, False)
        with contextlib.suppress(BlockingIOError):
            while os.read(ours, 65536):
                pass
        os.close(ours)
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.wait()
    last = read_metrics(run / "metrics.jsonl")[-1]
    assert isinstance(last, Finished)
    assert (last.updates, last.reason) == (generations(run / "checkpoints")[-1][0], "interrupted")


def test_compiling_is_broken_off_at_once(start: Callable[..., Command], tmp_path: Path) -> None:
    """On a new machine it takes a minute before the first worker is started; there is a checkpoint all the same."""
    run = tmp_path / "run"
    words = ("--run", run, "--workers", 1, *tiny(*ENDLESS))
    command = start("train", "tictactoe", *words, NUMBA_CACHE_DIR=str(tmp_path / "numba"))
    command.wait(lambda: bool(generations(run / "agents")))
    time.sleep(2.0)
    code, _, said = command.end(TERM, seconds=25.0)
    assert code == 130
    assert f"To go on: python cli.py resume {run}" in said
    assert generations(run / "checkpoints")


@pytest.mark.parametrize("number", [TERM, KILL, pytest.param(HUP, marks=pytest.mark.slow)])
def test_many_workers_that_are_being_started_are_no_obstacle(
    number: int, start: Callable[..., Command], tmp_path: Path
) -> None:
    """Asked in the middle of it, the trainer ends, with all that it has started; killed, it leaves nobody behind."""
    run = tmp_path / "run"
    command = start("train", "tictactoe", "--run", run, "--workers", 12, *tiny(*ENDLESS))
    command.wait(lambda: len(descendants(command.process.pid)) >= 4)
    code, _, said = command.end(number, seconds=30.0)
    assert code == (-KILL if number == KILL else 130)
    assert number == KILL or f"To go on: python cli.py resume {run}" in said


# ---------------------------------------------------------------------------------------------------- studies


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("number", "workers", "seeds"),
    [
        (KILL, 1, 2),
        (TERM, 0, 1),
        *(
            pytest.param(*values, marks=SLOW)
            for values in ((KILL, 0, 2), (TERM, 1, 1), (HUP, 0, 1), (signal.SIGINT, 0, 1))
        ),
    ],
)
def test_trainers_of_a_study_end_with_it(
    number: int, workers: int, seeds: int, start: Callable[..., Command], tmp_path: Path
) -> None:
    """And so do their workers and environments, which it and each run hold; each locks its run's folder meanwhile."""
    out = tmp_path / "study"
    settings = tiny(f"game={GAME}", f"processes.workers={workers}", *ENDLESS)
    words = ("study", "cartpole", "--seeds", seeds, "--jobs", 2, "--out", out, *settings)
    command = start(*words)
    command.wait(lambda: len(command.children()) >= (1 + seeds) * NUM_CHILDREN)
    second = start(*words)
    _, refused = second.process.communicate(timeout=PATIENCE_SECONDS)
    assert (second.process.returncode, "is in use by another process" in refused) == (2, True)
    code, _, said = command.end(number)
    if number != KILL:
        assert code == 130
        assert said.endswith("Stopped. To go on: the same command again.\n")


# ---------------------------------------------------------------------------------------------------- other commands


@pytest.mark.parametrize("number", [TERM, HUP])
def test_selfplay_hears_what_ends_it(number: int, start: Callable[..., Command], tmp_path: Path) -> None:
    """As ^C: exit code 0, and the games that it says it stored are there."""
    agent, out = write_agent(tmp_path / "agent"), tmp_path / "games"
    command = start("selfplay", "--agent", agent, "--workers", 2, "--batch", 2, "--out", out, "--json")
    command.wait(lambda: num_games(out) > 20)
    code, said, _ = command.end(number)
    assert code == 0
    assert json.loads(said)["stored"] == num_games(out) > 20


@pytest.mark.parametrize("workers", [0, 1])
def test_reanalyze_hears_what_ends_it(workers: int, start: Callable[..., Command], tmp_path: Path) -> None:
    """What was searched until then is stored, and the rest is left for the next time."""
    agent, out = write_agent(tmp_path / "agent"), tmp_path / "games"
    played = start("selfplay", "--agent", agent, "--workers", 1, "--games", 60, "--simulations", 0, "--out", out)
    assert played.process.wait(PATIENCE_SECONDS) == 0
    words = ("--agent", agent, "--workers", workers, "--batch", 1, "--simulations", 2000, "--json")
    command = start("reanalyze", out, *words)
    command.wait(lambda: num_refreshed(out) > 0)
    code, said, _ = command.end(HUP)
    assert code == 0
    assert 0 < json.loads(said)["games"] <= 60 - json.loads(said)["left"]


def num_refreshed(folder: Path) -> int:
    with GameStore(folder / "replay.sqlite") as store:
        return len(store.read_statistics_after(0, 1000)[1])


ENDS = (TERM, HUP, signal.SIGINT)
OTHERS = ("evaluate", "play", "bench", "export", "web")
IN_SHORT = {
    "evaluate": ENDS,
    "play": (signal.SIGINT,),
    "bench": (TERM,),
    "export": (HUP,),
    "web": (TERM, signal.SIGINT),
}
"""Of each command one signal or more; what one of them means is said once, in `interrupts`."""


@pytest.mark.parametrize(
    ("what", "number"),
    [pytest.param(w, n, marks=() if n in IN_SHORT[w] else SLOW) for w in OTHERS for n in ENDS],
)
def test_other_commands_end_with_a_sentence(
    what: str, number: int, start: Callable[..., Command], tmp_path: Path
) -> None:
    """No traceback, and no process is left."""
    agent = write_agent(tmp_path / "agent")
    words = {
        "evaluate": ("evaluate", agent, "--games", 10**6),
        "play": ("play", agent),
        "bench": ("bench", "selfplay", "--seconds", 100, "--workers", 1),
        "export": ("export", agent, "--out", tmp_path / "out", "--games", 10**6),
        "web": ("play", agent, "--web", "--no-open"),
    }[what]
    command = start(*words, PYTHONUNBUFFERED="1")
    if what in ("play", "web"):
        assert command.process.stdout is not None
        next(line for line in command.process.stdout if line.startswith("Play at" if what == "web" else " "))
    else:
        command.wait(lambda: uses_numba(command.process.pid))
    time.sleep(0.5)
    code, said, complaint = command.end(number)
    if what == "web":
        assert (code, said) == (0, "The page is closed.\n")
    else:
        assert code == 130
        assert complaint.strip() == "Stopped."


def uses_numba(pid: int) -> bool:
    return "llvmlite" in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------------------------- the first second


def is_ours(pid: int) -> bool:
    """Whether the command line's first line has run: from then on SIGTERM is caught."""
    found = re.search(r"^SigCgt:\s*([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> (TERM - 1) & 1)


@pytest.mark.parametrize(
    ("words", "moments"),
    [
        (("--help",), (0, 1, 3)),
        (("train", "tictactoe"), (0, 3, 6)),
        pytest.param(("--help",), range(10), marks=SLOW),
        pytest.param(("train", "tictactoe"), range(10), marks=SLOW),
    ],
    ids=["help", "train", "help-all", "train-all"],
)
def test_an_interrupt_in_the_first_second_shows_no_traceback(
    words: tuple[str, ...], moments: Sequence[int], start: Callable[..., Command], tmp_path: Path
) -> None:
    """At some moments of the time in which Python imports; before our first line Python itself may show one."""
    for moment in moments:
        more = () if words == ("--help",) else ("--run", tmp_path / str(moment), *tiny(*ENDLESS))
        command = start(*words, *more, forked=False)
        with contextlib.suppress(AssertionError):
            command.wait(lambda command=command: is_ours(command.process.pid))  # type: ignore[misc]
        time.sleep(0.15 * moment)
        has_ended = command.process.poll() is not None
        code, _, said = command.interrupt()
        assert code in ((0,) if has_ended else (130, -signal.SIGINT)), said  # the second: at Python's own end
        assert code != 130 or said.startswith("Stopped."), said


def test_python_can_run_the_package(start: Callable[..., Command]) -> None:
    """`python -m numzero` is the command line too, and importing the package alone loads nothing heavy."""
    shown = subprocess.run([sys.executable, "-m", "numzero", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert shown.stdout.startswith("numzero, version ")
    code = "import sys, numzero; print({'numpy', 'numba', 'onnxruntime'} & set(sys.modules)); numzero.Agent"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout == "set()\n"
