"""Which models the rows of a store name: nothing that is named may be thrown away."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from medvit.store.engine import build_engine, database_errors
from medvit.store.tables import FindingTable, RunTable

COLUMNS = (RunTable.model, RunTable.model_sha256, FindingTable.model)


def models_named(url: str) -> list[str]:
    """Return what runs and findings say of their models: references and hashes, as written.

    Raises:
        StoreError: If the database cannot be read.
    """
    engine = build_engine(url)
    try:
        with database_errors(engine), Session(engine) as session:
            return [text for each in COLUMNS for text in session.scalars(select(each).distinct())]
    finally:
        engine.dispose()
