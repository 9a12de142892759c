"""The case and the finding that a name from outside stands for: an id of either."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from medvit.store.engine import build_engine, database_errors
from medvit.store.tables import FindingTable


def case_of_finding(url: str, finding_id: str) -> str:
    """Return the id of the case that a model's finding belongs to; empty for none.

    Raises:
        StoreError: If the database cannot be read.
    """
    engine = build_engine(url)
    query = select(FindingTable.case_id).where(FindingTable.finding_id == finding_id)
    try:
        with database_errors(engine), Session(engine) as session:
            return session.scalar(query) or ""
    finally:
        engine.dispose()
