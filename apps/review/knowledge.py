"""What the store knows about a finding and its case, for the reader who asks."""

from __future__ import annotations

from typing import Any

from apps.review.desk import Desk
from apps.review.items import WHOLE_CASE
from medvit.store.opinions import opinions

SIGNAL_WORDS = {
    "uncertainty": "Uncertain",
    "suspect_label": "Label in doubt",
    "ood": "Unlike the training data",
    "drift": "Drift",
    "priority": "Useful to decide",
    "disagreement": "Readers disagree",
}


def known_of(desk: Desk) -> dict[str, Any]:
    """Return why a case is in a queue, what the model said, and what readers hold.

    Returns:
        `facts`: names and values; `signals`: name, value and sentence; `said`: reader and word.
    """
    about = [row for row in desk.decisions if (row.finding_id or WHOLE_CASE) == desk.chosen.target]
    return {
        "facts": [list(fact) for fact in _facts(desk)],
        "signals": [
            [SIGNAL_WORDS.get(signal.name, signal.name), f"{signal.value:.2f}", signal.reason]
            for signal in desk.signals
        ],
        "said": [[reader, word] for reader, word in opinions(about).items()],
    }


def _facts(desk: Desk) -> list[tuple[str, str]]:
    found, case = desk.chosen.finding, desk.case
    probability = desk.chosen.probability
    sure = "-" if probability is None else f"{abs(2 * probability - 1):.0%}"
    facts = [("Sure of it", sure)]
    if found is not None:
        facts.append(("Out of distribution", "-" if found.ood is None else f"{found.ood:.3f}"))
        facts.append(("Model", found.model or "a reader added it"))
    facts.append(("Verdict", f"{case.verdict} ({case.reason})" if case.reason else case.verdict))
    facts.append(("Scanned", f"{case.scanned_at:%Y-%m-%d %H:%M} UTC"))
    return facts
