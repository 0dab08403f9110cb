"""What the process asks of its machine: cores and memory."""

import ctypes
import os
import sys
from pathlib import Path

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
KEPT_BYTES = 2**30
TOP_PAD_BYTES = 2**24
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Of a container: microseconds of all cores together, and in how many."""


def available_cores(quota: Path = CPU_QUOTA) -> int:
    """Cores that this process may use: a container's share of them, not what the machine has.

    torch counts the machine's, and with more threads than cores each waits for others that do not run.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        granted, period = quota.read_text().split()
        return max(1, min(allowed, int(granted) // int(period)))
    except (OSError, ValueError):  # no container, or "max": no quota
        return allowed


def keep_freed_memory() -> None:
    """Ask glibc's malloc to keep up to 1 GiB of what is freed instead of giving it back to the system.

    Every batch frees and asks again for the same tens of megabytes. Given back, each comes as fresh pages that
    the kernel must clear: a quarter of the time of a training step on CPU. Elsewhere than on glibc: nothing.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        libc.mallopt(M_TOP_PAD, TOP_PAD_BYTES)
