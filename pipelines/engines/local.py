"""The engine of one machine: case after case, each with all the cores there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from medvit.tiles.resident import peak_bytes
from pipelines.engines.turns import Assignment, Turn
from pipelines.scanning.memory import current_rss_mb, peak_rss_mb
from pipelines.scanning.one_case import CaseDone, scan_case
from pipelines.scanning.watcher import Watcher


class LocalEngine:
    """Scans in this process."""

    def __init__(self) -> None:
        self._mark = peak_bytes()
        self._cases_mb = 0.0

    def scan(
        self, turns: Iterator[Turn], assignment: Assignment
    ) -> Iterator[tuple[Turn, CaseDone]]:
        """Yield the cases in their order."""
        for turn in turns:
            place = (turn.number, assignment.cases)
            watcher = Watcher(turn.case, place, assignment.live, assignment.progress)
            done = scan_case(
                turn.case,
                assignment.detectors[turn.case.kind],
                assignment.bench,
                key=turn.key,
                watch=watcher.case_watch(),
            )
            self._cases_mb = max(self._cases_mb, done.entry.result.peak_rss_mb)
            yield turn, done

    def peak_mb(self) -> float:
        """Return the peak memory of this process and its decoder, in MiB.

        Where the process had held more before the scan, as `medvit demo` does to make its
        samples, that of the cases.
        """
        if peak_bytes() > self._mark:
            return peak_rss_mb()
        return max(self._cases_mb, current_rss_mb())

    def facts(self) -> dict[str, Any]:
        """Return for `run.json` who worked."""
        return {"name": "local"}
