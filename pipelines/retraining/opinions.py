"""From the store's decisions to what each reader holds: one opinion a reader and subject."""

from __future__ import annotations

from collections.abc import Sequence

from medvit.findings.finding import Finding
from medvit.labels.opinions import WHOLE, Opinion, Proposal, ReviewedCase, Says
from medvit.labels.places import BOX, SPHERE
from medvit.store.decided import DecidedCase
from medvit.store.review import fold, is_add, standing_decisions
from medvit.store.rows import DecisionRow, State

SAYS: dict[State, Says] = {
    "accept": "is",
    "relabel": "is",
    "adjust": "is",
    "add": "is",
    "reject": "not",
}
"""What every other decision says is `unsure`."""


def reviewed_case(decided: DecidedCase) -> ReviewedCase:
    """Return proposals and opinions of a case; what was taken back does not count.

    Accepting an image as a whole counts for the label it had then, so not after it was
    scanned again, when that label may have been another.
    """
    case = decided.case
    standing = standing_decisions(decided.decisions)
    whole = None
    if case.kind == "image":
        whole = Proposal(WHOLE, case.label, None, decided.model)
    proposals = (
        *(Proposal(f.finding_id, f.label, _place(f), f.model) for f in decided.findings),
        *(Proposal(row.finding_id or "", row.label, row.geometry, "") for row in _added(standing)),
    )
    labels = {proposal.finding_id: proposal.label for proposal in proposals}
    opinions = []
    for (subject, reader), rows in _by_subject_and_reader(standing).items():
        proposed = labels.get(subject, case.label)
        if subject == WHOLE and rows[-1].decided_at < case.scanned_at:
            proposed = ""
        opinion = _opinion(subject, reader, rows, proposed=proposed)
        if opinion is not None:
            opinions.append(opinion)
    return ReviewedCase(case.case_id, case.kind, whole, proposals, tuple(opinions))


def _added(standing: Sequence[DecisionRow]) -> list[DecisionRow]:
    return [row for row in standing if is_add(row)]


def _by_subject_and_reader(
    standing: Sequence[DecisionRow],
) -> dict[tuple[str, str], list[DecisionRow]]:
    """Group decisions; where somebody overruled the others, theirs alone count."""
    overruled_by = {row.finding_id: row.reader for row in standing if row.settles}
    groups: dict[tuple[str, str], list[DecisionRow]] = {}
    for row in standing:
        if overruled_by.get(row.finding_id, row.reader) == row.reader:
            groups.setdefault((row.finding_id or WHOLE, row.reader), []).append(row)
    return groups


def _opinion(
    subject: str, reader: str, rows: Sequence[DecisionRow], *, proposed: str
) -> Opinion | None:
    """Return what a reader's decisions about one thing add up to, None without a label."""
    standing = fold(rows)
    says = SAYS.get(standing.state, "unsure")
    label = standing.label or proposed if says == "is" else ""
    if says == "is" and not label:
        return None
    last = rows[-1]
    return Opinion(subject, reader, says, label, standing.geometry, last.decided_at, last.id)


def _place(finding: Finding) -> dict[str, float] | None:
    sphere = (finding.x_mm, finding.y_mm, finding.z_mm, finding.diameter_mm)
    box = (finding.x_min, finding.y_min, finding.x_max, finding.y_max)
    names, values = (BOX, box) if finding.kind == "image" else (SPHERE, sphere)
    placed = {name: value for name, value in zip(names, values, strict=True) if value is not None}
    return placed if len(placed) == len(names) else None
