"""The schema: what migrations make is what the tables say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from medvit.errors import StoreError
from medvit.store import migrate as migrations
from medvit.store.engine import build_engine, writing
from medvit.store.migrate import LATEST, MIGRATIONS, current_version
from medvit.store.rows import Decision
from medvit.store.store import Store
from medvit.store.tables import Base
from tests.make.results import ct_result

REOPEN = """
import sys
from medvit.store.store import Store
Store.open(sys.argv[1]).close()
print(any(name.split(".")[0] == "alembic" for name in sys.modules))
"""


def test_migrations_make_what_the_tables_say(store: Store, store_url: str) -> None:
    engine = build_engine(store_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        assert current_version(connection) == LATEST
    engine.dispose()


def test_the_newest_migration_is_the_one_the_store_asks_for() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_heads() == [LATEST]


def test_an_empty_database_has_no_version(store_url: str) -> None:
    engine = build_engine(store_url)
    with engine.connect() as connection:
        assert current_version(connection) is None
    engine.dispose()


def test_opening_again_keeps_everything(store_url: str) -> None:
    with Store.open(store_url) as store:
        run_id = store.start_run("scan", {}, model="", model_sha256="")
        store.save_result(run_id, ct_result("a", 0.5))
    with Store.open(store_url) as store:
        assert len(store.list_findings("ct-a")) == 1


def test_the_store_of_a_newer_medvit_is_refused(store_url: str) -> None:
    Store.open(store_url).close()
    engine = build_engine(store_url)
    with writing(engine).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreError, match=f"schema 9999, this medvit knows {LATEST}") as refused:
        Store.open(store_url)
    assert "newer medvit" in refused.value.hint


def test_a_migration_that_fails_leaves_nothing(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LATEST", "9998")
    with pytest.raises(Exception, match="9998"):
        Store.open(store_url)
    engine = build_engine(store_url)
    with engine.connect() as connection:
        assert current_version(connection) is None
    engine.dispose()


OLD_ROWS = (
    "INSERT INTO runs VALUES (1, 'scan', '{}', 'm@1', '', 'done', '{}', '2026-01-01', NULL)",
    "INSERT INTO cases VALUES ('ct-a', 'ct', 'a', '/data', '[]', '1.2', 'accept', 'ok', '', '',"
    " NULL, 1.0, 9.0, 1, '2026-01-01', 'a', 0, 0, -1.0, 'reviewed', 'accept', '', 'Ann',"
    " '2026-01-02', 3)",
    "INSERT INTO decisions VALUES (1, 'ct-a', NULL, 'reject', '', 'why', NULL, 'Ann',"
    " '2026-01-02 00:00:00', NULL)",
    "INSERT INTO decisions VALUES (2, 'ct-a', NULL, 'undo', '', '', NULL, 'Ann',"
    " '2026-01-02 00:00:01', 1)",
    "INSERT INTO decisions VALUES (3, 'ct-a', NULL, 'accept', '', '', NULL, 'Ann',"
    " '2026-01-02 00:00:02', NULL)",
)


def test_a_store_of_the_first_schema_keeps_its_decisions(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LATEST", "0001")
    Store.open(store_url).close()
    engine = build_engine(store_url)
    with writing(engine).begin() as connection:
        for statement in OLD_ROWS:
            connection.execute(text(statement))
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT setval('decisions_id_seq', 3)"))
    monkeypatch.undo()
    with Store.open(store_url) as store:
        old = store.list_decisions("ct-a")
        case = store.get_case("ct-a")
        assert [(row.id, row.action, row.note, row.undoes_id) for row in old] == [
            (1, "reject", "why", None),
            (2, "undo", "", 1),
            (3, "accept", "", None),
        ]
        assert {(row.reason_code, row.seconds, row.role, row.settles) for row in old} == {
            ("", None, "reader", False)
        }
        assert case is not None
        assert case.touched_at == old[-1].decided_at
        assert store.decide(Decision("ct-a", None, "skip", "Ben", seconds=2.5)).id == 4
    for statement in ("UPDATE decisions SET note = ''", "DELETE FROM decisions WHERE id = 1"):
        with pytest.raises(DBAPIError, match="append-only"), writing(engine).begin() as connection:
            connection.execute(text(statement))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


@pytest.mark.slow
def test_a_current_database_opens_without_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    Store.open(url).close()
    command = [sys.executable, "-c", REOPEN, url]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"
