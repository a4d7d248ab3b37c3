"""Nothing leaves the machine: no look-up, no connection, no file outside numzero's folders, whatever is run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from numzero import compiled
from tests.hosts.toolchains import HOSTS, MISSING
from tests.recorder import compile_recorder, missing_recorder
from tests.shipped import MODELS
from tests.tiny import RUN

ROOT = Path(__file__).resolve().parents[1]
AGENT = MODELS / "tictactoe"
HARMLESS = ("/dev/", "/proc/")

pytestmark = pytest.mark.skipif(bool(missing_recorder()), reason=missing_recorder() or "")


class Recorded:
    """Runs programs with an empty home, and tells what they did; `work` is the one folder that they may write to."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.work, self.home = folder, folder / "work", folder / "home"
        self.work.mkdir()
        self.home.mkdir()
        self._recorder = compile_recorder(folder)
        kernels = compiled.cache_folder()
        self._allowed = (str(self.work), *HARMLESS, *([str(kernels)] if kernels else []))
        self._kernels = {"NUMBA_CACHE_DIR": str(kernels.parents[1])} if kernels else {}

    def run(self, *words: object, given: str = "", **variables: str) -> list[str]:
        """What a program did that it must not do; it must end well."""
        seen = self.folder / "seen"
        seen.unlink(missing_ok=True)
        left_out = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "PYTHONWARNINGS")
        environment = {name: value for name, value in os.environ.items() if name not in left_out}
        environment |= {"HOME": str(self.home), "TMPDIR": str(self.work), "PYTHONDONTWRITEBYTECODE": "1"}
        environment |= self._recorder | self._kernels | variables
        done = subprocess.run(
            [str(word) for word in words],
            cwd=ROOT,
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        lines = seen.read_text(encoding="utf-8").splitlines() if seen.exists() else []
        return [line for line in lines if not line.removeprefix("write ").startswith(self._allowed)]

    def python(self, code: str, **variables: str) -> list[str]:
        """`run` of Python code."""
        return self.run(sys.executable, "-c", code, **variables)


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path)


# The recorder itself: if it missed anything, the tests below would show nothing.

HOME = "import os, pathlib, sqlite3; home = pathlib.Path.home(); "
OUTSIDE = {
    "import socket\ntry: socket.getaddrinfo('example.org', 80)\nexcept OSError: pass": "lookup example.org",
    "import socket\ntry: socket.gethostbyname('example.org')\nexcept OSError: pass": "lookup example.org",
    "import socket\ntry: socket.socket().connect(('192.0.2.1', 80))\nexcept OSError: pass": "connect 192.0.2.1",
    "import socket\nsocket.socket(2, 2).sendto(b'x', ('192.0.2.1', 53))": "send 192.0.2.1",
    HOME + "(home / 'a').write_text('')": "write {home}/a",
    HOME + "os.open('a', os.O_CREAT | os.O_RDWR, dir_fd=os.open(home, os.O_RDONLY))": "write {home}/a",
    HOME + "(home / 'a').mkdir()": "write {home}/a",
    HOME + "sqlite3.connect(home / 'a').execute('create table t (x)')": "write {home}/a",
}


@pytest.mark.parametrize(("code", "line"), OUTSIDE.items())
def test_the_recorder_sees_what_a_program_does(recorded: Recorded, code: str, line: str) -> None:
    """A look-up, a connection, a packet, a file and a folder, from Python and from a library in C."""
    assert line.format(home=recorded.home) in recorded.python(code)
    assert recorded.python(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])") != []


def test_the_recorder_sees_onnxruntimes_reports(recorded: Recorded) -> None:
    """With telemetry left on, as plain onnxruntime has it, files appear in the home folder."""
    code = f"import onnxruntime\nonnxruntime.InferenceSession({str(AGENT / 'initial.onnx')!r})"
    seen = recorded.python(code)
    if not seen:
        pytest.skip("this version of onnxruntime reports nothing")
    assert any(line.startswith(f"write {recorded.home}/.cache/Microsoft") for line in seen)


@pytest.mark.slow
def test_the_recorder_sees_onnxruntimes_look_up(recorded: Recorded) -> None:
    """With telemetry left on, the name of Microsoft's machine is looked up a while later."""
    code = f"import onnxruntime, time\nonnxruntime.InferenceSession({str(AGENT / 'initial.onnx')!r})\ntime.sleep(30)"
    seen = recorded.python(code)
    if not seen:
        pytest.skip("this version of onnxruntime reports nothing")
    assert "lookup mobile.events.data.microsoft.com" in seen


# numzero.

PLAY = f"""
import numpy as np
from numzero import Agent
board = np.zeros((3, 3, 3), np.uint8)
board[2] = 1
Agent.load({str(AGENT)!r}).act(board, simulations=4)
"""


def test_an_agent_leaves_no_trace(recorded: Recorded) -> None:
    """An app that embeds an agent: nothing is looked up, sent or written; the home folder stays empty."""
    assert recorded.python(PLAY) == []
    assert list(recorded.home.iterdir()) == []


def test_onnxruntime_itself_is_told(recorded: Recorded) -> None:
    """Where a network runs in onnxruntime and not in kernels, and in a process that the first one starts."""
    session = f"import onnxruntime\nonnxruntime.InferenceSession({str(AGENT / 'agent.onnx')!r})\n"
    code = (
        f"import numzero.errors\n{session}import subprocess, sys\nsubprocess.run([sys.executable, '-c', {session!r}])"
    )
    assert recorded.python(code) == []


def test_the_users_word_counts(recorded: Recorded) -> None:
    """ORT_DISABLE_TELEMETRY stays what it was set to."""
    code = (
        "import numzero, os; print(os.environ['ORT_DISABLE_TELEMETRY'], file=open(os.environ['TMPDIR'] + '/said', 'w'))"
    )
    for value, said in (("0", "0\n"), ("", "\n"), ("1", "1\n")):
        recorded.python(code, ORT_DISABLE_TELEMETRY=value)
        assert (recorded.work / "said").read_text(encoding="utf-8") == said
    recorded.python(code)
    assert (recorded.work / "said").read_text(encoding="utf-8") == "1\n"


def test_a_training_run_writes_its_folder_alone(recorded: Recorded) -> None:
    """With processes for self-play and reanalysis, and matches at the end."""
    settings = [word for setting in (*RUN, "reanalyze.fraction=0.5") for word in ("--set", setting)]
    words = ["train", "tictactoe", "--run", recorded.work / "run", "--workers", 1, "--reanalyze-workers", 1, *settings]
    assert recorded.run(sys.executable, "cli.py", *words) == []
    assert (recorded.work / "run" / "metrics.jsonl").exists()
    assert list(recorded.home.iterdir()) == []


def built(recorded: Recorded) -> Path:
    """The C++ sample."""
    folder = Path(shutil.copytree(HOSTS / "cpp", recorded.work / "cpp"))
    words = ["make", "-s", f"PYTHON={sys.executable}", "CXXFLAGS=-O1"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "act"


SAMPLES: dict[str, Callable[[Recorded], list[object]]] = {
    "python": lambda recorded: [sys.executable, HOSTS / "python" / "act.py", AGENT / "agent.onnx"],
    "node": lambda recorded: ["node", HOSTS / "node" / "act.mjs", AGENT / "agent.onnx"],
    "cpp": lambda recorded: [built(recorded), AGENT / "agent.onnx", 3, 3, 3],
}


@pytest.mark.parametrize("host", SAMPLES)
def test_a_host_leaves_no_trace(recorded: Recorded, host: str) -> None:
    """The samples, which run without numzero, tell onnxruntime themselves."""
    if reason := MISSING[host]():
        pytest.skip(reason)
    board = (HOSTS / "empty-board.txt").read_text(encoding="utf-8")
    assert recorded.run(*SAMPLES[host](recorded), given=board) == []
