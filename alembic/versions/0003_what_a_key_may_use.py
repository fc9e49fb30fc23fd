"""A key's visible beginning, when it ends, and how much it may ask for in a minute."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

QUOTAS = ("requests_per_minute", "pairs_per_minute", "tokens_per_minute")


def upgrade() -> None:
    op.execute("DELETE FROM api_keys")  # no version before this one could make or read any
    with op.batch_alter_table("api_keys") as table:
        table.add_column(sa.Column("prefix", sa.String(32), nullable=False))
        table.add_column(sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
        for quota in QUOTAS:
            table.add_column(sa.Column(quota, sa.BigInteger(), nullable=True))
        table.create_unique_constraint("uq_api_keys_prefix", ["prefix"])


def downgrade() -> None:
    with op.batch_alter_table("api_keys") as table:
        table.drop_constraint("uq_api_keys_prefix", type_="unique")
        for column in ("prefix", "expires_at", *QUOTAS):
            table.drop_column(column)
