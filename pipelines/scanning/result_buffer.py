"""Results on their way into the store: together, for a transaction costs as much as thirty."""

from __future__ import annotations

import time

from medvit.findings.finding import CaseResult
from medvit.store.store import Store

EVERY_S = 1.0
"""A result waits no longer than until the first one that comes after this time."""
MOST = 100


class ResultBuffer:
    """Keeps results until enough are there, or the oldest has waited.

    What it holds when a scan is killed is in the journal, from where the next scan takes it.

    Args:
        run_id: Number of the run in the store.
    """

    def __init__(self, store: Store, run_id: int) -> None:
        self._store = store
        self._run_id = run_id
        self._results: list[CaseResult] = []
        self._written_s = 0.0

    def add(self, result: CaseResult) -> None:
        """Take a result; it is written at once where results are few and far between.

        Raises:
            StoreError: If the store fails.
        """
        self._results.append(result)
        if len(self._results) >= MOST or time.monotonic() - self._written_s >= EVERY_S:
            self.write()

    def write(self) -> None:
        """Write what is held.

        Raises:
            StoreError: If the store fails; the results stay.
        """
        if self._results:
            self._store.save_results(self._run_id, self._results)
            self._results.clear()
        self._written_s = time.monotonic()
