"""Threads that do the parts of one thing with torch, each with one core.

Knows threads; knows nothing of what is done.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["Team"]

_Result = TypeVar("_Result")


class Team:
    """So many threads, which are there until nobody knows the team any more.

    Args:
        size: how many.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._threads = ThreadPoolExecutor(size, "learner", torch.set_num_threads, (1,))

    def map(self, work: Callable[[int], _Result]) -> list[_Result]:
        """What `work` gives for part 0, 1, ...; in this order, whichever is done first."""
        return list(self._threads.map(work, range(self.size)))
