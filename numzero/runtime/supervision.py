"""What supervisors of workers have in common: when one that ended is replaced, and what is said once.

Knows sentences and the clock; knows nothing of where workers are.
"""

from __future__ import annotations

import time

from numzero.errors import UserError
from numzero.runtime.base import Notice

__all__ = ["LASTING_SECONDS", "SHARE_OF_PATIENCE", "STOP_SECONDS", "Notices", "Restarts"]

STOP_SECONDS = 10.0
"""A worker that has not ended this long after it was told to is killed; one that has not begun yet, at once."""
SHARE_OF_PATIENCE = 0.25
"""Of its patience, that a supervisor loses between two looks at most: it may have been away itself, stopped say."""
FIRST_DELAY_SECONDS = 0.1
"""Before the second replacement in a row; the first comes at once, later ones after twice the delay each."""
LONGEST_DELAY_SECONDS = 30.0
LASTING_SECONDS = 60.0
"""A life that lasted so long counts as work done, whether or not it delivered games."""
SAY_AGAIN_SECONDS = 60.0
"""What several workers say alike within this time is told once."""


class Restarts:
    """How often one worker ended in a row without getting anywhere."""

    def __init__(self) -> None:
        self._ends = 0

    def got_somewhere(self) -> None:
        """It delivered games."""
        self._ends = 0

    def delay_seconds(self, sentence: str, lived_seconds: float, most: int) -> float:
        """How long to wait before it is replaced, now that it ended again.

        Args:
            sentence: how it ended.
            lived_seconds: from its start to its last sign of life.
            most: replacements in a row.

        Raises:
            UserError: there were so many.
        """
        self._ends = 1 if lived_seconds > LASTING_SECONDS else self._ends + 1
        if self._ends > most:
            raise UserError(
                f"{sentence} It was replaced {most} times and got nowhere in between; "
                "finished games are kept. Mend the cause and run the command again."
            )
        delay = FIRST_DELAY_SECONDS * 2.0 ** (self._ends - 2) if self._ends > 1 else 0.0
        return min(delay, LONGEST_DELAY_SECONDS)


class Notices:
    """What was seen since it was last asked for."""

    def __init__(self) -> None:
        self._new: list[Notice] = []
        self._said: dict[str, float] = {}

    def add(self, notice: Notice) -> None:
        """To be told."""
        self._new.append(notice)

    def add_once(self, notice: Notice) -> None:
        """The same, unless it was said a moment ago: all workers meet the same full disk."""
        now = time.monotonic()
        if now - self._said.get(notice.message, -SAY_AGAIN_SECONDS) >= SAY_AGAIN_SECONDS:
            self._new.append(notice)
        self._said[notice.message] = now

    def take(self) -> list[Notice]:
        """All since the last call."""
        new, self._new = self._new, []
        return new
