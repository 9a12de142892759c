"""Reasons to look at a case: what fills the queues."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import cast, get_args

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from medvit.errors import StoreError
from medvit.findings.finding import CaseResult
from medvit.store.queries import insert_into
from medvit.store.rows import CaseSignal, SignalName
from medvit.store.tables import CaseTable, SignalTable

REASON_MAX = 1000
ROWS_AT_ONCE = 1000
"""Below the 32,766 parameters of a SQLite statement."""
UNCERTAIN_FROM = 0.5
"""Of 1 - |2p - 1|: a probability between 0.25 and 0.75 makes a case uncertain."""


def put(session: Session, rows: Sequence[CaseSignal], *, now: datetime) -> None:
    """Write signals; one of the same case and name is replaced.

    Raises:
        StoreError: If a name is unknown, a value is not finite, a reason is too long, or a
            case is not in the store; nothing is written then.
    """
    for row in rows:
        _check(row)
    by_key = {(row.case_id, row.name): row for row in rows}
    unique = [by_key[key] for key in sorted(by_key)]  # one order of locks for all processes
    _check_cases(session, [row.case_id for row in unique])
    if not unique:
        return
    values = [
        {
            "case_id": row.case_id,
            "name": row.name,
            "value": float(row.value),
            "reason": row.reason,
            "made_at": row.made_at or now,
        }
        for row in unique
    ]
    insert = insert_into(session, SignalTable)
    new = {name: insert.excluded[name] for name in ("value", "reason", "made_at")}
    keys = [SignalTable.case_id, SignalTable.name]
    session.execute(insert.on_conflict_do_update(index_elements=keys, set_=new), values)


def drop(session: Session, name: SignalName, case_id: str = "") -> None:
    """Remove the signals of one name: those of one case, or all."""
    query = delete(SignalTable).where(SignalTable.name == name)
    session.execute(query.where(SignalTable.case_id == case_id) if case_id else query)


def of_cases(session: Session, case_ids: Iterable[str]) -> list[CaseSignal]:
    """Return the signals of some cases, strongest first within a case."""
    query = select(SignalTable).where(SignalTable.case_id.in_(list(case_ids)))
    order = (SignalTable.case_id, SignalTable.value.desc(), SignalTable.name)
    return [
        CaseSignal(row.case_id, cast(SignalName, row.name), row.value, row.reason, row.made_at)
        for row in session.scalars(query.order_by(*order))
    ]


def refresh_of_results(session: Session, results: Sequence[CaseResult], *, now: datetime) -> None:
    """Write what the newest result says of each case: uncertain, unlike the known, or neither."""
    made = [(uncertainty_of(result), ood_of(result)) for result in results]
    ids = [result.case.case_id for result in results]
    names: tuple[SignalName, ...] = ("uncertainty", "ood")
    told = SignalTable.name.in_(names) & SignalTable.case_id.in_(ids)
    session.execute(delete(SignalTable).where(told))
    put(session, [signal for pair in made for signal in pair if signal is not None], now=now)


def ood_of(result: CaseResult) -> CaseSignal | None:
    """Return how unlike the training images a case is; None when it is like them, or not told."""
    if result.ood is None or not result.unlike:
        return None
    return CaseSignal(result.case.case_id, "ood", result.ood, result.unlike)


def uncertainty_of(result: CaseResult) -> CaseSignal | None:
    """Return how near to a coin flip a model's word on a case is; None when it is sure.

    The value is 1 - |2p - 1| of the most doubtful finding, or of the label of an image.
    """
    said = [(found.probability, found.label) for found in result.findings]
    if result.probability is not None:
        said.append((result.probability, result.label))
    doubts = [(1 - abs(2 * probability - 1), probability, label) for probability, label in said]
    value, probability, label = max(doubts, default=(0.0, 0.0, ""))
    if value < UNCERTAIN_FROM:
        return None
    reason = f"The model gives {probability:.2f} to {label!r}: hardly more than a guess."
    return CaseSignal(result.case.case_id, "uncertainty", value, reason)


def _check(row: CaseSignal) -> None:
    if row.name not in get_args(SignalName):
        known = ", ".join(get_args(SignalName))
        msg = f"{row.case_id}: a signal is one of {known}, got {row.name!r}"
        raise StoreError(msg)
    if not math.isfinite(row.value):
        msg = f"{row.case_id}: the value of {row.name} must be finite, got {row.value}"
        raise StoreError(msg)
    if not row.reason.strip() or len(row.reason) > REASON_MAX:
        length = len(row.reason)
        msg = f"{row.case_id}: the reason of {row.name} has 1 to {REASON_MAX} characters: {length}"
        raise StoreError(msg, hint="say in one sentence why a reader should look")


def _check_cases(session: Session, case_ids: Sequence[str]) -> None:
    for start in range(0, len(case_ids), ROWS_AT_ONCE):
        wanted = set(case_ids[start : start + ROWS_AT_ONCE])
        there = select(CaseTable.case_id).where(CaseTable.case_id.in_(wanted))
        unknown = sorted(wanted - set(session.scalars(there)))
        if unknown:
            msg = f"{len(unknown)} cases of these signals are not in the store: {unknown[:3]}"
            raise StoreError(msg, hint="scan them first, or open the store they were scanned into")
