"""Connections to SQLite and PostgreSQL that behave alike."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from medvit.errors import StoreError

BUSY_TIMEOUT_S = 30.0
WAL_TRIES = 100
WAL_PAUSE_S = 0.05
BEGIN = "sqlite_begin"


def build_engine(url: str) -> Engine:
    """Return an engine for a database URL; nothing is connected yet.

    Args:
        url: `sqlite:///path/store.db` or `postgresql://user:password@host:port/name`.

    Raises:
        StoreError: If the URL is none of these, its folder cannot be made, or the driver
            of PostgreSQL is missing.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        return _build_sqlite(parsed)
    return _build_postgresql(parsed)


def writing(engine: Engine) -> Engine:
    """Return the same engine for transactions that write: SQLite takes its lock at once."""
    return engine.execution_options(**{BEGIN: "BEGIN IMMEDIATE"})


class ConnectionLostError(StoreError):
    """The server is restarting or out of reach; what was being written may not be there."""


@contextmanager
def database_errors(engine: Engine) -> Iterator[None]:
    """Turn what a database says (locked, full, gone) into a StoreError.

    Raises:
        ConnectionLostError: If the server went away, or does not answer yet.
        StoreError: With the database's own words and its URL without a password.
    """
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        said = str(getattr(error, "orig", error)).strip()
        msg = f"the store {engine.url.render_as_string()} failed: {said}"
        kind = ConnectionLostError if _is_lost(error) else StoreError
        raise kind(msg, hint="check the disk, the permissions and the server") from error


def _is_lost(error: Exception) -> bool:
    if not isinstance(error, OperationalError) or isinstance(error.orig, sqlite3.Error):
        return False
    return error.connection_invalidated or error.statement is None


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise _unknown(url.partition("@")[2] or url) from error
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql", "postgres"):
        raise _unknown(parsed.render_as_string())
    if backend == "sqlite" and not parsed.database:
        raise _unknown(parsed.render_as_string())
    return parsed if backend == "sqlite" else parsed.set(drivername="postgresql+psycopg")


def _unknown(shown: str) -> StoreError:
    msg = f"the store must be a SQLite file or a PostgreSQL database, got {shown!r}"
    return StoreError(msg, hint="write sqlite:///folder/store.db or postgresql://user@host/name")


def _build_sqlite(url: URL) -> Engine:
    file = Path(str(url.database))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"the folder of the store {file} cannot be made: {error.strerror or error}"
        raise StoreError(msg, hint="name a folder you may write to") from error
    engine = create_engine(
        url.set(drivername="sqlite"),
        connect_args={"timeout": BUSY_TIMEOUT_S},
        json_serializer=partial(json.dumps, allow_nan=False),
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _build_postgresql(url: URL) -> Engine:
    try:
        return create_engine(
            url,
            pool_pre_ping=True,
            json_serializer=partial(json.dumps, allow_nan=False),
        )
    except ImportError as error:
        msg = f"the store {url.render_as_string()} needs psycopg, which is not installed"
        raise StoreError(msg, hint='pip install "medvit[postgres]"') from error
    except SQLAlchemyError as error:
        raise _unknown(url.render_as_string()) from error


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver would begin late, without the write lock
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")  # a decision outlives a power failure


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(BEGIN, "BEGIN"))


def use_wal(engine: Engine) -> None:
    """Switch a SQLite file to write-ahead logging: readers and a writer side by side.

    The switch needs the file alone for a moment and does not wait by itself, so it is tried
    again for five seconds.
    """
    if engine.dialect.name != "sqlite":
        return
    for attempt in range(WAL_TRIES):
        try:
            _set_wal(engine)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or attempt == WAL_TRIES - 1:
                raise
        else:
            return
        time.sleep(WAL_PAUSE_S)


def _set_wal(engine: Engine) -> None:
    # The mode cannot be changed inside a transaction, and SQLAlchemy begins one at once.
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            cursor.execute("PRAGMA journal_mode = WAL")
    finally:
        raw.close()
