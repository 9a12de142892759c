"""How results of a scan enter the store: many in one transaction, each as if it came alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from medvit.findings.finding import CaseResult
from medvit.store import queries, signals
from medvit.store.convert import case_values, finding_values
from medvit.store.deciding import missing, refresh
from medvit.store.queries import ROWS_AT_ONCE, insert_into
from medvit.store.tables import CaseTable, FindingTable, RunFindingTable, RunTable


def save(session: Session, run_id: int, results: Iterable[CaseResult], *, now: datetime) -> None:
    """Write cases with their findings; of two results of one case the later one counts.

    Raises:
        StoreError: If there is no such run.
    """
    if session.get(RunTable, run_id) is None:
        raise missing(str(run_id), what="run")
    by_id = {result.case.case_id: result for result in results}
    ids = sorted(by_id)  # one order of locks for all processes
    for start in range(0, len(ids), ROWS_AT_ONCE):
        chosen = [by_id[case_id] for case_id in ids[start : start + ROWS_AT_ONCE]]
        _save_chunk(session, run_id, chosen, now=now)


def _save_chunk(
    session: Session, run_id: int, results: Sequence[CaseResult], *, now: datetime
) -> None:
    by_id = {result.case.case_id: result for result in results}
    _put_cases(session, [case_values(each, run_id=run_id, scanned_at=now) for each in results])
    _put_findings(session, run_id, results)
    query = select(CaseTable).where(CaseTable.case_id.in_(by_id)).order_by(CaseTable.case_id)
    cases = list(session.scalars(query.with_for_update()))
    newest = [by_id[case.case_id] for case in cases if case.run_id == run_id]
    signals.refresh_of_results(session, newest, now=now)
    findings = queries.latest_findings_of(session, cases)
    decisions = queries.decisions_of_cases(session, by_id)
    for case in cases:
        own = decisions.get(case.case_id, [])
        refresh(session, case, own, now=now, findings=findings.get(case.case_id, []))


def _put_cases(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Insert cases, or replace what an earlier or the same run said of them."""
    unreviewed = {
        "n_findings": 0,
        "n_reviewed": 0,
        "top_probability": -1.0,
        "review": "none",
        "state": "new",
        "decided_by": "",
        "version": 0,
    }
    new = [{**row, **unreviewed, "label_now": row["label"]} for row in rows]
    insert = insert_into(session, CaseTable)
    changed = {name: insert.excluded[name] for name in rows[0] if name != "case_id"}
    session.execute(
        insert.on_conflict_do_update(
            index_elements=[CaseTable.case_id],
            set_=changed,
            where=CaseTable.run_id <= insert.excluded.run_id,
        ),
        new,
    )


def _put_findings(session: Session, run_id: int, results: Sequence[CaseResult]) -> None:
    """Insert the findings that are not there yet, and note which run saw them."""
    ids = [result.case.case_id for result in results]
    session.execute(
        delete(RunFindingTable).where(
            RunFindingTable.run_id == run_id, RunFindingTable.case_id.in_(ids)
        )
    )
    rows = [finding_values(finding) for result in results for finding in result.findings]
    seen = [
        {"run_id": run_id, "finding_id": row["finding_id"], "case_id": row["case_id"]}
        for row in rows
    ]
    if rows:
        for table, values in ((FindingTable, rows), (RunFindingTable, seen)):
            session.execute(insert_into(session, table).on_conflict_do_nothing(), values)
