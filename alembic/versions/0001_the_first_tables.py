"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_keys_digest")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("recipe", sa.JSON(), nullable=False),
        sa.Column("recipe_digest", sa.String(length=64), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("executor", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("max_attempts", sa.BigInteger(), nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("process", sa.JSON(), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("events_seen", sa.BigInteger(), nullable=False),
        sa.Column("progress", sa.JSON(), nullable=True),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'lost')", name=op.f("ck_jobs_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_jobs_idempotency_key")),
    )
    op.create_index(op.f("ix_jobs_created_at_id"), "jobs", ["created_at", "id"])
    op.create_index(op.f("ix_jobs_kind_created_at_id"), "jobs", ["kind", "created_at", "id"])
    op.create_index(op.f("ix_jobs_recipe_digest"), "jobs", ["recipe_digest"])
    op.create_index(op.f("ix_jobs_status_created_at_id"), "jobs", ["status", "created_at", "id"])
    op.create_table(
        "artifacts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("job", sa.String(length=64), nullable=True),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_artifacts_job_jobs"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("name", "version", name=op.f("pk_artifacts")),
    )
    op.create_index(op.f("ix_artifacts_job"), "artifacts", ["job"])
    op.create_table(
        "comparisons",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("run_a", sa.String(length=64), nullable=False),
        sa.Column("run_b", sa.String(length=64), nullable=False),
        sa.Column("scorer_a", sa.Text(), nullable=False),
        sa.Column("scorer_b", sa.Text(), nullable=False),
        sa.Column("oracle", sa.Text(), nullable=False),
        sa.Column("temperature", sa.Double(), nullable=True),
        sa.Column("stratum", sa.Text(), nullable=False),
        sa.Column("statistic", sa.Text(), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("estimate", sa.Double(), nullable=True),
        sa.Column("lower", sa.Double(), nullable=True),
        sa.Column("upper", sa.Double(), nullable=True),
        sa.Column("standard_error", sa.Double(), nullable=True),
        sa.Column("n_prompts", sa.BigInteger(), nullable=False),
        sa.Column("n_responses", sa.BigInteger(), nullable=False),
        sa.Column("n_dropped", sa.BigInteger(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("undefined_reason", sa.Text(), nullable=True),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("verdict IN ('better', 'worse', 'not resolved')", name=op.f("ck_comparisons_verdict")),
        sa.ForeignKeyConstraint(["run_a"], ["jobs.id"], name=op.f("fk_comparisons_run_a_jobs"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["run_b"], ["jobs.id"], name=op.f("fk_comparisons_run_b_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comparisons")),
    )
    op.create_index(op.f("ix_comparisons_run_a"), "comparisons", ["run_a"])
    op.create_index(op.f("ix_comparisons_run_b"), "comparisons", ["run_b"])
    op.create_table(
        "correlations",
        sa.Column("run", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=True),
        sa.Column("scorer", sa.Text(), nullable=False),
        sa.Column("scorer_version", sa.BigInteger(), nullable=True),
        sa.Column("oracle", sa.Text(), nullable=False),
        sa.Column("temperature", sa.Double(), nullable=True),
        sa.Column("stratum", sa.Text(), nullable=False),
        sa.Column("statistic", sa.Text(), nullable=False),
        sa.Column("estimate", sa.Double(), nullable=True),
        sa.Column("lower", sa.Double(), nullable=True),
        sa.Column("upper", sa.Double(), nullable=True),
        sa.Column("standard_error", sa.Double(), nullable=True),
        sa.Column("n_prompts", sa.BigInteger(), nullable=False),
        sa.Column("n_responses", sa.BigInteger(), nullable=False),
        sa.Column("n_dropped", sa.BigInteger(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("undefined_reason", sa.Text(), nullable=True),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["jobs.id"], name=op.f("fk_correlations_run_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run", "number", name=op.f("pk_correlations")),
    )
    op.create_index(
        op.f("ix_correlations_policy_statistic_created_at"), "correlations", ["policy", "statistic", "created_at"]
    )
    op.create_index(
        op.f("ix_correlations_run_statistic_temperature"), "correlations", ["run", "statistic", "temperature"]
    )
    op.create_index(
        op.f("ix_correlations_scorer_statistic_created_at"), "correlations", ["scorer", "statistic", "created_at"]
    )
    op.create_table(
        "curves",
        sa.Column("run", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("curve", sa.Text(), nullable=False),
        sa.Column("scorer", sa.Text(), nullable=False),
        sa.Column("scorer_version", sa.BigInteger(), nullable=True),
        sa.Column("oracle", sa.Text(), nullable=False),
        sa.Column("temperature", sa.Double(), nullable=True),
        sa.Column("stratum", sa.Text(), nullable=False),
        sa.Column("x", sa.Double(), nullable=False),
        sa.Column("estimate", sa.Double(), nullable=True),
        sa.Column("lower", sa.Double(), nullable=True),
        sa.Column("upper", sa.Double(), nullable=True),
        sa.Column("standard_error", sa.Double(), nullable=True),
        sa.Column("n_prompts", sa.BigInteger(), nullable=False),
        sa.Column("n_responses", sa.BigInteger(), nullable=False),
        sa.Column("n_dropped", sa.BigInteger(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("undefined_reason", sa.Text(), nullable=True),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["jobs.id"], name=op.f("fk_curves_run_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run", "number", name=op.f("pk_curves")),
    )
    op.create_index(op.f("ix_curves_run_curve"), "curves", ["run", "curve"])
    op.create_table(
        "job_events",
        sa.Column("job", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_job_events_job_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "sequence", name=op.f("pk_job_events")),
    )
    op.create_table(
        "job_metrics",
        sa.Column("job", sa.String(length=64), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_job_metrics_job_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "stage", "name", "step", name=op.f("pk_job_metrics")),
    )
    op.create_table(
        "prompts",
        sa.Column("run", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("prompt_id", sa.Text(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("task", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["run"], ["jobs.id"], name=op.f("fk_prompts_run_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run", "number", name=op.f("pk_prompts")),
    )
    op.create_index(op.f("ix_prompts_run_prompt_id"), "prompts", ["run", "prompt_id"], unique=True)
    op.create_table(
        "stress_tests",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("temperatures", sa.JSON(), nullable=False),
        sa.Column("n_prompts", sa.BigInteger(), nullable=False),
        sa.Column("n_responses", sa.BigInteger(), nullable=False),
        sa.Column("scorers", sa.JSON(), nullable=False),
        sa.Column("oracles", sa.JSON(), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["id"], ["jobs.id"], name=op.f("fk_stress_tests_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stress_tests")),
    )
    op.create_index(op.f("ix_stress_tests_policy"), "stress_tests", ["policy"])
    op.create_table(
        "aliases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["name", "version"], ["artifacts.name", "artifacts.version"], name=op.f("fk_aliases_name_version_artifacts")
        ),
        sa.PrimaryKeyConstraint("name", "alias", name=op.f("pk_aliases")),
    )
    op.create_table(
        "responses",
        sa.Column("run", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("prompt", sa.BigInteger(), nullable=False),
        sa.Column("temperature", sa.Double(), nullable=True),
        sa.Column("replicate", sa.BigInteger(), nullable=False),
        sa.Column("response", sa.Text(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=True),
        sa.Column("finish_reason", sa.String(length=16), nullable=True),
        sa.Column("mean_logprob", sa.Double(), nullable=True),
        sa.Column("sampler", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run", "prompt"],
            ["prompts.run", "prompts.number"],
            name=op.f("fk_responses_run_prompt_prompts"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run", "number", name=op.f("pk_responses")),
    )
    op.create_index(
        op.f("ix_responses_run_prompt_temperature_replicate"),
        "responses",
        ["run", "prompt", "temperature", "replicate"],
        unique=True,
    )
    op.create_table(
        "scores",
        sa.Column("run", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("response", sa.BigInteger(), nullable=False),
        sa.Column("scorer", sa.Text(), nullable=False),
        sa.Column("scorer_version", sa.BigInteger(), nullable=True),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("tokens", sa.BigInteger(), nullable=True),
        sa.Column("truncated_tokens", sa.BigInteger(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.CheckConstraint("role IN ('scorer', 'control', 'oracle')", name=op.f("ck_scores_role")),
        sa.ForeignKeyConstraint(
            ["run", "response"],
            ["responses.run", "responses.number"],
            name=op.f("fk_scores_run_response_responses"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run", "number", name=op.f("pk_scores")),
    )
    op.create_index(
        op.f("ix_scores_run_response_scorer_role_scorer_version"),
        "scores",
        ["run", "response", "scorer", "role", "scorer_version"],
        unique=True,
    )
    op.create_index(op.f("ix_scores_run_scorer_number"), "scores", ["run", "scorer", "number"])


def downgrade() -> None:
    op.drop_table("scores")
    op.drop_table("responses")
    op.drop_table("aliases")
    op.drop_table("stress_tests")
    op.drop_table("prompts")
    op.drop_table("job_metrics")
    op.drop_table("job_events")
    op.drop_table("curves")
    op.drop_table("correlations")
    op.drop_table("comparisons")
    op.drop_table("artifacts")
    op.drop_table("jobs")
    op.drop_table("api_keys")
