"""Labels in doubt as a queue of the review app."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medvit.report.suspects import SuspectRow
from medvit.store.rows import CaseFilter, CaseRow, CaseSignal
from medvit.store.store import Store

MOST_QUEUED = 500
"""Suspects that are looked up in the store: more than a reader decides before lunch."""

MOST_NAMESAKES = 50


def signal_of(case_id: str, *, label: str, suggested: str, confidence: float) -> CaseSignal:
    """Return why a case is in the queue of likely label errors."""
    reason = f"labelled {label}, looks like {suggested}"
    return CaseSignal(case_id, "suspect_label", confidence, reason)


def queue_suspects(store: Store, suspects: Sequence[SuspectRow], *, root: Path) -> int:
    """Put the suspects that the store has as cases into the queue, and return how many.

    Left out are images that no scan or import brought in, and those that readers already call
    something else than the doubted label.

    Args:
        suspects: Most suspicious first.
        root: Folder of their paths.

    Raises:
        StoreError: If the store cannot be written.
    """
    signals = []
    for each in suspects[:MOST_QUEUED]:
        case = _case_of(store, root / each.path)
        if case is None or (_is_decided(case) and case.label_now != each.label):
            continue
        told = {"label": each.label, "suggested": each.suggested}
        signals.append(signal_of(case.case_id, **told, confidence=each.confidence))
    if signals:
        store.put_signals(signals)
    return len(signals)


def _case_of(store: Store, file: Path) -> CaseRow | None:
    """Return the case that is read from a file; found by its name, told apart by its place."""
    namesakes, _ = store.list_cases(CaseFilter(text=file.name, kind="image"), limit=MOST_NAMESAKES)
    place = file.resolve()
    return next((row for row in namesakes if [*map(Path.resolve, row.files)] == [place]), None)


def _is_decided(case: CaseRow) -> bool:
    return case.n_reviewed > 0 or case.state != "new"
