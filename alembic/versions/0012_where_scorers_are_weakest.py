"""Where each scorer is weakest in each run, so that runs are compared without reading all their correlations.

And an index from which the latest of each scorer is read, in place of one on the same columns.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_FOUND = """
INSERT INTO weakest_agreements (run, number, scorer, scorer_version, oracle, lower)
SELECT run, number, scorer, scorer_version, oracle, lower FROM (
    SELECT c.run, c.number, c.scorer, c.scorer_version, c.oracle, c.lower, row_number() OVER (
        PARTITION BY c.run, c.scorer, c.scorer_version, c.oracle ORDER BY c.lower IS NULL, c.lower, c.number
    ) AS place
    FROM correlations AS c JOIN jobs ON jobs.id = c.run
    WHERE c.statistic = 'pearson_within' AND c.stratum = 'all' AND c.scorer <> c.oracle
        AND (c.temperature IS NOT NULL OR jobs.kind <> 'stress_test')
) AS placed WHERE place = 1
"""


def upgrade() -> None:
    op.create_table(
        "weakest_agreements",
        sa.Column("run", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("scorer", sa.Text(), nullable=False),
        sa.Column("scorer_version", sa.BigInteger(), nullable=True),
        sa.Column("oracle", sa.Text(), nullable=False),
        sa.Column("lower", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["run"], ["jobs.id"], name=op.f("fk_weakest_agreements_run_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run", "number", name=op.f("pk_weakest_agreements")),
    )
    op.create_index(op.f("ix_weakest_agreements_scorer_run"), "weakest_agreements", ["scorer", "run"])
    op.execute(_FOUND)
    op.drop_index("ix_correlations_scorer_statistic_created_at", "correlations")
    op.create_index(
        "ix_correlations_latest_of_scorer",
        "correlations",
        ["statistic", "scorer", "created_at", "run", "number", "estimate"],
    )


def downgrade() -> None:
    op.drop_index("ix_correlations_latest_of_scorer", "correlations")
    op.create_index(
        "ix_correlations_scorer_statistic_created_at", "correlations", ["scorer", "statistic", "created_at"]
    )
    op.drop_table("weakest_agreements")
