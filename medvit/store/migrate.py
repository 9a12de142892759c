"""Bring a database to the newest schema, whoever opens it first."""

from __future__ import annotations

import logging
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from medvit.errors import StoreError
from medvit.store.engine import writing

LATEST = "0002"
MIGRATIONS = Path(__file__).resolve().parent / "migrations"
LOCK_KEY = 0x6D65_6476  # "medv": one advisory lock for all migrations of a PostgreSQL database

log = logging.getLogger(__name__)


def migrate(engine: Engine) -> None:
    """Run the migrations that a database lacks, in one transaction.

    A database that is current costs one query. Otherwise the database's own write lock makes
    processes that open it at the same time wait for the first; a process that is killed
    half-way leaves the database as it was.

    Raises:
        StoreError: If a newer medvit wrote the database.
    """
    with engine.connect() as connection:
        if current_version(connection) == LATEST:
            return
    with writing(engine).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        version = current_version(connection)
        if version != LATEST:
            _upgrade(connection, version)


def current_version(connection: Connection) -> str | None:
    """Return the version of the schema; None for a database that is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _upgrade(connection: Connection, version: str | None) -> None:
    # Alembic takes 0.2 s to import; a database that is current does without.
    from alembic.migration import MigrationContext  # noqa: PLC0415
    from alembic.operations import Operations  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    script = ScriptDirectory(str(MIGRATIONS))
    known = [revision.revision for revision in script.walk_revisions()]
    if version is not None and version not in known:
        shown = connection.engine.url.render_as_string()
        msg = f"the store {shown} has schema {version}, this medvit knows {LATEST} and older"
        raise StoreError(msg, hint="use the newer medvit that wrote it")
    context = MigrationContext.configure(connection)
    with Operations.context(context):
        for step in reversed(list(script.iterate_revisions(LATEST, version or "base"))):
            log.info("store: migrating to schema %s", step.revision)
            step.module.upgrade()
            context.stamp(script, step.revision)
