"""Claims: who has a case on the desk, for a limited time, so that two do not work unknowingly."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from medvit.store.rows import Claim
from medvit.store.tables import ClaimTable

CLAIM_MINUTES = 15.0


def take(
    session: Session,
    case_id: str,
    reader: str,
    *,
    now: datetime,
    minutes: float,
    take_over: bool,
) -> Claim:
    """Claim a case that is locked, or renew the claim; return the claim that stands then.

    A claim of somebody else that has not run out stands unless it is taken over.
    """
    row = session.get(ClaimTable, case_id)
    holder = row.reader if row is not None and row.expires_at > now else ""
    if row is not None and holder not in ("", reader) and not take_over:
        return _claim(row)
    if row is None:
        row = ClaimTable(case_id=case_id)
        session.add(row)
    if holder != reader:
        row.claimed_at = now
        row.taken_from = holder
    row.reader = reader
    row.expires_at = now + timedelta(minutes=minutes)
    session.flush()
    return _claim(row)


def release(session: Session, case_id: str, reader: str) -> None:
    """Let go of a case; a claim of somebody else stays."""
    mine = (ClaimTable.case_id == case_id, ClaimTable.reader == reader)
    session.execute(delete(ClaimTable).where(*mine))


def of_cases(session: Session, case_ids: Iterable[str], *, now: datetime) -> dict[str, Claim]:
    """Return the claims that have not run out, by case."""
    wanted = ClaimTable.case_id.in_(list(case_ids))
    query = select(ClaimTable).where(wanted, ClaimTable.expires_at > now)
    return {row.case_id: _claim(row) for row in session.scalars(query)}


def _claim(row: ClaimTable) -> Claim:
    return Claim(row.case_id, row.reader, row.claimed_at, row.expires_at, row.taken_from)
