"""What a terminal shows while a run trains, and what is left on it after ^C."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import warm
from tests.tiny import RUN

if sys.platform == "win32":
    pytest.skip("a terminal of one's own needs pty, which Windows has not", allow_module_level=True)

import pty

SECONDS = 200.0
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ERASED = "\x1b[2K"


class Terminal:
    """A terminal of its own, and a command whose terminal it is."""

    def __init__(self, *words: object, folder: Path) -> None:
        self.said = ""
        self._ours, theirs = pty.openpty()
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
        options = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
        self.process: subprocess.Popen[str] = warm.Command(*words, cwd=folder, env=environment, **options)
        os.close(theirs)

    def read_until(self, text: str) -> None:
        """Read on until this was shown, or to the end."""
        deadline = time.monotonic() + SECONDS
        while text not in self.said and time.monotonic() < deadline:
            if select.select([self._ours], [], [], 1.0)[0]:
                try:
                    self.said += os.read(self._ours, 2**16).decode()
                except OSError:  # Linux's end of a terminal
                    return

    def interrupt(self) -> None:
        """What a terminal does at ^C."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> tuple[str, int]:
        """All that was shown, and the exit code."""
        self.read_until("\0")
        os.close(self._ours)
        return self.said, self.process.wait(SECONDS)


def test_an_interrupted_run_leaves_one_panel_and_says_how_to_go_on(tmp_path: Path) -> None:
    """No markup, a bar with the total, and the command last."""
    sets = [word for setting in RUN for word in ("--set", setting)]
    endless = ("--set", "schedule.num_updates=1000000", "--no-check", "--run", "run")
    terminal = Terminal("train", "tictactoe", *sets, *endless, folder=tmp_path)
    terminal.read_until("of 1,000,000")
    terminal.interrupt()
    said, code = terminal.end()
    assert code == 130
    assert "[dim]" not in said
    left = ESCAPE.sub("", said.rpartition(ERASED)[2]).replace("\r", "")
    assert left.count("numzero: run") == left.count("episodes") == 1
    assert "0%" in left
    assert "━" in left
    last = left.strip().splitlines()[-1]
    assert re.match(r"Stopped\. To go on: python cli\.py resume run\. The agent so far is there too: ", last)
