"""^C and SIGTERM as a question that a loop answers when it is ready.

Knows signals; knows nothing of what is interrupted.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

__all__ = ["Interrupts"]


class Interrupts:
    """Whether somebody asked to stop."""

    def __init__(self) -> None:
        self.requested = False

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Inside, the first ^C or SIGTERM only sets `requested`; a second one raises KeyboardInterrupt.

        Signals belong to the main thread: in any other this does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, frame: object) -> None:
        del number, frame
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
