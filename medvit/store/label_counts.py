"""How many cases have which label, and which labels look wrong: counted in the database."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medvit.store.engine import build_engine, database_errors
from medvit.store.tables import CaseTable, SignalTable

SUSPECT = "suspect_label"


def label_counts(url: str) -> list[tuple[str, int, int]]:
    """Return label, images and images that were reviewed, most frequent first.

    Raises:
        StoreError: If the database cannot be read.
    """
    reviewed = func.count().filter(CaseTable.review == "reviewed")
    query = (
        select(CaseTable.label_now, func.count(), reviewed)
        .where(CaseTable.kind == "image", CaseTable.label_now != "")
        .group_by(CaseTable.label_now)
        .order_by(func.count().desc(), CaseTable.label_now)
    )
    engine = build_engine(url)
    try:
        with database_errors(engine), Session(engine) as session:
            return [(label, images, done) for label, images, done in session.execute(query)]
    finally:
        engine.dispose()


def suspects(url: str, *, most: int = 50) -> list[tuple[str, float, str]]:
    """Return case, strength and sentence of labels in doubt, most suspicious first.

    Raises:
        StoreError: If the database cannot be read.
    """
    query = (
        select(SignalTable.case_id, SignalTable.value, SignalTable.reason)
        .where(SignalTable.name == SUSPECT)
        .order_by(SignalTable.value.desc(), SignalTable.case_id)
        .limit(most)
    )
    engine = build_engine(url)
    try:
        with database_errors(engine), Session(engine) as session:
            return [(case, value, why) for case, value, why in session.execute(query)]
    finally:
        engine.dispose()
