"""Between the rows of the tables and the values that callers see."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from medvit.findings.finding import FINDING_COLUMNS, CaseResult, Finding
from medvit.io.case import Kind, Verdict
from medvit.store.rows import Action, CaseRow, DecisionRow, Review, RunRow, RunState, State
from medvit.store.tables import CaseTable, DecisionTable, FindingTable, RunTable

OF_THE_CASE = ("kind", "source", "series_uid")
KEPT = tuple(name for name in FINDING_COLUMNS if name not in OF_THE_CASE)


def case_values(result: CaseResult, *, run_id: int, scanned_at: datetime) -> dict[str, Any]:
    """Return the columns of `cases` that a scan decides."""
    case = result.case
    label = str(result.label)
    search = "\n".join([case.source, case.case_id, case.series_uid, label])
    return {
        "case_id": case.case_id,
        "kind": case.kind,
        "source": case.source,
        "root": str(case.root),
        "files": [os.fspath(file) for file in case.files],
        "series_uid": case.series_uid,
        "verdict": result.verdict,
        "reason": result.reason,
        "message": result.message,
        "label": label,
        "probability": result.probability,
        "seconds": result.seconds,
        "peak_rss_mb": result.peak_rss_mb,
        "run_id": run_id,
        "scanned_at": scanned_at,
        "search": search.casefold(),
    }


def finding_values(finding: Finding) -> dict[str, Any]:
    """Return the columns of `findings`."""
    return {name: getattr(finding, name) for name in KEPT}


def to_finding(row: FindingTable, case: CaseTable) -> Finding:
    """Return the finding that a row holds."""
    of_the_case = {name: getattr(case, name) for name in OF_THE_CASE}
    return Finding(**{name: getattr(row, name) for name in KEPT}, **of_the_case)


def to_case(row: CaseTable) -> CaseRow:
    """Return the case that a row holds."""
    return CaseRow(
        case_id=row.case_id,
        kind=cast(Kind, row.kind),
        source=row.source,
        root=Path(row.root),
        files=tuple(Path(file) for file in row.files),
        series_uid=row.series_uid,
        verdict=cast(Verdict, row.verdict),
        reason=row.reason,
        message=row.message,
        label=row.label,
        probability=row.probability,
        n_findings=row.n_findings,
        n_reviewed=row.n_reviewed,
        run_id=row.run_id,
        scanned_at=row.scanned_at,
        review=cast(Review, row.review),
        state=cast(State, row.state),
        label_now=row.label_now,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        version=row.version,
        touched_at=row.touched_at,
    )


def to_decision(row: DecisionTable) -> DecisionRow:
    """Return the decision that a row holds."""
    return DecisionRow(
        id=row.id,
        case_id=row.case_id,
        finding_id=row.finding_id,
        action=cast(Action, row.action),
        reader=row.reader,
        label=row.label,
        note=row.note,
        geometry=row.geometry,
        decided_at=row.decided_at,
        undoes_id=row.undoes_id,
        reason_code=row.reason_code,
        seconds=row.seconds,
        role=row.role,
        settles=row.settles,
    )


def to_run(row: RunTable) -> RunRow:
    """Return the run that a row holds."""
    return RunRow(
        id=row.id,
        command=row.command,
        settings=row.settings,
        model=row.model,
        model_sha256=row.model_sha256,
        state=cast(RunState, row.state),
        started_at=row.started_at,
        finished_at=row.finished_at,
        counts=row.counts,
    )
