"""Drift over time, alerts that audits stopped, and that somebody has seen an alert."""

from contextlib import AbstractContextManager
from datetime import datetime

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_NEW = "kind IN ('trust', 'drift', 'stale')"
_OLD = "kind IN ('trust', 'drift')"


def upgrade() -> None:
    op.create_table(
        "drifts",
        sa.Column("scorer", sa.Text(), nullable=False),
        sa.Column("measure", sa.String(length=16), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("estimate", sa.Double(), nullable=True),
        sa.Column("lower", sa.Double(), nullable=True),
        sa.Column("upper", sa.Double(), nullable=True),
        sa.Column("n_responses", sa.BigInteger(), nullable=False),
        sa.Column("n_prompts", sa.BigInteger(), nullable=False),
        sa.Column("n_reference", sa.BigInteger(), nullable=False),
        sa.Column("reference_kind", sa.String(length=16), nullable=False),
        sa.Column("undefined_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("hour", "scorer", "measure", name=op.f("pk_drifts")),
    )
    op.create_index(op.f("ix_drifts_scorer_hour"), "drifts", ["scorer", "hour"])
    with _other_kinds(_NEW) as alerts:
        alerts.add_column(_acknowledged_at())


def downgrade() -> None:
    op.execute("DELETE FROM alerts WHERE kind = 'stale'")
    with _other_kinds(_OLD, _acknowledged_at()) as alerts:
        alerts.drop_column("acknowledged_at")
    op.drop_table("drifts")
    op.execute("UPDATE monitored_scorers SET state = NULL")  # what older versions cannot read they find anew


def _other_kinds(condition: str, *columns: "sa.Column[datetime]") -> AbstractContextManager[BatchOperations]:
    """``alerts``, which has these ``columns`` beside those of 0006, with another condition for its kinds.

    SQLite copies the table for that. What it looks like is said here, for releases of SQLAlchemy differ in whether they
    read conditions.
    """
    check = sa.CheckConstraint(condition, name=op.f("ck_alerts_kind"))
    if op.get_context().dialect.name == "sqlite":
        return op.batch_alter_table("alerts", recreate="always", copy_from=_alerts(*columns), table_args=(check,))
    op.drop_constraint(op.f("ck_alerts_kind"), "alerts", type_="check")
    op.create_check_constraint(op.f("ck_alerts_kind"), "alerts", condition)
    return op.batch_alter_table("alerts")


def _alerts(*columns: "sa.Column[datetime]") -> sa.Table:
    raised_at = sa.Column("raised_at", sa.DateTime(timezone=True), nullable=False)
    return sa.Table(
        "alerts",
        sa.MetaData(),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("open_key", sa.Text(), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("scorer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("lower", sa.Double(), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        raised_at,
        sa.Column("cleared_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("told", sa.String(length=16), nullable=True),
        sa.Column("tell_after", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
        sa.UniqueConstraint("open_key", name=op.f("uq_alerts_open_key")),
        sa.Index(op.f("ix_alerts_raised_at"), raised_at),
    )


def _acknowledged_at() -> "sa.Column[datetime]":
    return sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True)
