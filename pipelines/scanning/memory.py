"""How much memory a process really held, its decoder included."""

from __future__ import annotations

import os
import resource
import sys
import threading
from pathlib import Path
from types import TracebackType

from medvit.io.decoding.process import decoder

MIB = 2**20
STATM = Path("/proc/self/statm")


def peak_rss_mb() -> float:
    """Return the most memory held so far, in MiB.

    That of this process or of a finished child, and on top that of the decoder at work.
    """
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own = max(part.ru_maxrss for part in usage) * unit / MIB
    return own + _decoder_mb("VmHWM")


def current_rss_mb() -> float:
    """Return the memory held now, in MiB; the peak where the system does not tell."""
    try:
        pages = int(STATM.read_text(encoding="ascii").split()[1])
    except OSError:
        return peak_rss_mb()
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB + _decoder_mb("VmRSS")


def _decoder_mb(field: str) -> float:
    """Return a figure of the decoding process; 0 without one, or where systems do not tell."""
    pid = decoder().pid
    if pid is None:
        return 0.0
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    found = [line.split()[1] for line in status.splitlines() if line.startswith(f"{field}:")]
    return float(found[0]) / 1024 if found else 0.0


class PeakMeter:
    """Measures the peak of one case inside a process that scans many.

    The system keeps one high-water mark a process. When a case raises it, the mark
    is the exact peak; when it does not, the peak is the largest of samples taken
    while the case ran.
    """

    def __init__(self, *, every_s: float = 0.05) -> None:
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._mark_mb = 0.0
        self._sampled_mb = 0.0
        self.peak_mb = 0.0

    def __enter__(self) -> PeakMeter:
        self._mark_mb = peak_rss_mb()
        self._sampled_mb = current_rss_mb()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        mark_mb = peak_rss_mb()
        sampled_mb = max(self._sampled_mb, current_rss_mb())
        self.peak_mb = mark_mb if mark_mb > self._mark_mb else sampled_mb

    def _watch(self) -> None:
        while not self._stop.wait(self._every_s):
            self._sampled_mb = max(self._sampled_mb, current_rss_mb())
