"""^C, SIGTERM and SIGHUP: asked the first time, obeyed at once the second time, and never in a bad moment."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from numzero import interrupts as interrupts_module
from numzero.interrupts import Interrupts, held_back, raised
from tests.chaos import ROOT

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals to this process")

ALL = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if os.name == "posix" else [])]


@pytest.fixture(autouse=True)
def as_they_were() -> Iterator[None]:
    """What a test leaves behind is taken back."""
    before = {number: signal.getsignal(number) for number in ALL}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ALL)
def test_a_kernel_that_takes_long_hears_them(number: int) -> None:
    """They are raised where it is waited for, and what it writes to is given up; else it is as if it was called."""
    may_end, given_up = threading.Event(), threading.Event()
    signals = threading.Timer(0.05, os.kill, (os.getpid(), number))
    with raised():
        signals.start()
        with pytest.raises(KeyboardInterrupt):
            interrupts_module.heard_during(lambda: may_end.wait(60.0), given_up.set)
    assert given_up.is_set()
    may_end.set()
    assert interrupts_module.heard_during(lambda: 3, pytest.fail) == 3
    with pytest.raises(ZeroDivisionError):
        interrupts_module.heard_during(lambda: 1 // 0, pytest.fail)


@pytest.mark.parametrize("number", ALL)
def test_the_first_signal_asks_and_the_second_does_not_wait(number: int) -> None:
    """Whichever it is; afterwards signals mean what they meant before."""
    before = signal.getsignal(number)
    interrupts = Interrupts()
    with interrupts.heard():
        os.kill(os.getpid(), number)
        assert interrupts.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM if number == signal.SIGHUP else number)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("first", ALL)
def test_hanging_up_is_never_a_second_wish(first: int) -> None:
    """Who closes a terminal or logs out sends several, and wants the last checkpoint all the same."""
    interrupts = Interrupts()
    with interrupts.heard():
        for number in (first, signal.SIGHUP, signal.SIGHUP):
            os.kill(os.getpid(), number)
        assert interrupts.requested
    with raised():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), first)
        os.kill(os.getpid(), signal.SIGHUP)


def test_other_threads_hear_nothing_and_break_nothing() -> None:
    """Handlers belong to the main thread."""
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def listen() -> None:
        with Interrupts().heard(), raised():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize("number", ALL)
def test_what_was_ignored_at_the_start_stays_so(number: int) -> None:
    """As nohup and the background of scripts have it."""
    signal.signal(number, signal.SIG_IGN)
    interrupts = Interrupts()
    with raised(), interrupts.heard():
        os.kill(os.getpid(), number)
    assert not interrupts.requested
    interrupts_module.leave_at_once()
    assert signal.getsignal(number) == signal.SIG_IGN


def test_what_leaves_nothing_behind_is_left_at_once() -> None:
    """Compiling and starting processes: the first signal ends it, even one that came before, or was lost inside."""
    interrupts = Interrupts()
    with interrupts.heard():
        with pytest.raises(KeyboardInterrupt), interrupts.at_once():
            os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.requested
        with pytest.raises(KeyboardInterrupt), interrupts.at_once():
            pytest.fail("it was asked before")
    lost = Interrupts()
    with pytest.raises(KeyboardInterrupt), lost.heard(), lost.at_once(), contextlib.suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)  # as in a callback of a library, which cannot pass it on


def test_an_interrupt_waits_for_the_end_of_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that is broken off in its import may call itself broken; the interrupt comes afterwards."""
    (tmp_path / "slowly.py").write_text(
        textwrap.dedent("""
            import os, signal, time
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(20):
                time.sleep(0.01)
            whole = True
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    with raised():
        import slowly  # type: ignore[import-not-found]

        assert slowly.whole
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            time.sleep(10)
        assert time.monotonic() - started < 5.0


def test_a_program_that_works_in_an_import_hears_all_the_same(tmp_path: Path) -> None:
    """Only imports that began after the handlers count."""
    (tmp_path / "work.py").write_text(
        "import os, signal\nfrom numzero.interrupts import raised\n"
        "with raised():\n    try:\n        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    except KeyboardInterrupt:\n        print('heard')\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    command, environment = [sys.executable, "-c", "import work"], {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "heard\n", done.stderr


def test_signals_are_held_back_while_a_process_is_started() -> None:
    """And are heard right afterwards."""
    interrupts = Interrupts()
    with interrupts.heard():
        with held_back():
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGHUP)
                time.sleep(0.01)
            assert not interrupts.requested
        assert interrupts.requested


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_what_is_forked_can_be_ended_by_sigterm() -> None:
    """An environment's process of multiprocessing does not inherit our way of hearing."""
    with Interrupts().heard():
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
        time.sleep(0.5)
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


LOST = """
import os, signal, sys, time
from numzero.interrupts import Interrupts
interrupts = Interrupts()
with interrupts.heard():
    print("ready", flush=True)
    while not interrupts.requested:
        time.sleep(0.01)
    time.sleep(0.2)
    print("a last line", flush=True)
    print("another", file=sys.stderr, flush=True)
    open(sys.argv[1], "w").close()
"""


def test_a_terminal_that_is_gone_costs_only_what_is_said(tmp_path: Path) -> None:
    """Writing to it would fail, before the last checkpoint was written."""
    ours, theirs = os.openpty()
    command = ["setsid", "--ctty", sys.executable, "-c", LOST, str(tmp_path / "done")]
    process = subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    assert os.read(ours, 100).startswith(b"ready")
    os.close(ours)
    assert process.wait(30) == 0
    assert (tmp_path / "done").exists()


CALLED = """
def called():
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000): pass
    print("whole", flush=True)
call = ctypes.CFUNCTYPE(None)(called)
"""
MADE = """
class Made:
    def __init__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000): pass
        print("whole", flush=True)
call = Made
"""
HALF_MADE = """
class Made:
    def __init__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000): pass
        self.handle = "whole"
    def __del__(self):
        print(self.handle, flush=True)
def call():
    print("begun", flush=True)
    Made()
"""


@pytest.mark.parametrize(
    ("code", "path", "said"),
    [
        pytest.param(CALLED, "llvmlite/binding/executionengine.py", "whole", id="a call by LLVM, which would lose it"),
        pytest.param(MADE, "llvmlite/binding/ffi.py", "whole", id="an object of LLVM's, which would stay half made"),
        pytest.param(HALF_MADE, "elsewhere.py", "begun", id="any object that complains of being half made"),
    ],
)
def test_what_would_break_of_an_interrupt(code: str, path: str, said: str, tmp_path: Path) -> None:
    """LLVM's binding is not broken off: the interrupt comes right after it. What it leaves half made says nothing."""
    program = (
        "import ctypes, os, signal, sys, time\n"
        "from numzero import interrupts\n"
        "exec(compile(sys.argv[1], sys.argv[2], 'exec'))\n"
        "try:\n"
        "    with interrupts.raised():\n"
        "        call()\n"
        "        time.sleep(20)\n"
        "except KeyboardInterrupt:\n"
        "    print('heard')\n"
    )
    words = [sys.executable, "-c", program, code, str(tmp_path / path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == [said, "heard"]
    assert done.stderr == ""
