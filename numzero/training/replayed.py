"""What a resumed run says of the episodes that its checkpoint found running: their moves are played again.

Knows counts; knows nothing of who plays them.
"""

from __future__ import annotations

import time

__all__ = ["Replayed"]

SAY_SECONDS = 5.0
"""How far it is, is said this often."""


class Replayed:
    """Counts steps that are played again."""

    def __init__(self) -> None:
        self._done = self._total = 0
        self._said = time.monotonic()

    def add(self, done: int, total: int, dropped: int) -> list[str]:
        """Take in what was done since the last call; what there is to say of it.

        Args:
            done: steps played again.
            total: steps that there are to play, told once.
            dropped: episodes that are given up.
        """
        self._done, self._total = self._done + done, self._total + total
        said = []
        if done and time.monotonic() - self._said >= SAY_SECONDS:
            self._said = time.monotonic()
            said.append(f"{self._done:,} of {self._total:,} steps of the episodes under way were played again.")
        if dropped:
            said.append(
                f"{dropped} episodes under way at the checkpoint were dropped, and new ones begun: by "
                "selfplay.resume_episodes, or since the environment went another way when they were played again."
            )
        return said
