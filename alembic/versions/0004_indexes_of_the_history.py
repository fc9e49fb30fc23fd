"""Indexes that answer the history over a million correlations without reading them."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_correlations_asked": [
        *("statistic", "oracle", "stratum", "temperature"),
        *("created_at", "run", "number", "scorer", "estimate"),
    ],
    "ix_correlations_newest": ["created_at", "run", "number"],
    "ix_correlations_newest_of_statistic": ["statistic", "created_at", "run", "number"],
    "ix_correlations_newest_of_scorer": ["scorer", "created_at", "run", "number"],
    "ix_correlations_newest_of_policy": ["policy", "created_at", "run", "number"],
}


def upgrade() -> None:
    for name, columns in INDEXES.items():
        op.create_index(name, "correlations", columns)


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, "correlations")
