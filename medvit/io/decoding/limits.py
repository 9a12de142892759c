"""What one decoding job may take: address space and seconds."""

from __future__ import annotations

import sys
from collections.abc import Mapping

if sys.platform != "win32":
    import resource
    import signal

DECODER_BYTES = 2 << 30
"""Most address space of the decoding process, its libraries (about 350 MB) included.

Enough for the largest image that is read (8192x8192, 16 bit colour) with one copy of it.
Linux enforces it; macOS and Windows know no such limit, there the seconds alone hold.
"""

BASE_SECONDS = 5.0
"""Wall time that every job may take."""

SECONDS_PER_PIXEL = 4e-6
"""Wall time on top of it: 84 s for 20 megapixels, ten to a hundred times what codecs need."""

STARTING_SECONDS = 60.0
"""Wall time until a new process answers; a cold disk may need several seconds."""

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
}
"""Environment of the process: libraries that keep one thread and one heap."""


def seconds_for(pixels: int) -> float:
    """Return the wall time that decoding so many declared pixels may take.

    Examples:
        >>> seconds_for(0), round(seconds_for(20_000_000), 3)
        (5.0, 85.0)
    """
    return BASE_SECONDS + pixels * SECONDS_PER_PIXEL


def child_environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the decoding process, from this one's."""
    return {**own, **ONE_THREAD}


def limit_this_process() -> None:
    """Bound the address space of this process and keep it from writing core files."""
    if sys.platform == "win32":
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = DECODER_BYTES if hard == resource.RLIM_INFINITY else min(DECODER_BYTES, hard)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def end_this_process_after(seconds: float) -> None:
    """Have the system end this process unless called again in time; 0 takes it back.

    So a job ends even when the process that asked for it is gone.
    """
    if sys.platform != "win32":
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)
