"""The replay ratio: how many updates so many steps allow, and the other way round.

Knows two counts and their ratio; knows nothing of who makes either.
"""

from __future__ import annotations

import math
from fractions import Fraction

__all__ = ["Limiter"]


class Limiter:
    """Holds learner samples per environment step at the setting, both ways.

    Args:
        samples_per_step: the replay ratio.
        batch_size: samples per update.
        start_steps: environment steps before the first update.
    """

    def __init__(self, samples_per_step: float, batch_size: int, start_steps: int) -> None:
        # A fraction of what was written, 0.7 as 7/10: floats are one step off after some millions.
        self._updates_per_step = Fraction(str(samples_per_step)) / batch_size
        self._start_steps = start_steps

    def updates_at(self, steps: int) -> int:
        """How many updates may have been made after `steps` environment steps."""
        return max(0, math.floor((steps - self._start_steps) * self._updates_per_step))

    def steps_at(self, updates: int) -> int:
        """How many environment steps it takes before update number `updates` may be made."""
        return self._start_steps + math.ceil(updates / self._updates_per_step)
