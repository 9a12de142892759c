"""First schema: runs, cases, findings, and decisions that can only be appended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
ANY_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables and the triggers of an empty database."""
    _make_runs()
    _make_cases()
    _make_findings()
    _make_run_findings()
    _make_decisions()
    guard = _guard_postgresql if op.get_bind().dialect.name == "postgresql" else _guard_sqlite
    for statement in guard():
        op.execute(sa.text(statement))


def _make_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("command", sa.String(100), nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("model_sha256", sa.Text, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("counts", sa.JSON, nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.CheckConstraint(
            "state IN ('running', 'done', 'failed', 'interrupted')", name=op.f("ck_runs_state")
        ),
        sqlite_autoincrement=True,
    )


def _make_cases() -> None:
    op.create_table(
        "cases",
        sa.Column("case_id", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        *(sa.Column(name, ANY_TEXT, nullable=False) for name in ("source", "root")),
        sa.Column("files", sa.JSON, nullable=False),
        sa.Column("series_uid", ANY_TEXT, nullable=False),
        sa.Column("verdict", sa.String(10), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        *(sa.Column(name, ANY_TEXT, nullable=False) for name in ("message", "label")),
        sa.Column("probability", sa.Double),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("peak_rss_mb", sa.Double, nullable=False),
        sa.Column("run_id", sa.Integer, nullable=False),
        sa.Column("scanned_at", MOMENT, nullable=False),
        sa.Column("search", ANY_TEXT, nullable=False),
        *_review_columns(),
        sa.PrimaryKeyConstraint("case_id", name=op.f("pk_cases")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_cases_run_id_runs")),
        sa.CheckConstraint("kind IN ('ct', 'image')", name=op.f("ck_cases_kind")),
        sa.CheckConstraint(
            "verdict IN ('accept', 'repair', 'refuse', 'fail')", name=op.f("ck_cases_verdict")
        ),
        sa.CheckConstraint("review IN ('new', 'reviewed', 'none')", name=op.f("ck_cases_review")),
    )
    for first in ("review", "verdict", "kind", "top_probability", "n_findings", "scanned_at"):
        op.create_index(op.f(f"ix_cases_{first}_source"), "cases", [first, "source"])
    op.create_index(op.f("ix_cases_source_case_id"), "cases", ["source", "case_id"])
    op.create_index(op.f("ix_cases_run_id"), "cases", ["run_id"])


def _review_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("n_findings", sa.Integer, nullable=False),
        sa.Column("n_reviewed", sa.Integer, nullable=False),
        sa.Column("top_probability", sa.Double, nullable=False),
        sa.Column("review", sa.String(10), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("label_now", ANY_TEXT, nullable=False),
        sa.Column("decided_by", sa.Text, nullable=False),
        sa.Column("decided_at", MOMENT),
        sa.Column("version", sa.Integer, nullable=False),
    ]


def _make_findings() -> None:
    integers = ("index_z", "index_y", "index_x", "x_min", "y_min", "x_max", "y_max")
    op.create_table(
        "findings",
        sa.Column("finding_id", sa.String(40), nullable=False),
        sa.Column("case_id", sa.String(40), nullable=False),
        sa.Column("label", ANY_TEXT, nullable=False),
        sa.Column("probability", sa.Double, nullable=False),
        *(sa.Column(name, sa.Double) for name in ("x_mm", "y_mm", "z_mm", "diameter_mm")),
        *(sa.Column(name, sa.Integer) for name in integers),
        sa.Column("ood", sa.Double),
        sa.Column("model", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("finding_id", name=op.f("pk_findings")),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.case_id"], name=op.f("fk_findings_case_id_cases")
        ),
    )
    op.create_index(op.f("ix_findings_case_id"), "findings", ["case_id"])


def _make_run_findings() -> None:
    op.create_table(
        "run_findings",
        sa.Column("run_id", sa.Integer, nullable=False),
        sa.Column("finding_id", sa.String(40), nullable=False),
        sa.Column("case_id", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "finding_id", name=op.f("pk_run_findings")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_findings_run_id_runs")),
        sa.ForeignKeyConstraint(
            ["finding_id"],
            ["findings.finding_id"],
            name=op.f("fk_run_findings_finding_id_findings"),
        ),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.case_id"], name=op.f("fk_run_findings_case_id_cases")
        ),
    )
    op.create_index(op.f("ix_run_findings_case_id_run_id"), "run_findings", ["case_id", "run_id"])


def _make_decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("case_id", sa.String(40), nullable=False),
        sa.Column("finding_id", sa.String(40)),
        sa.Column("action", sa.String(10), nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("label", "note")),
        sa.Column("geometry", sa.JSON),
        sa.Column("reader", sa.Text, nullable=False),
        sa.Column("decided_at", MOMENT, nullable=False),
        sa.Column("undoes_id", sa.Integer),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.case_id"], name=op.f("fk_decisions_case_id_cases")
        ),
        sa.ForeignKeyConstraint(
            ["undoes_id"], ["decisions.id"], name=op.f("fk_decisions_undoes_id_decisions")
        ),
        sa.UniqueConstraint("undoes_id", name=op.f("uq_decisions_undoes_id")),
        sa.CheckConstraint(
            "action IN ('accept', 'reject', 'unsure', 'relabel', 'add', 'adjust', 'undo')",
            name=op.f("ck_decisions_action"),
        ),
        sa.CheckConstraint(
            "(action = 'undo') = (undoes_id IS NOT NULL)", name=op.f("ck_decisions_undo")
        ),
        sa.CheckConstraint("length(reader) BETWEEN 1 AND 100", name=op.f("ck_decisions_reader")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_decisions_case_id_id"), "decisions", ["case_id", "id"])


def _guard_sqlite() -> list[str]:
    refuse = "SELECT RAISE(ABORT, 'decisions is append-only: undo by a new row')"
    return [
        f"CREATE TRIGGER decisions_no_update BEFORE UPDATE ON decisions BEGIN {refuse}; END",
        f"CREATE TRIGGER decisions_no_delete BEFORE DELETE ON decisions BEGIN {refuse}; END",
        # INSERT OR REPLACE deletes the row in its way without asking the trigger above.
        "CREATE TRIGGER decisions_no_replace BEFORE INSERT ON decisions WHEN EXISTS ("
        "SELECT 1 FROM decisions WHERE id = NEW.id OR undoes_id = NEW.undoes_id"
        f") BEGIN {refuse}; END",
    ]


def _guard_postgresql() -> list[str]:
    return [
        "CREATE FUNCTION refuse_change_of_decisions() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'decisions is append-only: undo by a new row'; END $$",
        "CREATE TRIGGER decisions_no_change BEFORE UPDATE OR DELETE ON decisions "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change_of_decisions()",
        "CREATE TRIGGER decisions_no_truncate BEFORE TRUNCATE ON decisions "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_decisions()",
    ]
