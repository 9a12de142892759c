"""The worklist and the rows behind a case, as SQL that both databases speak."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from medvit.findings.finding import Finding
from medvit.store.convert import finding_values, to_decision, to_finding
from medvit.store.rows import CaseFilter, DecisionRow
from medvit.store.tables import (
    CaseTable,
    DecisionTable,
    FindingTable,
    RunFindingTable,
)

INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
ROWS_AT_ONCE = 500  # 17 columns each: below the 32,766 parameters of a SQLite statement


def conditions(wanted: CaseFilter) -> list[ColumnElement[bool]]:
    """Return the WHERE terms of a filter."""
    terms: list[ColumnElement[bool]] = []
    if wanted.text:
        terms.append(CaseTable.search.contains(wanted.text.casefold(), autoescape=True))
    if wanted.kind:
        terms.append(CaseTable.kind == wanted.kind)
    if wanted.verdict:
        terms.append(CaseTable.verdict == wanted.verdict)
    if wanted.state:
        terms.append(CaseTable.review == wanted.state)
    return terms


def page_of_cases(wanted: CaseFilter, *, limit: int, offset: int) -> Select[CaseTable]:
    """Return the query for one page of the worklist; ties are broken by source and id."""
    first: dict[str, ColumnElement[Any]] = {
        "probability": CaseTable.top_probability.desc(),
        "findings": CaseTable.n_findings.desc(),
        "scanned": CaseTable.scanned_at.desc(),
    }
    order = [first[wanted.sort]] if wanted.sort != "source" else []
    query = select(CaseTable).where(*conditions(wanted))
    return query.order_by(*order, CaseTable.source, CaseTable.case_id).limit(limit).offset(offset)


def count_of_cases(wanted: CaseFilter) -> Select[int]:
    """Return the query for the number of cases that a filter lets through."""
    return select(func.count()).select_from(CaseTable).where(*conditions(wanted))


def latest_findings(session: Session, case: CaseTable) -> list[Finding]:
    """Return the findings that the latest run of a case saw."""
    query = (
        select(FindingTable)
        .join(RunFindingTable, RunFindingTable.finding_id == FindingTable.finding_id)
        .where(RunFindingTable.run_id == case.run_id, RunFindingTable.case_id == case.case_id)
    )
    return [to_finding(row, case) for row in session.scalars(query)]


def decisions_of(session: Session, case_id: str) -> list[DecisionRow]:
    """Return all decisions of a case, oldest first."""
    query = select(DecisionTable).where(DecisionTable.case_id == case_id)
    return [to_decision(row) for row in session.scalars(query.order_by(DecisionTable.id))]


def put_case(session: Session, values: dict[str, Any]) -> None:
    """Insert a case or replace what an earlier or the same run said of it."""
    insert = _insert(session)(CaseTable).values(
        **values,
        n_findings=0,
        n_reviewed=0,
        top_probability=-1.0,
        review="none",
        state="new",
        label_now=values["label"],
        decided_by="",
        version=0,
    )
    changed = {name: insert.excluded[name] for name in values if name != "case_id"}
    session.execute(
        insert.on_conflict_do_update(
            index_elements=[CaseTable.case_id],
            set_=changed,
            where=CaseTable.run_id <= insert.excluded.run_id,
        )
    )


def put_findings(session: Session, case_id: str, run_id: int, findings: Iterable[Finding]) -> None:
    """Insert the findings that are not there yet and note which run saw them."""
    rows = [finding_values(finding) for finding in findings]
    seen = [{"run_id": run_id, "finding_id": row["finding_id"], "case_id": case_id} for row in rows]
    session.execute(
        delete(RunFindingTable).where(
            RunFindingTable.run_id == run_id, RunFindingTable.case_id == case_id
        )
    )
    insert = _insert(session)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        session.execute(insert(FindingTable).values(rows[part]).on_conflict_do_nothing())
        session.execute(insert(RunFindingTable).values(seen[part]).on_conflict_do_nothing())


def _insert(session: Session) -> Any:
    return INSERTS[session.get_bind().dialect.name]
