"""Who came in and did what: readers with their roles, and the log that is only appended to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import String, cast, func, literal, select, union_all
from sqlalchemy.orm import Session

from medvit.errors import AccessError
from medvit.store.decisions import READER_MAX, one_line
from medvit.store.roles import Actor, Deed, Role, known_role
from medvit.store.tables import AuditTable, DecisionTable, ReaderTable

UNASSIGNED = "anybody"
"""Written as the role of who acts while nobody manages roles."""


@dataclass(frozen=True, slots=True)
class ReaderRow:
    """A reader whose role or sign-in the store knows.

    Attributes:
        is_bound: Whether the name belongs to an account of the sign-in provider.
    """

    name: str
    role: Role
    is_bound: bool
    changed_by: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One line of the log.

    Attributes:
        deed: A deed of `roles.py`, or the action of a decision.
        subject: The case, model, job or reader it was done to.
    """

    at: datetime
    reader: str
    role: str
    deed: str
    subject: str
    details: Mapping[str, Any] = field(default_factory=dict)


def actor_of(session: Session, name: str) -> Actor:
    """Return what a reader is by the table of readers.

    While nobody in it is an admin, a name that is not in it may do everything.
    """
    name = name.strip()
    row = session.get(ReaderTable, name)
    if row is not None:
        return Actor(name, known_role(row.role))
    admins = select(func.count()).select_from(ReaderTable).where(ReaderTable.role == "admin")
    managed = bool(session.scalar(admins))
    return Actor(name, "reader") if managed else Actor(name, "admin", assigned=False)


def local(session: Session, name: str) -> Actor:
    """Let somebody come in under a name that no provider vouches for.

    Raises:
        AccessError: If the name belongs to an account of a provider.
    """
    name = one_line(name, "the reader's name", longest=READER_MAX)
    row = session.get(ReaderTable, name)
    if row is not None and row.subject is not None:
        msg = f"the name {name!r} belongs to an account of the sign-in provider"
        raise AccessError(msg, hint="type another name, or start the app with --auth")
    return actor_of(session, name)


def bind(session: Session, name: str, subject: str, role: Role | None, *, now: datetime) -> Actor:
    """Let an account of the sign-in provider come in under a name.

    Args:
        subject: The account: issuer and subject of the provider.
        role: What the provider says the reader is; None keeps what the table says.

    Raises:
        AccessError: If the name belongs to another account, or the account to another name.
    """
    name = one_line(name, "the reader's name", longest=READER_MAX)
    if not name:
        msg = f"the sign-in gave no name (1 to {READER_MAX} characters)"
        raise AccessError(msg, hint="set name_claim to a claim that the provider sends")
    row = session.get(ReaderTable, name, with_for_update=True)
    other = session.scalar(
        select(ReaderTable.name).where(ReaderTable.subject == subject, ReaderTable.name != name)
    )
    if other is not None or (row is not None and row.subject not in (None, subject)):
        known = f"this account came in as {other!r} before" if other else "it is another account's"
        msg = f"the name {name!r} cannot be used: {known}"
        raise AccessError(msg, hint="ask an admin; decisions stay with the name they were made by")
    if row is None:
        row = ReaderTable(name=name, role="reader", changed_by="sign-in", changed_at=now)
        session.add(row)
    if role is not None and role != row.role:
        row.role, row.changed_by, row.changed_at = role, "sign-in", now
    row.subject = subject
    session.flush()
    return Actor(name, known_role(row.role))


def set_role(session: Session, actor: Actor, name: str, role: str, *, now: datetime) -> ReaderRow:
    """Give a reader a role, and write so into the log.

    Raises:
        AccessError: If the actor is no admin, the role is unknown, or nobody would be left
            who is an admin.
    """
    name = one_line(name, "the reader's name", longest=READER_MAX)
    known = known_role(role)
    if not name:
        msg = f"a role needs the reader's name (1 to {READER_MAX} characters), got none"
        raise AccessError(msg)
    row = session.get(ReaderTable, name)
    before = row.role if row is not None else ""
    if before == "admin" != known and _admins(session) == 1:
        msg = f"{name!r} is the only admin, and a store whose roles are managed needs one"
        raise AccessError(msg, hint="make somebody else an admin first")
    if row is None:
        row = ReaderTable(name=name)
        session.add(row)
    row.role, row.changed_by, row.changed_at = known, actor.name, now
    log(session, actor, "set_role", name, {"before": before, "role": known}, now=now)
    session.flush()
    return _reader(row)


def list_readers(session: Session) -> list[ReaderRow]:
    """Return all readers that the table knows, by name."""
    return [_reader(row) for row in session.scalars(select(ReaderTable).order_by(ReaderTable.name))]


def log(
    session: Session,
    actor: Actor,
    deed: Deed,
    subject: str,
    details: Mapping[str, Any],
    *,
    now: datetime,
) -> None:
    """Append a line, if the role allows the deed.

    Raises:
        AccessError: If it does not.
    """
    actor.require(deed)
    row = AuditTable(
        at=now,
        reader=actor.name,
        role=actor.role if actor.assigned else UNASSIGNED,
        deed=deed,
        subject=subject,
        details=dict(details),
    )
    session.add(row)


def page(session: Session, *, limit: int, offset: int, reader: str = "") -> list[AuditRow]:
    """Return lines of the log and decisions together, newest first."""
    reach = limit + offset
    deeds = select(
        AuditTable.at.label("at"),
        AuditTable.reader.label("reader"),
        AuditTable.role.label("role"),
        AuditTable.deed.label("deed"),
        AuditTable.subject.label("subject"),
        AuditTable.details.label("details"),
        AuditTable.id.label("id"),
    ).order_by(AuditTable.at.desc(), AuditTable.id.desc())
    decided = select(
        DecisionTable.decided_at,
        DecisionTable.reader,
        DecisionTable.role,
        cast(DecisionTable.action, String),
        cast(DecisionTable.case_id, String),
        literal(None, AuditTable.details.type),
        DecisionTable.id,
    ).order_by(DecisionTable.decided_at.desc(), DecisionTable.id.desc())
    if reader:
        deeds = deeds.where(AuditTable.reader == reader)
        decided = decided.where(DecisionTable.reader == reader)
    both = union_all(
        select(deeds.limit(reach).subquery()), select(decided.limit(reach).subquery())
    ).subquery()
    newest = select(both).order_by(both.c.at.desc(), both.c.id.desc())
    rows = session.execute(newest.limit(limit).offset(offset))
    return [
        AuditRow(row.at, row.reader, row.role, row.deed, row.subject, row.details or {})
        for row in rows
    ]


def _admins(session: Session) -> int:
    admins = select(ReaderTable.name).where(ReaderTable.role == "admin").with_for_update()
    return len(session.scalars(admins).all())


def _reader(row: ReaderTable) -> ReaderRow:
    bound = row.subject is not None
    return ReaderRow(row.name, known_role(row.role), bound, row.changed_by, row.changed_at)
