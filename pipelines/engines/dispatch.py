"""Cases go out to workers and come back, whatever becomes of the workers."""

from __future__ import annotations

import json
import logging
import queue
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from medvit.errors import InputError
from medvit.findings.finding import CaseResult
from medvit.io.case import Case
from medvit.tiles.budget import BudgetError
from pipelines.engines.crew import Crew
from pipelines.engines.job import Errand, Job
from pipelines.engines.turns import Assignment, Turn
from pipelines.engines.worker import done_from, end_scan, run_errands
from pipelines.scanning.journal import Entry
from pipelines.scanning.live import LiveScan
from pipelines.scanning.one_case import CaseDone

if TYPE_CHECKING:
    from distributed import Future

WORKER_LOST = "worker_lost"
MOST_TRIES = 3
MUSTER_S = 0.5
"""How often the scheduler is asked who is there."""

NOBODY_S = 30.0
"""How long a scan waits for a worker when there is none."""

FETCH_S = 60.0

ROUND_S = 0.5
"""So long a worker is busy with images that it is given together: an errand costs 20 ms."""
MOST_AT_ONCE = 32
PACE_SHARE = 0.2
"""What the newest image counts for in how long one takes."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Sent:
    """Cases that a worker is at, in their order."""

    turns: list[Turn]
    future: Future[str]


class Dispatch:
    """One scan's cases among its workers.

    Every worker has one case, or as many small images as take no longer than `ROUND_S`. One
    that goes while it is at a case loses nothing: finished tiles are on the disk, and its cases
    are given, one by one, to those that are free.
    """

    def __init__(self, crew: Crew, job: Job, assignment: Assignment) -> None:
        self._crew, self._job, self._assignment = crew, job, assignment
        self._at_work: dict[str, _Sent] = {}
        self._again: deque[Turn] = deque()
        self._tries: Counter[int] = Counter()
        self._finished: queue.SimpleQueue[tuple[str, Future[str]]] = queue.SimpleQueue()
        self._most_workers = self._lost = self._reached = 0
        self._image_s = ROUND_S

    def run(self, first: Turn, turns: Iterator[Turn]) -> Iterator[tuple[Turn, CaseDone]]:
        """Yield cases as they are done.

        Raises:
            InputError: If a worker cannot help, or there is none for a while.
            BudgetError: If a worker has too little memory for any case.
        """
        self._again.append(first)
        workers = self._wait_for_workers(is_first=True)
        mustered_s = time.monotonic()
        while True:
            self._send_to(workers, turns)
            if not self._at_work and not self._again:
                return
            yield from self._collect()
            if time.monotonic() - mustered_s >= MUSTER_S:
                workers = self._crew.muster()
                yield from self._take_back(workers)
                if not workers and not self._at_work:
                    workers = self._wait_for_workers()
                mustered_s = time.monotonic()

    def facts(self) -> dict[str, Any]:
        """Return for `run.json` who worked."""
        return {"workers": self._most_workers, "lost_workers": self._lost}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let workers that are still at a case end it soon, and all forget the scan."""
        for sent in self._at_work.values():
            sent.future.cancel()  # type: ignore[no-untyped-call]
        try:
            self._crew.client.run(
                end_scan, self._job.scan, workers=list(self._crew.hosts), on_error="ignore"
            )
        except (OSError, TimeoutError, RuntimeError) as gone:
            logger.warning("the dask scheduler has gone (%s)", type(gone).__name__)

    def _wait_for_workers(self, *, is_first: bool = False) -> list[str]:
        until_s = time.monotonic() + NOBODY_S
        while not (workers := self._crew.muster(is_first=is_first)):
            if time.monotonic() > until_s:
                waited = f"for {NOBODY_S:.0f} s the dask scheduler has had no worker that can help"
                hint = "start some with: dask worker ADDR; the same command goes on then"
                raise InputError(waited, hint=hint)
            time.sleep(MUSTER_S)
        return workers

    def _send_to(self, workers: list[str], turns: Iterator[Turn]) -> None:
        self._most_workers = max(self._most_workers, len(workers))
        for address in workers:
            if address not in self._at_work:
                chosen = self._choose(turns)
                if not chosen:
                    return
                self._send(address, chosen)
        self._tell()

    def _choose(self, turns: Iterator[Turn]) -> list[Turn]:
        """Return what one worker does next: a case, or images that are soon done."""
        if self._again:
            return [self._again.popleft()]
        most = max(1, min(MOST_AT_ONCE, int(ROUND_S / self._image_s)))
        chosen: list[Turn] = []
        for turn in islice(turns, most):
            chosen.append(turn)
            if turn.case.kind != "image":
                break
        return chosen

    def _send(self, address: str, turns: list[Turn]) -> None:
        ends_at_s = self._assignment.bench.limits.ends_at_s
        left_s = None if ends_at_s is None else max(0.0, ends_at_s - time.monotonic())
        neighbours = self._crew.neighbours(address)
        self._tries.update(turn.number for turn in turns)
        self._reached = max(self._reached, turns[-1].number + 1)
        first = turns[0].number
        future = self._crew.client.submit(
            run_errands,
            [Errand.of(turn, self._job, left_s=left_s, neighbours=neighbours) for turn in turns],
            key=f"medvit-{self._job.scan}-{first}-{self._tries[first]}",
            workers=[address],
            pure=False,
        )
        self._at_work[address] = _Sent(turns, future)
        future.add_done_callback(  # type: ignore[no-untyped-call]
            lambda done: self._finished.put((address, done))
        )

    def _collect(self) -> Iterator[tuple[Turn, CaseDone]]:
        """Wait a moment for a worker to be done; take what it has."""
        try:
            address, future = self._finished.get(timeout=MUSTER_S)
        except queue.Empty:
            return
        sent = self._at_work.get(address)
        if sent is None or sent.future is not future:
            return  # given up before
        del self._at_work[address]
        answers = self._answers_of(future)
        self._lost += answers is None
        for turn, answer in zip_longest(sent.turns, answers or []):
            if answer is None or "taken" in answer:
                yield from self._once_more(turn)
            elif "error" in answer:
                raise self._error_of(address, answer["error"])
            else:
                yield turn, self._done_of(turn, answer["done"])

    def _done_of(self, turn: Turn, plain: dict[str, Any]) -> CaseDone:
        done = done_from(turn.case, plain, max_bytes=self._assignment.bench.limits.max_bytes)
        if turn.case.kind == "image":
            took_s = done.entry.result.seconds
            self._image_s += PACE_SHARE * (took_s - self._image_s)
        return done

    def _answers_of(self, future: Future[str]) -> list[dict[str, Any]] | None:
        """Return what a worker said; None if it was lost before that could be fetched."""
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        try:
            answers: list[dict[str, Any]] = json.loads(future.result(timeout=FETCH_S))
        except (KilledWorker, FutureCancelledError, TimeoutError, OSError):
            return None
        return answers

    def _take_back(self, workers: list[str]) -> Iterator[tuple[Turn, CaseDone]]:
        """Take their cases back from workers that have gone."""
        for address in set(self._at_work) - set(workers):
            sent = self._at_work.pop(address)
            self._lost += 1
            logger.warning(
                "the dask worker %s was lost at %s; another does it again",
                address,
                sent.turns[0].case.source,
            )
            sent.future.cancel()  # type: ignore[no-untyped-call]
            for turn in sent.turns:
                yield from self._once_more(turn)

    def _once_more(self, turn: Turn) -> Iterator[tuple[Turn, CaseDone]]:
        if self._tries[turn.number] < MOST_TRIES:
            self._again.append(turn)
        else:
            yield turn, given_up(turn.case)

    def _error_of(self, address: str, answer: dict[str, Any]) -> InputError:
        smallest = answer["smallest_bytes"]
        if smallest is not None:
            return BudgetError(self._assignment.bench.limits.max_bytes, smallest)
        return InputError(f"the dask worker {address}: {answer['message']}", hint=answer["hint"])

    def _tell(self) -> None:
        """Tell how far the scan is."""
        turns = [turn for sent in self._at_work.values() for turn in sent.turns]
        if not turns:
            return
        done, total = self._reached - len(turns) - len(self._again), self._assignment.cases
        first = min(turns, key=lambda turn: turn.number).case
        what = first.source if len(turns) == 1 else f"{first.source} and {len(turns) - 1} more"
        self._assignment.progress(done, total, what)
        live = self._assignment.live
        live.tell(LiveScan(live.run, first.case_id, first.source, done, total, 0.0, (), 0))


def given_up(case: Case) -> CaseDone:
    """Return the row of a case whose workers died one after another; it is made again."""
    message = (
        f"{case.source}: {MOST_TRIES} workers were lost while they were at it; give them more "
        f"memory (dask worker --memory-limit), or scan it with --engine local"
    )
    result = CaseResult(
        case=case,
        verdict="fail",
        reason=WORKER_LOST,
        message=message,
        label="",
        probability=None,
        findings=(),
        seconds=0.0,
        peak_rss_mb=0.0,
    )
    return CaseDone(Entry(result, {}), is_final=False)
