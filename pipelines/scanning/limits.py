"""What a scan may take: memory, time, and how much of the lungs it looks at."""

from __future__ import annotations

import time
from dataclasses import dataclass

from medvit.io.case import Case, Reason
from medvit.tiles.progressive import Effort

PARTIAL, NOT_REACHED = "partial", "not_reached"


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one scan.

    Attributes:
        max_bytes: What the process and its decoder may hold together.
        effort: How much of the lungs is looked at.
        views: Mirrored views of each tile of CT whose maps are averaged.
        ends_at_s: Reading of `time.monotonic` at which the scan ends with what it has; None
            when it may take its time.
    """

    max_bytes: int
    effort: Effort = "balanced"
    views: int = 1
    ends_at_s: float | None = None

    def is_time_up(self) -> bool:
        """Whether the scan should end."""
        return self.ends_at_s is not None and time.monotonic() >= self.ends_at_s


def deadline_of(seconds: float | None) -> float | None:
    """Return the reading of `time.monotonic` so many seconds from now."""
    return None if seconds is None else time.monotonic() + seconds


def partial_reason(case: Case, *, seen: int, planned: int) -> Reason:
    """Return why the findings of a case are not all that there will be."""
    msg = (
        f"{case.source}: time was up after {seen} of {planned} tiles, the most promising "
        f"first; the same command goes on from there"
    )
    return Reason(PARTIAL, msg)


def not_reached_reason(case: Case) -> Reason:
    """Return why a case has no findings yet."""
    msg = f"{case.source}: time was up before its turn; the same command goes on with it"
    return Reason(NOT_REACHED, msg)
