"""Reading ahead: threads make the next inputs while the caller works on this one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

from medvit.errors import ReadError

J = TypeVar("J")
T = TypeVar("T")

STEPS = 20
"""A wait is counted in so many steps: while the process itself is stopped (Ctrl-Z, a
suspended machine) at most one of them goes by."""

FAREWELL_S = 1.0
"""An early end waits so long for the reads at hand, so that none goes on behind the
caller's back."""


def read_ahead(
    jobs: Sequence[J],
    read: Callable[[J], T],
    *,
    workers: int,
    depth: int,
    stall_s: float,
    source: str = "the scan",
) -> Generator[tuple[J, T], None, None]:
    """Return each job with what was read for it, in the order of the jobs.

    Neither order nor content depends on `workers` and `depth`. An exception of `read`
    comes out when it is its job's turn. Whoever leaves early closes the iterator
    (`contextlib.closing`; a `for` straight over the call does so by itself): readers
    then end with the read at hand, and what was read is dropped.

    Args:
        jobs: What to read.
        read: Reads one job; called from several threads at once.
        workers: Threads; with 0 the caller's own thread reads, and nothing is ahead.
        depth: Most results that wait or are being made; what was handed over is not
            counted.
        stall_s: Longest wait for one job. A thread that hangs cannot be ended: it is left
            behind, and keeps neither the process from ending nor the next case from
            starting. With 0 workers nothing watches.
        source: Names the scan in messages.

    Raises:
        ValueError: If a number is out of range.
        ReadError: With the reason `unreadable`, when a job is not read within `stall_s`.
    """
    if workers < 0 or depth < 1 or not stall_s > 0:
        msg = (
            "reading ahead needs workers >= 0, depth >= 1 and stall_s > 0, "
            f"got {workers=}, {depth=}, {stall_s=}"
        )
        raise ValueError(msg)
    if workers == 0:
        return ((job, read(job)) for job in jobs)
    return _ahead(_Readers(jobs, read, depth=depth), min(workers, depth), stall_s, source)


def _ahead(
    readers: _Readers[J, T], workers: int, stall_s: float, source: str
) -> Generator[tuple[J, T], None, None]:
    """Yield results while readers work, and end the readers however this ends."""
    jobs = readers.jobs
    try:
        readers.start(workers)
        for number, job in enumerate(jobs):
            if not _is_done(readers.results[number], within_s=stall_s):
                part = f"part {number + 1} of {len(jobs)}"
                msg = f"{source}: {part} was not read within {stall_s:g} s"
                hint = "check the disk or network share it lies on, then run the command again"
                raise ReadError(msg, reason="unreadable", hint=hint)
            yield job, readers.hand_over(number)
    finally:
        readers.stop()


def _is_done(result: Future[T], *, within_s: float) -> bool:
    """Wait for a result, counting only time in which this process ran."""
    return any(wait([result], timeout=within_s / STEPS).done for _ in range(STEPS))


class _Readers(Generic[J, T]):
    """Threads that take jobs in order, never more than `depth` ahead of the caller.

    Attributes:
        results: By number of the job; those handed over are gone.
    """

    def __init__(self, jobs: Sequence[J], read: Callable[[J], T], *, depth: int) -> None:
        self.jobs = jobs
        self.results: dict[int, Future[T]] = {number: Future() for number in range(len(jobs))}
        self._read = read
        self._depth = depth
        self._taken = 0
        self._handed_over = 0
        self._is_over = False
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []

    def start(self, workers: int) -> None:
        """Begin to read."""
        for number in range(workers):
            thread = threading.Thread(target=self._work, name=f"reader-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def hand_over(self, number: int) -> T:
        """Return a finished result, or raise what its reading raised; another may follow it."""
        with self._changed:
            self._handed_over += 1
            self._changed.notify_all()
        return self.results.pop(number).result()

    def stop(self) -> None:
        """End the readers; one that hangs is left behind."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
            at_hand = [self.results[n] for n in range(self._handed_over, self._taken)]
            self.results.clear()
        if not wait(at_hand, timeout=FAREWELL_S).not_done:
            for thread in self._threads:
                thread.join()

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            job, result = taken
            try:
                result.set_result(self._read(job))
            except BaseException as error:
                result.set_exception(error)
            del taken, job, result  # a reader that waits holds nothing

    def _take(self) -> tuple[J, Future[T]] | None:
        """Return the next job when there is room for its result; None when there is none."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or self._has_room())
            if self._is_over or self._taken == len(self.jobs):
                return None
            number = self._taken
            self._taken += 1
            return self.jobs[number], self.results[number]

    def _has_room(self) -> bool:
        return self._taken == len(self.jobs) or self._taken - self._handed_over < self._depth
