"""What was decided cannot be changed, whoever holds the database."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from medvit.store.engine import build_engine, writing
from medvit.store.rows import Decision, DecisionRow
from medvit.store.store import Store
from tests.make.results import ct_result

CHANGES = [
    "UPDATE decisions SET reader = 'Eve'",
    "UPDATE decisions SET note = note WHERE id = 1",
    "DELETE FROM decisions",
    "DELETE FROM decisions WHERE id = 1",
]
REPLACE = (
    "INSERT OR REPLACE INTO decisions"
    " (id, case_id, action, label, note, reader, decided_at, undoes_id)"
    " VALUES ({id}, 'ct-a', '{action}', '', '', 'Eve', '2026-01-01', {undoes})"
)


@pytest.fixture
def decided(store: Store, run_id: int) -> list[DecisionRow]:
    """Return an accept and its undo."""
    store.save_result(run_id, ct_result("a", 0.5))
    return [store.decide(Decision("ct-a", None, action, "Ann")) for action in ("accept", "undo")]


def _refused(url: str, statement: str) -> None:
    engine = build_engine(url)
    with pytest.raises(DBAPIError, match="append-only"), writing(engine).begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


@pytest.mark.parametrize("statement", CHANGES)
def test_raw_changes_are_refused(
    store: Store, store_url: str, decided: list[DecisionRow], statement: str
) -> None:
    _refused(store_url, statement)
    assert store.list_decisions("ct-a") == decided


def test_truncate_is_refused_by_postgresql(
    store: Store, store_url: str, decided: list[DecisionRow]
) -> None:
    if store_url.startswith("sqlite"):
        _refused(store_url, "DELETE FROM decisions WHERE 1")  # SQLite has no TRUNCATE
    else:
        _refused(store_url, "TRUNCATE decisions CASCADE")
    assert store.list_decisions("ct-a") == decided


@pytest.mark.parametrize(
    "values",
    [{"id": 1, "action": "reject", "undoes": "NULL"}, {"id": 9, "action": "undo", "undoes": 1}],
)
def test_replacing_a_row_is_refused(
    store: Store, store_url: str, decided: list[DecisionRow], values: dict[str, object]
) -> None:
    statement = REPLACE.format(**values)
    if store_url.startswith("sqlite"):
        _refused(store_url, statement)
    else:
        engine = build_engine(store_url)
        plain = statement.replace("OR REPLACE ", "")
        with pytest.raises(DBAPIError, match="unique"), engine.begin() as connection:
            connection.execute(text(plain))
        engine.dispose()
    assert store.list_decisions("ct-a") == decided


@pytest.mark.parametrize(
    "row",
    [
        "('ct-a', 'delete', 'Ann', NULL)",
        "('ct-a', 'undo', 'Ann', NULL)",
        "('ct-a', 'accept', '', NULL)",
        "('ct-x', 'accept', 'Ann', NULL)",
        "('ct-a', 'undo', 'Ann', 77)",
    ],
)
def test_the_database_itself_refuses_nonsense(
    store_url: str, decided: list[DecisionRow], row: str
) -> None:
    columns = "case_id, action, reader, undoes_id, label, note, decided_at"
    statement = f"INSERT INTO decisions ({columns}) VALUES {row[:-1]}, '', '', '2026-01-01')"
    engine = build_engine(store_url)
    with (
        pytest.raises(DBAPIError, match=r"(?i)constraint"),
        writing(engine).begin() as connection,
    ):
        connection.execute(text(statement))
    engine.dispose()
