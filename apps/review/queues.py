"""The queues of the worklist: what stands in each, and why a case does."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medvit.store.queries import signal_of
from medvit.store.rows import CaseRow, Queue
from medvit.store.store import Store

MANY_CASES = 5000
KEPT_S = 10.0
"""How long the lengths of queues over many cases are kept: counting them takes 0.2 s."""
_kept: dict[int, tuple[float, dict[Queue, int]]] = {}


@dataclass(frozen=True, slots=True)
class QueueText:
    """What readers are told of a queue.

    Attributes:
        sentence: What is in it, in which order.
        way_in: How a case gets in; shown when it is empty.
        always: Whether it is offered when it is empty, too.
    """

    title: str
    sentence: str
    way_in: str
    always: bool = False


WAITS = "Cases come in with every scan."
QUEUES: Mapping[Queue, QueueText] = {
    "new": QueueText("New", "What waits for review, the newest scan first.", WAITS, always=True),
    "oldest": QueueText("Oldest", "What has waited longest comes first.", WAITS, always=True),
    "uncertain": QueueText(
        "Uncertain",
        "The model might as well have said the opposite: your word teaches it most.",
        "A case comes in when a probability lies between 0.25 and 0.75.",
        always=True,
    ),
    "suspect_label": QueueText(
        "Likely label errors",
        "The label that stands does not fit what similar cases are called.",
        'A case comes in by "medvit labels suspects" or "medvit retrain".',
        always=True,
    ),
    "ood": QueueText(
        "Unlike the training data",
        "The model was trained on nothing like it: do not trust its word.",
        "A case comes in when a scan finds it far from the training data.",
        always=True,
    ),
    "disagreement": QueueText(
        "Disagreement",
        "Readers see it differently; a lead's decision settles it.",
        "A case comes in when two readers decide differently.",
        always=True,
    ),
    "drift": QueueText(
        "Drift",
        "Scans have changed since the model was trained; these show it most.",
        "A case comes in by an alarm of drift.",
    ),
    "priority": QueueText(
        "Most useful next",
        "Few decisions teach a model most in this order: hard cases, each unlike the ones before.",
        "The best 500 cases of a scan come in, and what a program puts there.",
    ),
}


def lengths(store: Store, cases: int) -> dict[Queue, int]:
    """Return how many cases each queue holds; over many cases up to 10 s old."""
    at, found = _kept.get(id(store), (0.0, {}))
    if not found or cases < MANY_CASES or time.monotonic() - at > KEPT_S:
        found = store.queue_lengths()
        _kept[id(store)] = (time.monotonic(), found)
    return found


def reason_of(store: Store, rows: Sequence[CaseRow], queue: Queue) -> dict[str, str]:
    """Return why each case stands in a queue, in a sentence."""
    wanted = signal_of(queue)
    if wanted is None:
        return {row.case_id: _waiting(row) for row in rows}
    signals = store.signals_of(*(row.case_id for row in rows))
    return {row.case_id: row.reason for row in signals if row.name == wanted}


def _waiting(row: CaseRow) -> str:
    left = row.n_findings - row.n_reviewed
    what = f"{left} of {row.n_findings} findings wait" if row.n_findings else "The label waits"
    return f"{what} since {row.scanned_at:%Y-%m-%d %H:%M} UTC."
