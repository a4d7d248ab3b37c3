"""Times that can be compared with each other.

Knows clocks; knows nothing of what is timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

__all__ = ["median_times"]


def median_times(functions: list[Callable[[], object]], seconds: float) -> list[float]:
    """The median time of each function, measured in turns so that all see the same machine."""
    for function in functions:
        function()
    times: list[list[float]] = [[] for _ in functions]
    end = time.perf_counter() + seconds * len(functions)
    while time.perf_counter() < end or len(times[0]) < 3:
        for function, measured in zip(functions, times, strict=True):
            started = time.perf_counter()
            function()
            measured.append(time.perf_counter() - started)
    return [float(np.median(measured)) for measured in times]
