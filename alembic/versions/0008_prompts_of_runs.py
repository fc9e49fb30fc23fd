"""Which prompts a run stands on. Runs whose prompts are stored get theirs now; of other runs they stay unknown."""

from itertools import groupby

import sqlalchemy as sa
from alembic import op

from evaluation.prompt_marks import mark_of
from service.db.prompt_sets import row_of

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None

_PROMPTS = sa.table(
    "prompts", sa.column("run"), sa.column("number"), sa.column("prompt_id"), sa.column("content", sa.JSON())
)
_JOBS = sa.table("jobs", sa.column("id"), sa.column("status"))


def upgrade() -> None:
    table = op.create_table(
        "run_prompts",
        sa.Column("run", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("marks", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["jobs.id"], name=op.f("fk_run_prompts_run_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run", name=op.f("pk_run_prompts")),
    )
    op.create_index(op.f("ix_run_prompts_digest_run"), "run_prompts", ["digest", "run"])
    connection = op.get_bind()
    ended = sa.select(_JOBS.c.id).where(_JOBS.c.status == "succeeded")  # others are stored in pieces, or anew
    stored = sa.select(_PROMPTS.c.run, _PROMPTS.c.prompt_id, _PROMPTS.c.content).where(_PROMPTS.c.run.in_(ended))
    stored = stored.order_by(_PROMPTS.c.run)
    rows = connection.execute(stored.execution_options(yield_per=10_000))
    for run, its in groupby(rows, lambda row: row.run):
        row = row_of(run, (mark_of(content, prompt_id) for _, prompt_id, content in its))
        connection.execute(sa.insert(table), row)


def downgrade() -> None:
    op.drop_table("run_prompts")
    # what older versions cannot read they find anew
    op.execute("UPDATE monitored_scorers SET state = NULL, reference = NULL")
