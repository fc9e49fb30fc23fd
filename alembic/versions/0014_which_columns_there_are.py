"""Which runs there are columns of, read from an index: by it a server knows whether those in its memory are all."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_RUN = "ix_correlation_columns_run"
_MOMENT = "ix_correlation_columns_run_moment_n_rows"


def upgrade() -> None:
    op.create_index(op.f(_MOMENT), "correlation_columns", ["run", "moment", "n_rows"])
    op.drop_index(op.f(_RUN), "correlation_columns")


def downgrade() -> None:
    op.create_index(op.f(_RUN), "correlation_columns", ["run"])
    op.drop_index(op.f(_MOMENT), "correlation_columns")
