"""Processor cores and memory of this process."""

import ctypes
import os
import sys
from pathlib import Path

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
KEPT_BYTES = 2**30
PAD_SHARE = 64
"""The heap grows by the kept memory divided by this: by 128 KiB, glibc's default, where 8 MiB are kept."""
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Quota of a container: microseconds of processor time, and the period in which they may be used."""
MEMORY_PAGES = Path("/proc/self/statm")
"""Memory of this process in pages; the first number is its address space."""


def available_cores(quota: Path = CPU_QUOTA) -> int:
    """Return the number of cores that this process may use, with a container's quota taken into account.

    torch counts the machine's cores, and threads in excess of the quota delay each other.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        granted, period = quota.read_text().split()
        return max(1, min(allowed, int(granted) // int(period)))
    except (OSError, ValueError):  # no container, or no quota: "max"
        return allowed


def keep_freed_memory(kept_bytes: int = KEPT_BYTES) -> None:
    """Let glibc's malloc keep up to ``kept_bytes`` of freed memory instead of returning it to the system.

    The bound is that of the free end of the heap; free memory below what is in use is kept in any case. glibc's
    own bounds grow with what is freed, up to 64 MiB, and are fixed by this.

    Every batch frees and allocates the same tens of megabytes, and every picture that is decoded the same
    hundreds of kilobytes. If they are returned, the kernel must clear the pages of each: a quarter of the time of
    a training step on CPU, two fifths of the time in which a small JPEG is decoded. Has no effect with other C
    libraries.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(M_MMAP_THRESHOLD, kept_bytes)
        libc.mallopt(M_TRIM_THRESHOLD, kept_bytes)
        libc.mallopt(M_TOP_PAD, kept_bytes // PAD_SHARE)


def limit_memory_growth(limit_bytes: int) -> None:
    """Limit the address space of this process to ``limit_bytes`` more than now; only on Linux.

    Allocations beyond it fail, in Python as `MemoryError`.
    """
    if sys.platform != "linux":
        return
    import resource  # not on Windows

    used_bytes = int(MEMORY_PAGES.read_text().split()[0]) * resource.getpagesize()
    soft_limit, hard_limit = resource.getrlimit(resource.RLIMIT_AS)
    set_limits = [limit for limit in (soft_limit, hard_limit) if limit != resource.RLIM_INFINITY]
    new_limit = min(used_bytes + limit_bytes, sys.maxsize, *set_limits)
    resource.setrlimit(resource.RLIMIT_AS, (new_limit, hard_limit))
