"""What this process holds in memory, and how it gives back what it does not need."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import TracebackType

from medvit.alarms import Alarm

STATM, STATUS = Path("/proc/self/statm"), Path("/proc/self/status")
MIB = 2**20

# Numbers of mallopt, from malloc.h of glibc.
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8

KEPT_BYTES = 128 * MIB
"""Free memory that the allocator keeps for the next tile before it gives any back."""

MAPPED_BYTES = 32 * MIB
"""Larger arrays go back to the system at once; glibc takes no higher value."""


def settle_allocator() -> bool:
    """Let all threads share one heap, and keep it from being given back after each tile.

    By default each thread gets a heap of its own, and what one frees another cannot use;
    and every large array is fetched from the system anew, page by page. Call it before
    threads start. On systems without glibc nothing happens.

    Returns:
        Whether the allocator took the settings.
    """
    libc = _glibc()
    if libc is None:
        return False
    wanted = ((ARENA_MAX, 1), (TRIM_THRESHOLD, KEPT_BYTES), (MMAP_THRESHOLD, MAPPED_BYTES))
    took = [libc.mallopt(number, value) == 1 for number, value in wanted]
    return all(took)


def release_free() -> None:
    """Give memory that was freed back to the system, so that the next step may have it."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def resident_bytes() -> int:
    """Return what this process holds now; its peak where the system does not tell."""
    try:
        pages = int(STATM.read_text(encoding="ascii").split()[1])
    except OSError:
        return peak_bytes()
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak_bytes() -> int:
    """Return the most that this process has held so far, as the system counts it.

    On Linux this is VmHWM. `ru_maxrss` begins with what the process held that started
    this one, so it is asked only where there is nothing better.
    """
    try:
        lines = STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        lines = []
    found = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    if found:
        return found[0] * 1024
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class PeakMeter:
    """Measures the most that is held while something runs inside a longer process.

    The system keeps one high-water mark a process. When the mark rises meanwhile, it is the
    exact peak; when it does not, the peak is the largest of samples.

    Attributes:
        start_bytes: What was held at the start.
        peak_bytes: The most that was held, known at the end.

    Args:
        held: Returns what is held now, in bytes; what this process holds if not given.
        mark: Returns the high-water mark of the same.
        every_s: Time between samples.
    """

    def __init__(
        self,
        *,
        held: Callable[[], int] = resident_bytes,
        mark: Callable[[], int] = peak_bytes,
        every_s: float = 0.002,
    ) -> None:
        self._held, self._mark = held, mark
        self._samples = Alarm(every_s, self._sample, repeats=True)
        self._start_mark = 0
        self.start_bytes = 0
        self.peak_bytes = 0

    @property
    def rise_bytes(self) -> int:
        """The peak beyond what was held at the start."""
        return self.peak_bytes - self.start_bytes

    def __enter__(self) -> PeakMeter:
        self._start_mark = self._mark()
        self.start_bytes = self.peak_bytes = self._held()
        self._samples.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._samples.__exit__(kind, error, trace)
        self._sample()
        mark = self._mark()
        if mark > self._start_mark:
            self.peak_bytes = max(self.peak_bytes, mark)

    def _sample(self) -> None:
        self.peak_bytes = max(self.peak_bytes, self._held())


@cache
def _glibc() -> ctypes.CDLL | None:
    """Return the C library if it is glibc."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") and hasattr(library, "mallopt") else None
