"""Where a review stands, worked out from decisions that are never changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

from medvit.findings.finding import Finding
from medvit.io.case import Kind
from medvit.store.rows import DecisionRow, FindingRow, Review, State

SILENT = ("undo", "skip")
"""Actions that give a thing no state of their own."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the decisions about one thing add up to.

    Attributes:
        label: What a reader called it; empty when nobody did.
        geometry: Where a reader put it; None when nobody did.
        version: Number of the last decision, undone ones included and skips left out; 0
            without one.
    """

    state: State = "new"
    label: str = ""
    geometry: Mapping[str, float] | None = None
    decided_by: str = ""
    decided_at: datetime | None = None
    note: str = ""
    version: int = 0


def standing_decisions(decisions: Sequence[DecisionRow]) -> list[DecisionRow]:
    """Return the decisions that nobody took back, oldest first.

    Undo rows are left out, and so are skips, which say nothing.
    """
    undone = {row.undoes_id for row in decisions}
    return [row for row in decisions if row.action not in SILENT and row.id not in undone]


def fold(decisions: Sequence[DecisionRow]) -> Standing:
    """Add up the decisions about one thing, oldest first.

    The newest decision that stands gives the state; a label or a place, once given, holds
    until it is undone or replaced.
    """
    result = Standing(version=version_of(decisions))
    for row in standing_decisions(decisions):
        result = replace(
            result,
            state=cast(State, row.action),
            label=row.label if row.action in ("relabel", "add") else result.label,
            geometry=row.geometry or result.geometry,
            decided_by=row.reader,
            decided_at=row.decided_at,
            note=row.note,
        )
    return result


def version_of(decisions: Iterable[DecisionRow]) -> int:
    """Return the number of the last decision that said something; 0 without one."""
    return max((row.id for row in decisions if row.action != "skip"), default=0)


def by_subject(decisions: Iterable[DecisionRow]) -> dict[str | None, list[DecisionRow]]:
    """Group decisions by finding id; None holds those about the case as a whole."""
    groups: dict[str | None, list[DecisionRow]] = {}
    for row in decisions:
        groups.setdefault(row.finding_id, []).append(row)
    return groups


def finding_rows(
    findings: Sequence[Finding], decisions: Sequence[DecisionRow], *, case: Mapping[str, str]
) -> list[FindingRow]:
    """Return the model's findings and the readers' own, with where their review stands.

    Args:
        findings: Of the latest run.
        decisions: All decisions of the case, oldest first.
        case: `case_id`, `kind`, `source` and `series_uid`, for findings that readers added.

    Returns:
        Findings of the model, most probable first, then the added ones, oldest first.
    """
    subjects = by_subject(decisions)
    ranked = sorted(findings, key=lambda finding: (-finding.probability, finding.finding_id))
    added = [added_finding(row, case) for row in standing_decisions(decisions) if is_add(row)]
    return [_finding_row(f, fold(subjects.get(f.finding_id, []))) for f in [*ranked, *added]]


def is_add(row: DecisionRow) -> bool:
    """Return whether the decision made a finding."""
    return row.action == "add"


def added_finding(row: DecisionRow, case: Mapping[str, Any]) -> Finding:
    """Return the finding that a reader added; its probability is 1 and it has no model."""
    return Finding(
        **case,
        finding_id=row.finding_id or "",
        label=row.label,
        probability=1.0,
        **_typed(row.geometry or {}),
    )


def _typed(geometry: Mapping[str, float]) -> dict[str, Any]:
    """Make mm floats and indices and pixels integers; JSON need not keep them so."""
    return {key: float(v) if key.endswith("_mm") else int(v) for key, v in geometry.items()}


def _finding_row(finding: Finding, standing: Standing) -> FindingRow:
    return FindingRow(
        finding=finding,
        state=standing.state,
        label_now=standing.label or finding.label,
        decided_by=standing.decided_by,
        decided_at=standing.decided_at,
        note=standing.note,
        geometry_now=None if standing.state == "add" else standing.geometry,
        version=standing.version,
    )


def review_of(kind: Kind, label: str, rows: Sequence[FindingRow], whole: Standing) -> Review:
    """Return whether a case is still to be reviewed.

    A decision about the case as a whole settles it. Otherwise each finding needs one; an
    image with a label but without a finding waits for one about the whole.
    """
    if whole.state != "new":
        return "reviewed"
    if rows:
        return "new" if any(row.state == "new" for row in rows) else "reviewed"
    return "new" if kind == "image" and label else "none"
