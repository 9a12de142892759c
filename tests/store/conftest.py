"""A fresh store for each test, in SQLite and in PostgreSQL."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from medvit.store.store import Store

POSTGRES = "MEDVIT_TEST_POSTGRES"
BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.database)]


@pytest.fixture(params=BOTH)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.db'}"
        return
    server = os.environ.get(POSTGRES, "")
    if not server:
        reason = f"no PostgreSQL: set {POSTGRES} to the URL of a database for tests"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    yield from _fresh_schema(server)


def _fresh_schema(server: str) -> Iterator[str]:
    schema = f"test_{uuid.uuid4().hex}"
    url = make_url(server).set(drivername="postgresql+psycopg")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    fresh = url.update_query_dict({"options": f"-csearch_path={schema}"})
    yield fresh.render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """Return a clock that moves a minute at each look."""
    minutes = count()
    return lambda: datetime(2026, 1, 2, 3, tzinfo=UTC) + timedelta(minutes=next(minutes))


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty SQLite store to copy: migrating takes longer than most tests."""
    file = tmp_path_factory.mktemp("migrated") / "store.db"
    Store.open(f"sqlite:///{file}").close()
    return file


@pytest.fixture
def store(store_url: str, migrated_file: Path, clock: Callable[[], datetime]) -> Iterator[Store]:
    """Return an open, empty store."""
    if store_url.startswith("sqlite"):
        shutil.copy(migrated_file, str(make_url(store_url).database))
    with Store.open(store_url, clock=clock) as opened:
        yield opened


@pytest.fixture
def run_id(store: Store) -> int:
    """Return the number of a run that is going on."""
    return store.start_run("scan", {"task": "auto"}, model="m@1", model_sha256="0" * 64)
