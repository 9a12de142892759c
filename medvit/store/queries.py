"""The worklist and the rows behind a case, as SQL that both databases speak."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, func, not_, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from medvit.findings.finding import Finding
from medvit.store.convert import finding_values, to_decision, to_finding
from medvit.store.rows import CaseFilter, DecisionRow, Queue, SignalName
from medvit.store.tables import (
    Base,
    CaseTable,
    ClaimTable,
    DecisionTable,
    FindingTable,
    RunFindingTable,
    SignalTable,
)

INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
SIGNALS: dict[Queue, SignalName] = {
    "uncertain": "uncertainty",
    "suspect_label": "suspect_label",
    "ood": "ood",
    "disagreement": "disagreement",
    "drift": "drift",
    "priority": "priority",
}
WAITING = ("uncertainty", "ood", "priority")
"""Signals of cases that nobody reviewed yet; the others may be about reviewed ones."""
SKIP_RESTS = timedelta(hours=12)
ROWS_AT_ONCE = 500  # 17 columns each: below the 32,766 parameters of a SQLite statement


def conditions(wanted: CaseFilter, *, now: datetime) -> list[ColumnElement[bool]]:
    """Return the WHERE terms of a filter."""
    terms: list[ColumnElement[bool]] = []
    if wanted.text:
        terms.append(_matches(wanted))
    if wanted.kind:
        terms.append(CaseTable.kind == wanted.kind)
    if wanted.verdict:
        terms.append(CaseTable.verdict == wanted.verdict)
    if wanted.state:
        terms.append(CaseTable.review == wanted.state)
    if wanted.reader:
        terms.extend(_free_for(wanted.reader, now))
    return terms


def page_of_cases(
    wanted: CaseFilter, *, limit: int, offset: int, now: datetime
) -> Select[CaseTable]:
    """Return the query for one page of the worklist; ties are broken by source and id."""
    first: dict[str, ColumnElement[Any]] = {
        "probability": CaseTable.top_probability.desc(),
        "findings": CaseTable.n_findings.desc(),
        "scanned": CaseTable.scanned_at.desc(),
    }
    last = (CaseTable.source.expression, CaseTable.case_id.expression)
    ahead = [first[wanted.sort]] if wanted.sort != "source" else []
    order: list[ColumnElement[Any]] = [*ahead, *last]
    query = select(CaseTable).where(*conditions(wanted, now=now))
    if wanted.queue:
        query, order = _queued(query, wanted.queue), _queue_order(wanted.queue)
    return query.order_by(*order).limit(limit).offset(offset)


def count_of_cases(wanted: CaseFilter, *, now: datetime) -> Select[int]:
    """Return the query for the number of cases that a filter lets through."""
    query = select(func.count()).select_from(CaseTable).where(*conditions(wanted, now=now))
    return _queued(query, wanted.queue) if wanted.queue else query


def _matches(wanted: CaseFilter) -> ColumnElement[bool]:
    """Return the term for a search, which tells nothing of what its reader may not see."""
    text = wanted.text.casefold()
    found = CaseTable.search.contains(text, autoescape=True)
    if wanted.names:
        return found
    by_id = CaseTable.case_id.contains(text, autoescape=True)
    return or_(and_(CaseTable.kind != "ct", found), by_id)


def _queued(query: Select[Any], queue: Queue) -> Select[Any]:
    """Narrow a query to a queue: to what waits, or to cases with a signal since they were read."""
    signal = SIGNALS.get(queue)
    if signal is None:
        return query.where(CaseTable.review == "new")
    joined = query.join(SignalTable, SignalTable.case_id == CaseTable.case_id)
    named = joined.where(SignalTable.name == signal)
    if signal in WAITING:
        return named.where(CaseTable.review == "new")
    if signal == "disagreement":
        return named
    read_before = or_(CaseTable.touched_at.is_(None), CaseTable.touched_at < SignalTable.made_at)
    return named.where(read_before)


def _queue_order(queue: Queue) -> list[ColumnElement[Any]]:
    if queue == "new":
        return [CaseTable.scanned_at.desc(), CaseTable.case_id.asc()]
    if queue == "oldest":
        return [CaseTable.scanned_at.asc(), CaseTable.case_id.asc()]
    return [SignalTable.value.desc(), SignalTable.case_id.desc()]


def _free_for(reader: str, now: datetime) -> list[ColumnElement[bool]]:
    """Return the terms that leave out what others hold and what the reader just skipped."""
    held = select(ClaimTable.case_id).where(
        ClaimTable.case_id == CaseTable.case_id,
        ClaimTable.expires_at > now,
        ClaimTable.reader != reader,
    )
    skipped = select(DecisionTable.id).where(
        DecisionTable.case_id == CaseTable.case_id,
        DecisionTable.action == "skip",
        DecisionTable.reader == reader,
        DecisionTable.decided_at > now - SKIP_RESTS,
    )
    return [not_(held.exists()), not_(skipped.exists())]


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
    insert = insert_into(session, CaseTable).values(
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
    for start in range(0, len(rows), ROWS_AT_ONCE):
        for table, values in ((FindingTable, rows), (RunFindingTable, seen)):
            insert = insert_into(session, table).values(values[start : start + ROWS_AT_ONCE])
            session.execute(insert.on_conflict_do_nothing())


def insert_into(session: Session, table: type[Base]) -> Any:
    """Return the INSERT of the database at hand, which knows `on_conflict_do_update`."""
    return INSERTS[session.get_bind().dialect.name](table)
