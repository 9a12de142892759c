"""Many readers: roles, claims, signals that make queues, an audit log, richer decisions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
ANY_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
ACTIONS = "action IN ('accept', 'reject', 'unsure', 'relabel', 'add', 'adjust', 'skip', 'undo')"
UNDO = "(action = 'undo') = (undoes_id IS NOT NULL)"
ROLES = "role IN ('reader', 'lead', 'admin')"
SECONDS = "seconds IS NULL OR seconds >= 0"
KEPT = "id, case_id, finding_id, action, label, note, geometry, reader, decided_at, undoes_id"


def upgrade() -> None:
    """Make the new tables, and widen `decisions` without losing a row."""
    _make_readers()
    _make_claims()
    _make_signals()
    _make_audit()
    _widen_cases()
    if op.get_bind().dialect.name == "postgresql":
        _widen_decisions()
        statements = _guard_postgresql()
    else:
        _remake_decisions()
        statements = _guard_sqlite()
    op.create_index(op.f("ix_decisions_decided_at"), "decisions", ["decided_at"])
    op.create_index(op.f("ix_decisions_reader_decided_at"), "decisions", ["reader", "decided_at"])
    for statement in statements:
        op.execute(sa.text(statement))


def _make_readers() -> None:
    op.create_table(
        "readers",
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("role", sa.String(10), nullable=False),
        sa.Column("subject", sa.Text),
        sa.Column("changed_by", sa.Text, nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_readers")),
        sa.UniqueConstraint("subject", name=op.f("uq_readers_subject")),
        sa.CheckConstraint(ROLES, name=op.f("ck_readers_role")),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 100", name=op.f("ck_readers_name")),
    )


def _make_claims() -> None:
    op.create_table(
        "claims",
        sa.Column("case_id", sa.String(40), nullable=False),
        sa.Column("reader", sa.Text, nullable=False),
        sa.Column("claimed_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("taken_from", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("case_id", name=op.f("pk_claims")),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.case_id"], name=op.f("fk_claims_case_id_cases")
        ),
    )
    op.create_index(op.f("ix_claims_expires_at"), "claims", ["expires_at"])


def _make_signals() -> None:
    op.create_table(
        "case_signals",
        sa.Column("case_id", sa.String(40), nullable=False),
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("reason", ANY_TEXT, nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("case_id", "name", name=op.f("pk_case_signals")),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.case_id"], name=op.f("fk_case_signals_case_id_cases")
        ),
    )
    op.create_index(
        op.f("ix_case_signals_name_value_case_id"), "case_signals", ["name", "value", "case_id"]
    )


def _make_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("reader", sa.Text, nullable=False),
        sa.Column("role", sa.String(10), nullable=False),
        sa.Column("deed", sa.String(40), nullable=False),
        sa.Column("subject", ANY_TEXT, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"])


def _widen_cases() -> None:
    op.add_column("cases", sa.Column("touched_at", MOMENT))
    op.execute(
        sa.text(
            "UPDATE cases SET touched_at = (SELECT max(decided_at) FROM decisions"
            " WHERE decisions.case_id = cases.case_id)"
        )
    )
    op.create_index(op.f("ix_cases_review_scanned_at"), "cases", ["review", "scanned_at"])
    columns = ["case_id", "review", "touched_at"]
    op.create_index(op.f("ix_cases_case_id_review_touched_at"), "cases", columns)


def _new_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("reason_code", sa.String(40), nullable=False, server_default=""),
        sa.Column("seconds", sa.Double),
        sa.Column("role", sa.String(10), nullable=False, server_default="reader"),
        sa.Column("settles", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("token", sa.String(40)),
    ]


def _widen_decisions() -> None:
    for column in _new_columns():
        op.add_column("decisions", column)
    op.drop_constraint(op.f("ck_decisions_action"), "decisions")
    for name, rule in (("action", ACTIONS), ("role", ROLES), ("seconds", SECONDS)):
        op.create_check_constraint(op.f(f"ck_decisions_{name}"), "decisions", rule)
    op.create_unique_constraint(op.f("uq_decisions_token"), "decisions", ["token"])


def _remake_decisions() -> None:
    """Copy the table: SQLite cannot alter a CHECK. Dropping it drops its triggers, too."""
    op.create_table(
        "decisions_new",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("case_id", sa.String(40), nullable=False),
        sa.Column("finding_id", sa.String(40)),
        sa.Column("action", sa.String(10), nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("label", "note")),
        sa.Column("geometry", sa.JSON),
        sa.Column("reader", sa.Text, nullable=False),
        sa.Column("decided_at", MOMENT, nullable=False),
        sa.Column("undoes_id", sa.Integer),
        *_new_columns(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.case_id"], name=op.f("fk_decisions_case_id_cases")
        ),
        # Renaming the table renames it here as well.
        sa.ForeignKeyConstraint(
            ["undoes_id"], ["decisions_new.id"], name=op.f("fk_decisions_undoes_id_decisions")
        ),
        sa.UniqueConstraint("undoes_id", name=op.f("uq_decisions_undoes_id")),
        sa.UniqueConstraint("token", name=op.f("uq_decisions_token")),
        sa.CheckConstraint(ACTIONS, name=op.f("ck_decisions_action")),
        sa.CheckConstraint(UNDO, name=op.f("ck_decisions_undo")),
        sa.CheckConstraint("length(reader) BETWEEN 1 AND 100", name=op.f("ck_decisions_reader")),
        sa.CheckConstraint(ROLES, name=op.f("ck_decisions_role")),
        sa.CheckConstraint(SECONDS, name=op.f("ck_decisions_seconds")),
        sqlite_autoincrement=True,
    )
    op.execute(
        sa.text(f"INSERT INTO decisions_new ({KEPT}) SELECT {KEPT} FROM decisions ORDER BY id")
    )
    op.drop_table("decisions")
    op.rename_table("decisions_new", "decisions")
    op.create_index(op.f("ix_decisions_case_id_id"), "decisions", ["case_id", "id"])


def _guard_sqlite() -> list[str]:
    refuse = "SELECT RAISE(ABORT, 'decisions is append-only: undo by a new row')"
    keep = "SELECT RAISE(ABORT, 'audit is append-only')"
    return [
        f"CREATE TRIGGER decisions_no_update BEFORE UPDATE ON decisions BEGIN {refuse}; END",
        f"CREATE TRIGGER decisions_no_delete BEFORE DELETE ON decisions BEGIN {refuse}; END",
        # INSERT OR REPLACE deletes the row in its way without asking the trigger above.
        "CREATE TRIGGER decisions_no_replace BEFORE INSERT ON decisions WHEN EXISTS ("
        "SELECT 1 FROM decisions"
        " WHERE id = NEW.id OR undoes_id = NEW.undoes_id OR token = NEW.token"
        f") BEGIN {refuse}; END",
        f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN {keep}; END",
        f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN {keep}; END",
        "CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit WHEN EXISTS ("
        f"SELECT 1 FROM audit WHERE id = NEW.id) BEGIN {keep}; END",
    ]


def _guard_postgresql() -> list[str]:
    return [
        "CREATE FUNCTION refuse_change_of_audit() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'audit is append-only'; END $$",
        "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change_of_audit()",
        "CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit()",
    ]
