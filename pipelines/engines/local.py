"""The engine of one machine: CT one by one with all the cores there are, images side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from typing import Any

import torch

from medvit.inference.one_thread import one_thread
from medvit.tiles.resident import peak_bytes
from pipelines.engines.turns import Assignment, Turn
from pipelines.scanning.memory import current_rss_mb, peak_rss_mb
from pipelines.scanning.one_case import CaseDone, scan_case
from pipelines.scanning.watcher import Watcher

MOST_SIDE_BY_SIDE = 8
"""Images at once: what is done in Python takes turns, so many threads would wait for each other."""


class LocalEngine:
    """Scans in this process."""

    def __init__(self) -> None:
        self._mark = peak_bytes()
        self._cases_mb = 0.0

    def scan(
        self, turns: Iterator[Turn], assignment: Assignment
    ) -> Iterator[tuple[Turn, CaseDone]]:
        """Yield the cases in their order."""
        for kind, own in groupby(turns, key=lambda turn: turn.case.kind):
            found = self._side_by_side if kind == "image" else self._one_by_one
            for turn, done in found(own, assignment):
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

    @staticmethod
    def _one_by_one(
        turns: Iterator[Turn], assignment: Assignment
    ) -> Iterator[tuple[Turn, CaseDone]]:
        for turn in turns:
            yield turn, _done(turn, assignment)

    @staticmethod
    def _side_by_side(
        turns: Iterator[Turn], assignment: Assignment
    ) -> Iterator[tuple[Turn, CaseDone]]:
        """Yield images in their order; no more are begun than there are threads for.

        Those that are begun when somebody interrupts are finished and yielded first. With
        torch's number of threads people say how much of the machine a scan may take.
        """
        on_cpu = assignment.device == "cpu"
        most = min(torch.get_num_threads(), MOST_SIDE_BY_SIDE) if on_cpu else 1
        at_work: deque[tuple[Turn, Future[CaseDone]]] = deque()
        pool = ThreadPoolExecutor(most, thread_name_prefix="image")
        with one_thread():
            try:
                for turn in turns:
                    at_work.append((turn, pool.submit(_done, turn, assignment)))
                    if len(at_work) > most:
                        yield _first(at_work)
                while at_work:
                    yield _first(at_work)
            except KeyboardInterrupt:
                pool.shutdown(cancel_futures=True)
                yield from _finished(at_work)
                raise
            finally:
                pool.shutdown(cancel_futures=True)


def _first(at_work: deque[tuple[Turn, Future[CaseDone]]]) -> tuple[Turn, CaseDone]:
    """Wait for the first image; one whose wait is interrupted stays among those at work."""
    turn, future = at_work[0]
    done = future.result()
    at_work.popleft()
    return turn, done


def _finished(at_work: Iterable[tuple[Turn, Future[CaseDone]]]) -> Iterator[tuple[Turn, CaseDone]]:
    for turn, future in at_work:
        if not future.cancelled() and future.exception() is None:
            yield turn, future.result()


def _done(turn: Turn, assignment: Assignment) -> CaseDone:
    place = (turn.number, assignment.cases)
    watcher = Watcher(turn.case, place, assignment.live, assignment.progress)
    return scan_case(
        turn.case,
        assignment.detectors[turn.case.kind],
        assignment.bench,
        key=turn.key,
        watch=watcher.case_watch(),
    )
