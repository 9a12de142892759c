"""What each reader holds about a finding, and where readers disagree."""

from __future__ import annotations

from collections.abc import Sequence

from medvit.store.review import by_subject, fold, standing_decisions
from medvit.store.rows import DecisionRow

REJECT = "reject"
AGREE = "accept"


def opinions(about: Sequence[DecisionRow]) -> dict[str, str]:
    """Return what each reader says of one thing, by name, in the order of their last words.

    `accept`, `reject` or `relabel to LABEL`. An adjusted or added finding is an accepted one;
    who is unsure holds no opinion. Once a lead has settled it, only what came since counts.

    Args:
        about: All decisions about it, oldest first.
    """
    settled = settled_by(about)
    start = settled.id if settled is not None else 0
    return _latest([row for row in standing_decisions(about) if row.id >= start])


def own_opinions(about: Sequence[DecisionRow]) -> dict[str, str]:
    """Return what each reader says of one thing, as in `opinions`, whatever a lead settled."""
    return _latest(standing_decisions(about))


def disagreements(decisions: Sequence[DecisionRow]) -> list[str]:
    """Return a sentence for each thing in a case that readers see differently."""
    sentences = []
    for subject, about in by_subject(decisions).items():
        said = opinions(about)
        if len(set(said.values())) > 1:
            words = ", ".join(f"{reader}: {opinion}" for reader, opinion in said.items())
            what = f"finding {subject}" if subject else "the case as a whole"
            sentences.append(f"{what} ({words})")
    return sentences


def settled_by(about: Sequence[DecisionRow]) -> DecisionRow | None:
    """Return the newest decision of a lead that overruled others and still stands."""
    settling = [row for row in standing_decisions(about) if row.settles]
    return settling[-1] if settling else None


def _latest(standing: Sequence[DecisionRow]) -> dict[str, str]:
    own: dict[str, list[DecisionRow]] = {}
    for row in standing:
        own.setdefault(row.reader, []).append(row)
    latest = sorted(own.items(), key=lambda item: item[1][-1].id)
    said = {reader: _opinion(rows) for reader, rows in latest}
    return {reader: opinion for reader, opinion in said.items() if opinion}


def _opinion(rows: Sequence[DecisionRow]) -> str:
    standing = fold(rows)
    if standing.state in ("unsure", "new"):
        return ""
    if standing.state == REJECT:
        return REJECT
    is_own = any(row.action == "add" for row in rows)
    return f"relabel to {standing.label}" if standing.label and not is_own else AGREE
