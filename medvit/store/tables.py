"""The tables of the store; a change here needs a new file in `migrations/versions`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite drops the zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn a moment with any zone into UTC."""
        if value is not None and value.tzinfo is None:
            msg = f"a moment needs a time zone, got {value.isoformat()}"
            raise ValueError(msg)
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Put the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class AnyText(TypeDecorator[str]):
    r"""Text from file names and headers; what no database holds is written as `\udcff`, `\x00`."""

    impl = Text().with_variant(Text(collation="C"), "postgresql")
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Escape lone surrogates (bytes of a name that are no UTF-8) and NUL."""
        if value is None:
            return None
        return value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


class Base(DeclarativeBase):
    """Parent of all tables."""

    metadata = MetaData(naming_convention=NAMING)


class RunTable(Base):
    """One run of a command."""

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint("state IN ('running', 'done', 'failed', 'interrupted')", name="state"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    command: Mapped[str] = mapped_column(String(100))
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    model: Mapped[str] = mapped_column(Text)
    model_sha256: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(20))
    counts: Mapped[dict[str, Any]] = mapped_column(JSON)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class CaseTable(Base):
    """The current state of one case; the columns after `scanned_at` are derived.

    They follow from the findings of the latest run and from `decisions`, and are written in
    the same transaction as those, so that a worklist of any length is one indexed query.
    """

    __tablename__ = "cases"
    __table_args__ = (
        CheckConstraint("kind IN ('ct', 'image')", name="kind"),
        CheckConstraint("verdict IN ('accept', 'repair', 'refuse', 'fail')", name="verdict"),
        CheckConstraint("review IN ('new', 'reviewed', 'none')", name="review"),
        Index(None, "source", "case_id"),
        Index(None, "review", "source"),
        Index(None, "verdict", "source"),
        Index(None, "kind", "source"),
        Index(None, "top_probability", "source"),
        Index(None, "n_findings", "source"),
        Index(None, "scanned_at", "source"),
        Index(None, "review", "scanned_at"),
        Index(None, "case_id", "review", "touched_at"),  # lengths of queues: 15 times faster
        Index(None, "run_id"),
    )

    case_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    source: Mapped[str] = mapped_column(AnyText)
    root: Mapped[str] = mapped_column(AnyText)
    files: Mapped[list[str]] = mapped_column(JSON)
    series_uid: Mapped[str] = mapped_column(AnyText)
    verdict: Mapped[str] = mapped_column(String(10))
    reason: Mapped[str] = mapped_column(Text)
    message: Mapped[str] = mapped_column(AnyText)
    label: Mapped[str] = mapped_column(AnyText)
    probability: Mapped[float | None] = mapped_column(Double)
    seconds: Mapped[float] = mapped_column(Double)
    peak_rss_mb: Mapped[float] = mapped_column(Double)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    scanned_at: Mapped[datetime] = mapped_column(UtcDateTime)
    search: Mapped[str] = mapped_column(AnyText)
    n_findings: Mapped[int] = mapped_column(default=0)
    n_reviewed: Mapped[int] = mapped_column(default=0)
    top_probability: Mapped[float] = mapped_column(Double, default=-1.0)
    review: Mapped[str] = mapped_column(String(10), default="none")
    state: Mapped[str] = mapped_column(String(10), default="new")
    label_now: Mapped[str] = mapped_column(AnyText, default="")
    decided_by: Mapped[str] = mapped_column(Text, default="")
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    version: Mapped[int] = mapped_column(default=0)
    touched_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class FindingTable(Base):
    """A finding of a model; written once, whichever run saw it first."""

    __tablename__ = "findings"
    __table_args__ = (Index(None, "case_id"),)

    finding_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"))
    label: Mapped[str] = mapped_column(AnyText)
    probability: Mapped[float] = mapped_column(Double)
    x_mm: Mapped[float | None] = mapped_column(Double)
    y_mm: Mapped[float | None] = mapped_column(Double)
    z_mm: Mapped[float | None] = mapped_column(Double)
    diameter_mm: Mapped[float | None] = mapped_column(Double)
    index_z: Mapped[int | None]
    index_y: Mapped[int | None]
    index_x: Mapped[int | None]
    x_min: Mapped[int | None]
    y_min: Mapped[int | None]
    x_max: Mapped[int | None]
    y_max: Mapped[int | None]
    ood: Mapped[float | None] = mapped_column(Double)
    model: Mapped[str] = mapped_column(Text)


class RunFindingTable(Base):
    """Which run saw which finding: the lineage from a finding to its model."""

    __tablename__ = "run_findings"
    __table_args__ = (Index(None, "case_id", "run_id"),)

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    finding_id: Mapped[str] = mapped_column(ForeignKey("findings.finding_id"), primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"))


class DecisionTable(Base):
    """What readers said; triggers refuse every UPDATE and DELETE."""

    __tablename__ = "decisions"
    __table_args__ = (
        CheckConstraint(
            "action IN ('accept', 'reject', 'unsure', 'relabel', 'add', 'adjust', 'skip', 'undo')",
            name="action",
        ),
        CheckConstraint("(action = 'undo') = (undoes_id IS NOT NULL)", name="undo"),
        CheckConstraint("length(reader) BETWEEN 1 AND 100", name="reader"),
        CheckConstraint("role IN ('reader', 'lead', 'admin')", name="role"),
        CheckConstraint("seconds IS NULL OR seconds >= 0", name="seconds"),
        Index(None, "case_id", "id"),
        Index(None, "decided_at"),
        Index(None, "reader", "decided_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"))
    finding_id: Mapped[str | None] = mapped_column(String(40))
    action: Mapped[str] = mapped_column(String(10))
    label: Mapped[str] = mapped_column(Text)
    note: Mapped[str] = mapped_column(Text)
    geometry: Mapped[dict[str, float] | None] = mapped_column(JSON(none_as_null=True))
    reader: Mapped[str] = mapped_column(Text)
    decided_at: Mapped[datetime] = mapped_column(UtcDateTime)
    undoes_id: Mapped[int | None] = mapped_column(ForeignKey("decisions.id"), unique=True)
    reason_code: Mapped[str] = mapped_column(String(40), default="", server_default="")
    seconds: Mapped[float | None] = mapped_column(Double)
    role: Mapped[str] = mapped_column(String(10), default="reader", server_default="reader")
    settles: Mapped[bool] = mapped_column(default=False, server_default=false())
    token: Mapped[str | None] = mapped_column(String(40), unique=True)


class ReaderTable(Base):
    """Who was given a role, and whom a name belongs to at the sign-in provider."""

    __tablename__ = "readers"
    __table_args__ = (
        CheckConstraint("role IN ('reader', 'lead', 'admin')", name="role"),
        CheckConstraint("length(name) BETWEEN 1 AND 100", name="name"),
    )

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    role: Mapped[str] = mapped_column(String(10))
    subject: Mapped[str | None] = mapped_column(Text, unique=True)
    changed_by: Mapped[str] = mapped_column(Text)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ClaimTable(Base):
    """Who has a case on the desk, and until when."""

    __tablename__ = "claims"
    __table_args__ = (Index(None, "expires_at"),)

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), primary_key=True)
    reader: Mapped[str] = mapped_column(Text)
    claimed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    taken_from: Mapped[str] = mapped_column(Text)


class SignalTable(Base):
    """Why a case should be looked at, one row a case and kind of reason."""

    __tablename__ = "case_signals"
    __table_args__ = (Index(None, "name", "value", "case_id"),)

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[float] = mapped_column(Double)
    reason: Mapped[str] = mapped_column(AnyText)
    made_at: Mapped[datetime] = mapped_column(UtcDateTime)


class AuditTable(Base):
    """Who did what beside deciding; triggers refuse every UPDATE and DELETE."""

    __tablename__ = "audit"
    __table_args__ = (Index(None, "at"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    reader: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(String(10))
    deed: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(AnyText)
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
