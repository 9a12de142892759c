"""The worklist and the rows behind a case, as SQL that both databases speak."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, Select, Table, and_, func, not_, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from medvit.findings.finding import Finding
from medvit.store.convert import to_decision, to_finding
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
ROWS_AT_ONCE = 500
"""Below the 32,766 parameters of a SQLite statement."""


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
    order = [column.desc() if falls else column.asc() for column, falls in order_of(wanted)]
    return _wanted(wanted, now=now).order_by(*order).limit(limit).offset(offset)


def next_of_cases(
    wanted: CaseFilter, place: Sequence[Any], but: str, *, now: datetime
) -> Select[CaseTable]:
    """Return the query for the first case behind a place in the order of a filter.

    Args:
        wanted: Which cases count, and in which order.
        place: Values of the columns of `order_of`; empty for the top.
        but: A case that is left out.
        now: Decides which claims have run out.
    """
    columns = order_of(wanted)
    query = _wanted(wanted, now=now).where(CaseTable.case_id != but)
    if place:
        query = query.where(*_behind(columns, place))
    order = [column.desc() if falls else column.asc() for column, falls in columns]
    return query.order_by(*order).limit(1)


def reviewed_among(case_ids: Sequence[str]) -> Select[CaseTable]:
    """Return the query for those of some cases that a reader has decided something about."""
    is_decided = or_(CaseTable.n_reviewed > 0, CaseTable.state != "new")
    return select(CaseTable).where(CaseTable.case_id.in_(case_ids), is_decided)


def place_of(session: Session, wanted: CaseFilter, case_id: str) -> tuple[Any, ...]:
    """Return where a case stands in the order of a filter, whether it passes it or not.

    Empty for an unknown case, and for one without the signal that the queue follows.
    """
    query = select(*(column for column, _ in order_of(wanted))).where(CaseTable.case_id == case_id)
    if signal := signal_of(wanted.queue):
        joined = query.join(SignalTable, SignalTable.case_id == CaseTable.case_id)
        query = joined.where(SignalTable.name == signal)
    row = session.execute(query.select_from(CaseTable)).first()
    return () if row is None else tuple(row)


def order_of(wanted: CaseFilter) -> list[tuple[Any, bool]]:
    """Return the columns that a filter sorts by, and whether each falls."""
    if wanted.queue in ("new", "oldest"):
        falls = wanted.queue == "new"
        return [(CaseTable.scanned_at, falls), (CaseTable.case_id, falls)]
    if wanted.queue:
        return [(SignalTable.value, True), (SignalTable.case_id, True)]
    first = {
        "probability": CaseTable.top_probability,
        "findings": CaseTable.n_findings,
        "scanned": CaseTable.scanned_at,
    }
    ahead = [(first[wanted.sort], True)] if wanted.sort != "source" else []
    return [*ahead, (CaseTable.source, False), (CaseTable.case_id, False)]


def signal_of(queue: Queue | Literal[""]) -> SignalName | None:
    """Return the signal that a queue follows; None for an order of what waits."""
    return SIGNALS.get(queue) if queue else None


def _wanted(wanted: CaseFilter, *, now: datetime) -> Select[CaseTable]:
    query = select(CaseTable).where(*conditions(wanted, now=now))
    return _queued(query, wanted.queue) if wanted.queue else query


def _behind(columns: Sequence[tuple[Any, bool]], place: Sequence[Any]) -> list[Any]:
    """Return the terms for rows behind a place: one that an index can follow, and the exact one."""
    (lead, falls), start = columns[0], place[0]
    ways: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for (column, down), value in zip(columns, place, strict=True):
        ways.append(and_(*equal, column < value if down else column > value))
        equal.append(column == value)
    return [lead <= start if falls else lead >= start, or_(*ways)]


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
    return latest_findings_of(session, [case]).get(case.case_id, [])


def latest_findings_of(session: Session, cases: Iterable[CaseTable]) -> dict[str, list[Finding]]:
    """Return the findings that the latest run of each case saw, by case."""
    by_id = {case.case_id: case for case in cases}
    query = (
        select(FindingTable)
        .join(RunFindingTable, RunFindingTable.finding_id == FindingTable.finding_id)
        .join(
            CaseTable,
            and_(
                CaseTable.case_id == RunFindingTable.case_id,
                CaseTable.run_id == RunFindingTable.run_id,
            ),
        )
        .where(RunFindingTable.case_id.in_(list(by_id)))
    )
    found: dict[str, list[Finding]] = {}
    for row in session.scalars(query):
        found.setdefault(row.case_id, []).append(to_finding(row, by_id[row.case_id]))
    return found


def decisions_of(session: Session, case_id: str) -> list[DecisionRow]:
    """Return all decisions of a case, oldest first."""
    return decisions_of_cases(session, [case_id]).get(case_id, [])


def decisions_of_cases(session: Session, case_ids: Iterable[str]) -> dict[str, list[DecisionRow]]:
    """Return all decisions of some cases by case, oldest first; cases without one are left out."""
    query = select(DecisionTable).where(DecisionTable.case_id.in_(list(case_ids)))
    found: dict[str, list[DecisionRow]] = {}
    for row in session.scalars(query.order_by(DecisionTable.id)):
        found.setdefault(row.case_id, []).append(to_decision(row))
    return found


def insert_into(session: Session, table: type[Base]) -> Any:
    """Return the INSERT of the database at hand, which knows `on_conflict_do_update`."""
    return INSERTS[session.get_bind().dialect.name](cast(Table, table.__table__))
