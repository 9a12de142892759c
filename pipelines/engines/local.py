"""The engine of one machine: case after case, each with all the cores there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.engines.turns import Assignment, Turn
from pipelines.scanning.memory import peak_rss_mb
from pipelines.scanning.one_case import CaseDone, scan_case
from pipelines.scanning.watcher import Watcher


class LocalEngine:
    """Scans in this process."""

    def scan(
        self, turns: Iterator[Turn], assignment: Assignment
    ) -> Iterator[tuple[Turn, CaseDone]]:
        """Yield the cases in their order."""
        for turn in turns:
            place = (turn.number, assignment.cases)
            watcher = Watcher(turn.case, place, assignment.live, assignment.progress)
            yield (
                turn,
                scan_case(
                    turn.case,
                    assignment.detectors[turn.case.kind],
                    assignment.bench,
                    key=turn.key,
                    watch=watcher.case_watch(),
                ),
            )

    def peak_mb(self) -> float:
        """Return the peak memory of this process and its decoder, in MiB."""
        return peak_rss_mb()

    def facts(self) -> dict[str, Any]:
        """Return for `run.json` who worked."""
        return {"name": "local"}
