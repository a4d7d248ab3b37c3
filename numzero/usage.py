"""What processes take of the machine, as far as the system says.

Knows Linux's /proc; knows nothing of what the processes do.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["container_bytes", "cpu_ticks", "resident_bytes"]

UNLIMITED_BYTES = 2**62
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def container_bytes() -> int:
    """Memory that the processes of this container may take; 2**62 where there is no such limit, or none is said."""
    for path in _LIMITS:
        try:
            limit = path.read_text().strip()
        except OSError:
            continue
        return min(int(limit), UNLIMITED_BYTES) if limit.isdecimal() else UNLIMITED_BYTES
    return UNLIMITED_BYTES


def resident_bytes() -> int:
    """Memory of this process that is in use; 0 where the system does not say (Linux does)."""
    if sys.platform != "linux":
        return 0
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def cpu_ticks(pid: int) -> int | None:
    """Time that a process has computed, in the system's ticks; None where it does not say (Linux does)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return int(fields[11]) + int(fields[12])
