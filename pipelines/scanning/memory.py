"""How much memory a process really held, its decoder included."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path, PurePosixPath

from medvit.io.decoding.process import decoder
from medvit.tiles.resident import MIB, PeakMeter, peak_bytes, resident_bytes

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


def peak_rss_mb() -> float:
    """Return the most memory held so far, in MiB.

    That of this process or of a finished child, and on top that of the decoder at work.
    """
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    return (max(peak_bytes(), child) + _decoder_bytes("VmHWM")) / MIB


def current_rss_mb() -> float:
    """Return the memory held now, in MiB; the peak where the system does not tell."""
    return (resident_bytes() + _decoder_bytes("VmRSS")) / MIB


def case_meter() -> PeakMeter:
    """Return a meter for what this process holds for one case; `case_peak_mb` adds the decoder."""
    return PeakMeter(every_s=0.05)


def case_peak_mb(meter: PeakMeter) -> float:
    """Return the most that a case held, in MiB, with the highest mark of the decoder at work.

    Two marks are added, so it is never too low; the decoder holds tens of MiB.
    """
    return (meter.peak_bytes + _decoder_bytes("VmHWM")) / MIB


def available_bytes(*, proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Return the memory that is free for this process: of the machine, within its cgroups.

    A cgroup (version 2 or 1) bounds all below it, so each one up to the root is asked. The
    page cache of files that were not used lately counts as free. Where the system tells
    neither (macOS), half of the memory that is built in.
    """
    free = [_meminfo_bytes(proc), *_cgroup_bytes(proc, cgroups)]
    known = [each for each in free if each is not None]
    if known:
        return max(0, min(known))
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _meminfo_bytes(proc: Path) -> int | None:
    text = _text_of(proc / "meminfo")
    found = [line.split()[1] for line in text.splitlines() if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None


def _cgroup_bytes(proc: Path, cgroups: Path) -> list[int]:
    """Return what is left within each bounded cgroup of this process."""
    left = []
    for line in _text_of(proc / "self/cgroup").splitlines():
        number, controllers, place = line.split(":", 2)
        if number == "0" and not controllers:
            root, names = cgroups, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root = cgroups / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        inner = PurePosixPath(place.lstrip("/"))
        # Inside a container the path that is told may not exist; its root is then our own.
        left += [_left_within(root / part, *names) for part in (inner, *inner.parents)]
    return [each for each in left if each is not None]


def _left_within(folder: Path, limit: str, used: str, reclaimable: str) -> int | None:
    most, held = _text_of(folder / limit).strip(), _text_of(folder / used).strip()
    if not (most.isdecimal() and held.isdecimal()):  # "max" is no bound
        return None
    fields = (line.split() for line in _text_of(folder / "memory.stat").splitlines())
    spare = sum(int(value) for name, value in fields if name == reclaimable)
    return int(most) - int(held) + spare


def _text_of(path: Path) -> str:
    """Return what a file of the system says; nothing where there is none."""
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


def _decoder_bytes(field: str) -> int:
    """Return a figure of the decoding process; 0 without one, or where systems do not tell."""
    pid = decoder().pid
    if pid is None:
        return 0
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    found = [line.split()[1] for line in status.splitlines() if line.startswith(f"{field}:")]
    return int(found[0]) * 1024 if found else 0
