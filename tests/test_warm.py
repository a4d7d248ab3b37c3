"""A process that was forked from the warm one is, for a test, a process of its own."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import warm
from tests.chaos import is_alive

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no process is forked")

SAME = {
    "words": "import sys; print(sys.argv, __name__, sys.path[0], __file__ if '__file__' in globals() else None)",
    "streams": "import sys; [print(s.encoding, s.errors, s.mode, s.name, s.line_buffering, s.write_through, s.newlines)"
    " for s in (sys.stdin, sys.stdout, sys.stderr)]",
    "typed": "print(input(), repr(input()))",
    "order": "import sys; print('one'); print('two', file=sys.stderr); print('three', flush=True)",
    "code": "import sys; sys.exit(7)",
    "sentence": "import sys; sys.exit('a sentence')",
    "bug": "raise ValueError('a bug')",
    "killed": "import os; os.kill(os.getpid(), 9)",
    "interrupted": "import os, signal; signal.signal(signal.SIGUSR1, 0); os.kill(os.getpid(), 2)",
    "atexit": "import atexit, sys; atexit.register(print, 'at exit'); sys.exit(3)",
    "threads": "import threading, time; threading.Thread(target=lambda: (time.sleep(0.2), print('later'))).start()",
    "signals": "import signal; print([signal.getsignal(n) for n in (1, 2, 13, 15, 17)], signal.pthread_sigmask(0, []))",
    "folder": "import os; print(os.getcwd(), ascii(os.environ['A_NAME']), os.umask(0))",
    "session": "import os; print(os.getsid(0) == os.getpid())",
    "files": "import os; print(len(os.listdir('/proc/self/fd')) < 8)",  # those of libraries are few
    "workers": "from multiprocessing import get_context\nimport os\n"
    "p = get_context('spawn').Process(target=os._exit, args=(5,))\np.start()\np.join()\nprint(p.exitcode)",
}


@pytest.mark.parametrize("session", [False, True])
@pytest.mark.parametrize("what", SAME)
def test_it_does_what_a_process_does(what: str, session: bool, tmp_path: Path) -> None:
    """Words, streams, signals, folder, environment; whatever ends it, its code and what it says are the same."""
    options = {
        "cwd": tmp_path, "env": {**os.environ, "A_NAME": "é\udcff"}, "input": "a line\nanother\n", "timeout": 60,
        "start_new_session": session,
    }  # fmt: skip
    words = [sys.executable, "-c", SAME[what], "one", "two words"]
    expected = subprocess.run(words, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    found = warm.run("one", "two words", code=SAME[what], **options)
    assert (found.returncode, found.stdout) == (expected.returncode, expected.stdout)
    assert found.stderr.splitlines()[-1:] == expected.stderr.splitlines()[-1:]
    assert what == "bug" or what == "interrupted" or found.stderr == expected.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_signals_reach_it_from_its_first_moment(number: int) -> None:
    """None is lost, though the warm process itself holds them back."""
    with warm.Command(code="import time; time.sleep(60)", stderr=subprocess.DEVNULL) as process:
        process.send_signal(number)
        assert process.wait(30) == -number
        assert process.poll() == -number


def test_it_is_waited_for_with_patience(tmp_path: Path) -> None:
    """As `subprocess` has it: no answer yet, too late, and in the end the code."""
    with warm.Command(code="input()", stdin=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
        assert is_alive(process.pid)
        process.communicate("\n", timeout=30)
        assert process.returncode == 0


def test_what_libraries_read_when_they_are_imported_needs_a_process_of_its_own() -> None:
    """A variable of Numba's is heard."""
    code = "import numba, os, sys; print(numba.config.DISABLE_JIT, 'torch' in sys.modules)"
    assert warm.run(code=code).stdout == "0 True\n"
    assert warm.run(code=code, env={**os.environ, "NUMBA_DISABLE_JIT": "1"}).stdout == "1 False\n"


def test_the_warm_process_has_no_thread_that_a_fork_would_miss() -> None:
    """But those of OpenBLAS, one copy NumPy's and one SciPy's, which starts them again."""
    code = "import os; print(len(os.listdir(f'/proc/{os.getppid()}/task')))"
    brought = "numpy, scipy.linalg" if importlib.util.find_spec("scipy") else "numpy"
    alone = f"import os, {brought}; print(len(os.listdir('/proc/self/task')))"
    assert int(warm.run(code=code).stdout) <= int(subprocess.check_output([sys.executable, "-c", alone]))
