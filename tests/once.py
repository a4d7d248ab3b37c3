"""What processes that test side by side need alike is made by one of them while the others wait.

Waiting costs nothing, and what was made is in a place that all of them read: kernels in their cache.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

try:
    import fcntl
except ImportError:  # Windows: each compiles for itself
    fcntl = None  # type: ignore[assignment]


def compile_in_turns() -> None:
    """One process compiles at a time, so that the next finds the kernel in the cache, also where that began empty."""
    if fcntl is None or "PYTEST_XDIST_WORKER" not in os.environ:
        return
    from numba.core.dispatcher import Dispatcher  # here: whoever only hands out tests needs no Numba

    compile_or_load, turn = Dispatcher.compile, _Turn()

    def in_turn(self: Any, signature: Any) -> Any:
        with turn.taken():
            return compile_or_load(self, signature)

    Dispatcher.compile = in_turn


class _Turn:
    """A lock among processes; a kernel that calls another takes it twice."""

    def __init__(self) -> None:
        self._among_threads = threading.RLock()
        self._depth = 0

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        with self._among_threads, contextlib.ExitStack() as stack:
            if not self._depth:
                file = os.open(__file__, os.O_RDONLY)
                stack.callback(os.close, file)  # which lets go of it
                fcntl.flock(file, fcntl.LOCK_EX)
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
