"""Counts beside every estimate: all responses, truncated ones, prompts without variation."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = ("correlations", "curves", "comparisons")
COUNTS = ("n_total", "n_truncated", "n_constant_prompts")


def upgrade() -> None:
    for table in TABLES:
        for count in COUNTS:
            op.add_column(table, sa.Column(count, sa.BigInteger(), nullable=True))


def downgrade() -> None:
    for table in TABLES:
        for count in COUNTS:
            op.drop_column(table, count)
