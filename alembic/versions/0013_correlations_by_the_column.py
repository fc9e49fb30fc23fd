"""Correlations once more by the column, so that groups of them are made without reading their rows.

Those that are there are filled in after the migrations, by the code that stores new ones. And an index for the newest
of one scorer's version.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_COLUMNS = (
    *("scorer", "oracle", "temperature", "stratum", "scorer_version", "policy", "number", "estimate"),
    *("n_prompts", "n_responses", "n_dropped", "standard_error", "lower", "upper"),
    *("n_total", "n_truncated", "n_constant_prompts", "method", "undefined_reason", "code_version"),
)
_ASKED = ["statistic", "oracle", "stratum", "temperature", "created_at", "run", "number", "scorer"]
_NEWEST = ["statistic", "scorer", "created_at", "run", "number"]
_VERSION = ["scorer", "scorer_version", "created_at", "run", "number"]


def upgrade() -> None:
    op.create_table(
        "correlation_columns",
        sa.Column("statistic", sa.Text(), nullable=False),
        sa.Column("run", sa.String(length=64), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("moment", sa.BigInteger(), nullable=False),
        sa.Column("n_rows", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.LargeBinary(), nullable=False) for name in _COLUMNS),
        sa.ForeignKeyConstraint(["run"], ["jobs.id"], name=op.f("fk_correlation_columns_run_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("statistic", "run", "first", name=op.f("pk_correlation_columns")),
    )
    op.create_index(op.f("ix_correlation_columns_run"), "correlation_columns", ["run"])
    # estimates were there for groups alone
    op.drop_index("ix_correlations_asked", "correlations")
    op.drop_index("ix_correlations_latest_of_scorer", "correlations")
    op.create_index("ix_correlations_asked", "correlations", _ASKED)
    op.create_index("ix_correlations_newest_of_statistic_and_scorer", "correlations", _NEWEST)
    op.create_index("ix_correlations_newest_of_version", "correlations", _VERSION)


def downgrade() -> None:
    op.drop_index("ix_correlations_newest_of_version", "correlations")
    op.drop_index("ix_correlations_newest_of_statistic_and_scorer", "correlations")
    op.drop_index("ix_correlations_asked", "correlations")
    op.create_index("ix_correlations_latest_of_scorer", "correlations", [*_NEWEST, "estimate"])
    op.create_index("ix_correlations_asked", "correlations", [*_ASKED, "estimate"])
    op.drop_table("correlation_columns")
