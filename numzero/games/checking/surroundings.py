"""The process around an environment: what code that is not ours changes in it for everybody, or holds on to.

Knows generators, open files, threads and processes, and what a guest is; knows no environment.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numzero.games.adapters.guests import Guest
from numzero.games.checking.findings import Findings

__all__ = ["Surroundings", "handles", "look_at_guest"]


class _Subject(NamedTuple):
    """Something that belongs to the whole process."""

    name: str
    look: Callable[[], Any]
    remedy: str


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]


def _numpy_generator() -> str:
    state: Any = np.random.get_state(legacy=False)  # noqa: NPY002 (read, not drawn from)
    return hashlib.sha256(state["state"]["key"].tobytes() + bytes([state["state"]["pos"] % 256])).hexdigest()[:12]


_SUBJECTS = (
    _Subject("NumPy's global generator", _numpy_generator, "Draw from self.np_random, which reset(seed=...) seeds."),
    _Subject("Python's global generator", lambda: _digest(random.getstate()), "Draw from self.np_random."),
    _Subject("where the process prints to", lambda: (repr(sys.stdout), repr(sys.stderr)), "Leave sys.stdout alone."),
    _Subject("the limit of recursion", sys.getrecursionlimit, "Leave it as it is."),
)

_REMEDIES = {
    "the current folder": "Name files by whole paths in place of changing it.",
    "NumPy's handling of errors": "Use np.errstate around the lines that need it.",
    "torch's defaults": "Set them for your own modules and tensors.",
    "what signals do": "Leave them alone: numzero ends and saves a run by them.",
}
"""For what a guest changes."""


def handles() -> dict[str, int]:
    """How many of what has to be given back this process holds, as far as the system says (Linux does)."""
    held = {"threads": threading.active_count()}
    try:
        held["open files"] = len(os.listdir("/proc/self/fd")) - 1  # but that which lists them
        tasks = Path("/proc/self/task").iterdir()
        held["processes"] = sum(len((task / "children").read_text().split()) for task in tasks)
    except OSError:
        pass
    return held


class Surroundings:
    """The process as it is now, to be compared with later."""

    def __init__(self) -> None:
        self._before = {subject.name: subject.look() for subject in _SUBJECTS}
        self._handles = handles()

    def look_for_changes(self, findings: Findings) -> None:
        """Note what is not as it was."""
        for subject in _SUBJECTS:
            if subject.look() != self._before[subject.name]:
                findings.look("the environment", _alone(subject.name), "another one since", subject.remedy)

    def look_for_leftovers(self, findings: Findings) -> None:
        """Note what is still held after everything was closed."""
        for what, count in handles().items():
            if (more := count - self._handles.get(what, count)) > 0:
                findings.look(
                    "close()", f"end what was begun, {what} too", f"{more} left", "Close and join them there."
                )


def look_at_guest(findings: Findings, guest: Guest) -> None:
    """Note what an environment changed of its process, though nobody else feels it."""
    for name, value in guest.changed.items():
        remedy = f"It is put back for everybody else. {_REMEDIES.get(name, 'Leave it as it is.')}"
        findings.look("the environment", _alone(name), f"{value!r}", remedy)


def _alone(name: str) -> str:
    return f"leave {name} alone"
