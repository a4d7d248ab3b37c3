"""Kills and stops any process of a running program, again and again, starts it again when it is gone, and watches.

Knows processes of Linux and a number that goes up while the program gets on; knows nothing of what the program does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


class Chaos:
    """One program under fire.

    Args:
        command: what starts it, and what takes it up again.
        progress: a number that goes up while it works.
        seed: decides whom and when.
        patience_seconds: longest time without progress after a fault.
    """

    def __init__(
        self,
        command: Callable[[], list[str]],
        progress: Callable[[], int],
        log: Path,
        seed: int,
        patience_seconds: float,
    ) -> None:
        self._command = command
        self._progress = progress
        self._log = log
        self._rng = np.random.default_rng(seed)
        self._patience_seconds = patience_seconds
        self._main: subprocess.Popen[bytes] | None = None
        self.faults: Counter[str] = Counter()
        self.recoveries: list[float] = []
        """Seconds from each fault to the next progress, the time to start again included."""
        self.starts: list[float] = []
        """Seconds from each start of the program to its first progress."""

    def run(self, max_faults: int) -> bool:
        """Cause faults until there were so many, or the program has ended by itself; whether it did."""
        try:
            self._start()
            while sum(self.faults.values()) < max_faults:
                if self._wait(float(self._rng.exponential(0.4))):
                    return True
                self._strike()
                if self._recover():
                    return True
            return self._wait(3600.0)
        finally:
            self.close()

    def close(self) -> None:
        """End the program, however."""
        if self._main is not None and self._main.poll() is None:
            self._main.kill()
            self._main.wait()

    def _start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self._log.open("ab") as log:
            self._main = subprocess.Popen(
                self._command(), stdout=log, stderr=log, env=environment, cwd=ROOT, start_new_session=True
            )
        self._await_progress(self.starts)

    def _wait(self, seconds: float) -> bool:
        """Let it work; whether it has ended well."""
        assert self._main is not None
        try:
            code = self._main.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        assert code == 0, self._log.read_text()[-5000:]
        return True

    def _strike(self) -> None:
        """Send a signal to somebody."""
        assert self._main is not None
        workers = [pid for pid in descendants(self._main.pid) if is_alive(pid)]
        victim = int(self._rng.choice([self._main.pid, *workers]))
        kind = "SIGKILL" if self._rng.random() < 0.6 else "SIGSTOP"
        who = "the program" if victim == self._main.pid else name_of(victim)
        try:
            os.kill(victim, getattr(signal, kind))
        except ProcessLookupError:
            return
        self.faults[f"{kind} of {who}"] += 1
        if kind == "SIGSTOP" and (victim == self._main.pid or who == "resource tracker" or self._rng.random() < 0.3):
            time.sleep(float(self._rng.uniform(0.1, 3.0)))  # as ^Z, or a machine that sleeps
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGCONT)
        if kind == "SIGKILL" and victim == self._main.pid:
            self._main.wait()
            await_end(workers)
            self._start()

    def _recover(self) -> bool:
        """Wait until it gets on; whether it has ended well."""
        return self._await_progress(self.recoveries)

    def _await_progress(self, times: list[float]) -> bool:
        started, before = time.monotonic(), self._progress()
        while True:
            if self._wait(0.02):
                return True
            if self._progress() > before:
                times.append(time.monotonic() - started)
                return False
            waited = time.monotonic() - started
            assert waited < self._patience_seconds, f"no progress for {waited:.0f} s\n{self._log.read_text()[-5000:]}"


def descendants(pid: int) -> list[int]:
    """All processes below one."""
    try:
        children = [
            int(word)
            for path in Path(f"/proc/{pid}/task").glob("*/children")
            for word in path.read_text(encoding="utf-8").split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return children + [below for child in children for below in descendants(child)]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not buried does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def name_of(pid: int) -> str:
    """Worker or resource tracker."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return "worker"
    return "resource tracker" if b"resource_tracker" in command else "worker"


def await_end(pids: list[int]) -> None:
    """Whoever's parent was killed must vanish; one that was stopped before its first line ran, when it goes on."""
    deadline = time.monotonic() + 10.0
    while left := [f"{pid}: {name_of(pid)}" for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline, f"{left} outlived the program"
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        time.sleep(0.01)


def await_all(pids: list[int], seconds: float = 10.0) -> None:
    """All of them must end by themselves."""
    deadline = time.monotonic() + seconds
    while left := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline, f"{left} still run"
        time.sleep(0.02)


def kill_all(pids: list[int]) -> None:
    """Whoever is left when a test has failed."""
    for pid in filter(is_alive, pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def tell(what: str, runs: list[Chaos]) -> None:
    """Print the figures of some runs."""
    faults: Counter[str] = sum((run.faults for run in runs), Counter())
    recoveries = sorted(seconds for run in runs for seconds in run.recoveries)
    starts = sorted(seconds for run in runs for seconds in run.starts)
    sys.stdout.write(
        f"{what}: {sum(faults.values())} faults over {len(runs)} runs, {dict(faults)}; progress again after "
        f"{np.median(recoveries):.2f} s (median), {recoveries[-1]:.2f} s (longest); after a start "
        f"{np.median(starts):.2f} s, {starts[-1]:.2f} s\n"
    )
