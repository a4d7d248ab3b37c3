"""What a supervisor and the workers of one role know of each other at any moment, in memory that all of them map.

Knows numbers; every number has one writer at a time, so nobody locks and a killed process blocks nobody. The memory is
a file without a name: nothing is left of it when the last process is gone.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numzero import crash_context
from numzero.runtime.base import UNLIMITED

__all__ = ["Board"]

_ROLE = np.dtype([("allowed", "<i8"), ("stopping", "<i8")])
_WORKER = np.dtype(
    [
        ("units", "<i8"),
        ("signs", "<i8"),
        ("waiting_seconds", "<f8"),
        ("memory_bytes", "<i8"),
        ("place", f"V{crash_context.SIZE}"),
    ]
)


class Board:
    """One role's shared memory.

    Args:
        num_workers: rows.
        context: of multiprocessing; the board may be an argument of its processes.
    """

    def __init__(self, num_workers: int, context: Any) -> None:
        self._map(context.RawArray(ctypes.c_byte, _ROLE.itemsize + num_workers * _WORKER.itemsize), num_workers)

    def _map(self, memory: Any, num_workers: int) -> None:
        self._memory = memory
        self._role = np.frombuffer(memory, _ROLE, 1)
        rows = np.frombuffer(memory, _WORKER, num_workers, _ROLE.itemsize)
        self.units: NDArray[np.int64] = rows["units"]
        """`[N]` done by each worker in all its lives; the worker's, and the supervisor's between two lives."""
        self.signs: NDArray[np.int64] = rows["signs"]
        """`[N]` goes up with every sign of life."""
        self.waiting_seconds: NDArray[np.float64] = rows["waiting_seconds"]
        """`[N]` spent waiting in this life."""
        self.memory_bytes: NDArray[np.int64] = rows["memory_bytes"]
        """`[N]` resident."""

    def __getstate__(self) -> tuple[Any, int]:
        """What travels to another process: the memory itself, which knows how."""
        return self._memory, len(self.units)

    def __setstate__(self, state: tuple[Any, int]) -> None:
        """Map the same memory there."""
        self._map(*state)

    def place(self, row: int) -> memoryview:
        """Where a worker keeps its last words."""
        at = _ROLE.itemsize + row * _WORKER.itemsize + _WORKER.fields["place"][1]  # type: ignore[index]
        return np.frombuffer(self._memory, np.uint8).data[at : at + crash_context.SIZE]

    def allow(self, total: int) -> None:
        """Set what all workers together may do."""
        self._role["allowed"] = min(total, UNLIMITED)

    def budget(self) -> int:
        """What is left of it."""
        return int(self._role["allowed"][0]) - int(self.units.sum())

    def stop(self) -> None:
        """Ask all workers to return."""
        self._role["stopping"] = 1

    def stopping(self) -> bool:
        """Whether they were asked."""
        return bool(self._role["stopping"][0])

    def begin(self, row: int, units: int) -> None:
        """Prepare a row for a worker's next life, which goes on counting at `units`."""
        self.units[row] = units
        self.signs[row] = 0
        self.waiting_seconds[row] = 0.0
        self.memory_bytes[row] = 0
        self.place(row)[:] = bytes(crash_context.SIZE)
