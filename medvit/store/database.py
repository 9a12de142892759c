"""One database, opened and brought to the newest schema: a transaction for each piece of work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from medvit.store.engine import build_engine, database_errors, use_wal, writing
from medvit.store.migrate import migrate

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


class Database:
    """An engine for reading and one for writing; safe for threads and several processes."""

    def __init__(self, engine: Engine, *, clock: Clock = utc_now) -> None:
        self._reading = engine
        self._writing = writing(engine)
        self._clock = clock

    @classmethod
    def open(cls, url: str, *, clock: Clock = utc_now) -> Self:
        """Open a database and bring it to the newest schema; a new one is made.

        Args:
            url: `sqlite:///path/store.db` or `postgresql://user:password@host:port/name`.
            clock: Gives the moment that is written beside runs, cases and decisions.

        Raises:
            StoreError: If the database cannot be opened, was written by a newer medvit, or
                needs a driver that is not installed.
        """
        engine = build_engine(url)
        with database_errors(engine):
            use_wal(engine)
            migrate(engine)
        return cls(engine, clock=clock)

    def close(self) -> None:
        """Close all connections."""
        self._reading.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _read(self) -> Iterator[Session]:
        with database_errors(self._reading), Session(self._reading) as session:
            yield session

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with (
            database_errors(self._writing),
            Session(self._writing) as session,
            session.begin(),
        ):
            yield session
