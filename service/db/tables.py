"""The tables. A job is one recorded execution of a recipe; what a stress test found hangs below its job.

Measured rows are keyed by their run and their line number in the run's files, so that storing a run is a plain
bulk insert and storing it twice cannot duplicate anything.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    String,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from service.db.columns import SampledText, UtcDateTime

JOB_STATUSES = ("queued", "running", "succeeded", "failed", "cancelled", "lost")

_Json = JSON(none_as_null=True)


def _job_key() -> ForeignKey:
    return ForeignKey("jobs.id", ondelete="CASCADE")


class Table(DeclarativeBase):
    """Declarative base; the naming convention lets migrations name what they alter on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - read once by the declarative base
        str: Text,
        int: BigInteger,
        float: Double,
        datetime: UtcDateTime,
        dict[str, Any]: _Json,
        list[str]: _Json,
        list[float]: _Json,
    }


class Job(Table):
    """One recorded execution of a recipe."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    """``job_...`` for training, ``run_...`` for what evaluates; also the name of its run directory."""
    kind: Mapped[str] = mapped_column(String(64))
    name: Mapped[str]
    status: Mapped[str] = mapped_column(String(16))
    recipe: Mapped[dict[str, Any]]
    recipe_digest: Mapped[str] = mapped_column(String(64))
    labels: Mapped[dict[str, Any]]
    idempotency_key: Mapped[str | None] = mapped_column(unique=True)
    """As it was sent, behind the id of the API key that sent it and a space where keys are needed."""
    executor: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(default=0)
    max_attempts: Mapped[int]

    lease_owner: Mapped[str | None]
    """The server or command that watches the job now."""
    lease_expires_at: Mapped[datetime | None]
    """When another server may take the job over."""
    process: Mapped[dict[str, Any] | None]
    """What the executor needs to find the process again."""
    cancel_requested_at: Mapped[datetime | None]
    memory_bytes: Mapped[int | None]
    """That each of its processes certainly needs."""

    events_seen: Mapped[int] = mapped_column(default=0)
    """Sequence number of the last event stored."""
    progress: Mapped[dict[str, Any] | None]
    """The latest progress event."""
    result: Mapped[dict[str, Any] | None]
    error_code: Mapped[str | None]
    error_detail: Mapped[str | None] = mapped_column(SampledText)
    code_version: Mapped[str]

    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(f"status IN ({', '.join(map(repr, JOB_STATUSES))})", name="status"),
        Index(None, "status", "created_at", "id"),
        Index(None, "kind", "created_at", "id"),
        Index(None, "created_at", "id"),
        Index(None, "recipe_digest"),
    )


class Worker(Table):
    """A server that carries out jobs, and when it last said so."""

    __tablename__ = "workers"

    owner: Mapped[str] = mapped_column(primary_key=True)
    """As in ``jobs.lease_owner``."""
    machine: Mapped[dict[str, Any]]
    seen_at: Mapped[datetime]


class JobEvent(Table):
    """A line of a run's ``events.jsonl``."""

    __tablename__ = "job_events"

    job: Mapped[str] = mapped_column(_job_key(), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    time: Mapped[datetime]
    type: Mapped[str] = mapped_column(String(32))
    data: Mapped[dict[str, Any]]


class JobMetric(Table):
    """One number of one step. A step repeated after a crash replaces what it said before."""

    __tablename__ = "job_metrics"

    job: Mapped[str] = mapped_column(_job_key(), primary_key=True)
    stage: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[float]


class ArtifactRow(Table):
    """Index of the artifact directory, which stays the truth about its files."""

    __tablename__ = "artifacts"

    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    digest: Mapped[str] = mapped_column(String(64))
    job: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), index=True)
    manifest: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class Alias(Table):
    """A movable name such as ``champion`` for one version of an artifact."""

    __tablename__ = "aliases"

    name: Mapped[str] = mapped_column(primary_key=True)
    alias: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]
    updated_at: Mapped[datetime]

    __table_args__ = (ForeignKeyConstraint(["name", "version"], ["artifacts.name", "artifacts.version"]),)


class StressTest(Table):
    """What a finished stress test measured, at a glance."""

    __tablename__ = "stress_tests"

    id: Mapped[str] = mapped_column(_job_key(), primary_key=True)
    policy: Mapped[str] = mapped_column(index=True)
    temperatures: Mapped[list[float]]
    n_prompts: Mapped[int]
    n_responses: Mapped[int]
    scorers: Mapped[list[str]]
    oracles: Mapped[list[str]]
    code_version: Mapped[str]
    created_at: Mapped[datetime]


class Prompt(Table):
    """A prompt of a run; ``content`` is a text or a list of messages."""

    __tablename__ = "prompts"

    run: Mapped[str] = mapped_column(_job_key(), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    prompt_id: Mapped[str]
    content: Mapped[Any] = mapped_column(_Json)
    task: Mapped[dict[str, Any] | None]

    __table_args__ = (Index(None, "run", "prompt_id", unique=True),)


class RunPrompts(Table):
    """Which prompts a run stands on, so that the history knows which runs share some; no row where nobody knows."""

    __tablename__ = "run_prompts"

    run: Mapped[str] = mapped_column(_job_key(), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    """Equal for equal sets."""
    marks: Mapped[str]
    """16 hex digits for each prompt, sorted, without anything between them."""

    __table_args__ = (Index(None, "digest", "run"),)


class Response(Table):
    """One sampled response with everything known about how it was sampled."""

    __tablename__ = "responses"

    run: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    prompt: Mapped[int]
    """``prompts.number``"""
    temperature: Mapped[float | None]
    replicate: Mapped[int]
    response: Mapped[str] = mapped_column(SampledText)
    tokens: Mapped[int | None]
    finish_reason: Mapped[str | None] = mapped_column(String(16))
    mean_logprob: Mapped[float | None]
    sampler: Mapped[dict[str, Any] | None]

    __table_args__ = (
        ForeignKeyConstraint(["run", "prompt"], ["prompts.run", "prompts.number"], ondelete="CASCADE"),
        Index(None, "run", "prompt", "temperature", "replicate", unique=True),
    )


class Score(Table):
    """What one scorer, control or oracle said about one response."""

    __tablename__ = "scores"

    run: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    response: Mapped[int]
    """``responses.number``"""
    scorer: Mapped[str]
    scorer_version: Mapped[int | None]
    role: Mapped[str] = mapped_column(String(16))
    score: Mapped[float | None]
    tokens: Mapped[int | None]
    truncated_tokens: Mapped[int | None]
    error_code: Mapped[str | None]
    error_detail: Mapped[str | None] = mapped_column(SampledText)

    __table_args__ = (
        ForeignKeyConstraint(["run", "response"], ["responses.run", "responses.number"], ondelete="CASCADE"),
        CheckConstraint("role IN ('scorer', 'control', 'oracle')", name="role"),
        Index(None, "run", "scorer", "number"),
        Index(None, "run", "response", "scorer", "role", "scorer_version", unique=True),
    )


class _Estimated:
    """A number with its interval, or the reason why there is none. Never NaN."""

    estimate: Mapped[float | None]
    lower: Mapped[float | None]
    upper: Mapped[float | None]
    standard_error: Mapped[float | None]
    n_prompts: Mapped[int]
    n_responses: Mapped[int]
    n_dropped: Mapped[int]
    n_total: Mapped[int | None]
    n_truncated: Mapped[int | None]
    n_constant_prompts: Mapped[int | None]
    method: Mapped[str]
    undefined_reason: Mapped[str | None]
    code_version: Mapped[str]
    created_at: Mapped[datetime]


class Correlation(_Estimated, Table):
    """How far one scorer agrees with one oracle at one temperature: what dashboards query."""

    __tablename__ = "correlations"

    run: Mapped[str] = mapped_column(_job_key(), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    policy: Mapped[str | None]
    scorer: Mapped[str]
    scorer_version: Mapped[int | None]
    oracle: Mapped[str]
    temperature: Mapped[float | None]
    """NULL: all temperatures pooled, or none recorded."""
    stratum: Mapped[str]
    statistic: Mapped[str]

    __table_args__ = (
        Index(None, "run", "statistic", "temperature"),
        Index(None, "policy", "statistic", "created_at"),
        # the history asks for one of each of the first four, and lists what there is to choose below the choices
        # before; else it asks for the newest, of all or of one thing or two
        Index(
            "ix_correlations_asked",
            *("statistic", "oracle", "stratum", "temperature"),
            *("created_at", "run", "number", "scorer"),
        ),
        Index(
            "ix_correlations_newest_of_statistic_and_scorer",
            *("statistic", "scorer", "created_at", "run", "number"),
        ),
        Index("ix_correlations_newest", "created_at", "run", "number"),
        Index("ix_correlations_newest_of_statistic", "statistic", "created_at", "run", "number"),
        Index("ix_correlations_newest_of_scorer", "scorer", "created_at", "run", "number"),
        Index(
            "ix_correlations_newest_of_version",
            *("scorer", "scorer_version", "created_at", "run", "number"),
        ),
        Index("ix_correlations_newest_of_policy", "policy", "created_at", "run", "number"),
    )


class WeakestAgreement(Table):
    """Where a version of a scorer agrees least with an oracle in one run: by this ``db/trust`` compares runs.

    It follows from the run's correlations, of which it names one in a hundred, and is stored with them.
    """

    __tablename__ = "weakest_agreements"

    run: Mapped[str] = mapped_column(_job_key(), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    """``correlations.number``"""
    scorer: Mapped[str]
    scorer_version: Mapped[int | None]
    oracle: Mapped[str]
    lower: Mapped[float | None]
    """NULL where no temperature has an interval."""

    __table_args__ = (Index(None, "scorer", "run"),)


class CorrelationColumns(Table):
    """Correlations of one statistic, run and moment once more, by the column: what groups of them are made of.

    It follows from the rows, in the order of their numbers, and is stored with them: ``db/correlation_columns``, which
    says how columns are written.
    """

    __tablename__ = "correlation_columns"

    statistic: Mapped[str] = mapped_column(primary_key=True)
    run: Mapped[str] = mapped_column(_job_key(), primary_key=True)
    first: Mapped[int] = mapped_column(primary_key=True)
    """The least of their numbers."""
    moment: Mapped[int]
    """``created_at`` in microseconds since 1970, which are read in no time."""
    n_rows: Mapped[int]

    # in the order in which they are asked for: SQLite walks over all that is before what it reads
    scorer: Mapped[bytes]
    oracle: Mapped[bytes]
    temperature: Mapped[bytes]
    stratum: Mapped[bytes]
    scorer_version: Mapped[bytes]
    policy: Mapped[bytes]
    number: Mapped[bytes]
    estimate: Mapped[bytes]
    n_prompts: Mapped[bytes]
    n_responses: Mapped[bytes]
    n_dropped: Mapped[bytes]
    standard_error: Mapped[bytes]
    lower: Mapped[bytes]
    upper: Mapped[bytes]
    n_total: Mapped[bytes]
    n_truncated: Mapped[bytes]
    n_constant_prompts: Mapped[bytes]
    method: Mapped[bytes]
    undefined_reason: Mapped[bytes]
    code_version: Mapped[bytes]

    __table_args__ = (Index(None, "run", "moment", "n_rows"),)


class Curve(_Estimated, Table):
    """A point of a curve, such as the oracle's value of the best of N by a scorer."""

    __tablename__ = "curves"

    run: Mapped[str] = mapped_column(_job_key(), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    curve: Mapped[str]
    scorer: Mapped[str]
    scorer_version: Mapped[int | None]
    oracle: Mapped[str]
    temperature: Mapped[float | None]
    stratum: Mapped[str]
    x: Mapped[float]

    __table_args__ = (Index(None, "run", "curve"),)


class Comparison(_Estimated, Table):
    """A paired difference of one statistic between two runs or two scorers, with its verdict."""

    __tablename__ = "comparisons"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    run_a: Mapped[str] = mapped_column(_job_key(), index=True)
    run_b: Mapped[str] = mapped_column(_job_key(), index=True)
    scorer_a: Mapped[str]
    scorer_b: Mapped[str]
    oracle: Mapped[str]
    temperature: Mapped[float | None]
    stratum: Mapped[str]
    statistic: Mapped[str]
    verdict: Mapped[str] = mapped_column(String(16))

    __table_args__ = (CheckConstraint("verdict IN ('better', 'worse', 'not resolved')", name="verdict"),)


class ApiKey(Table):
    """A key's digest and what it may do; the key itself is shown once and never stored."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(String(32), unique=True)
    """The key's visible beginning, by which it is found and told apart."""
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]]
    requests_per_minute: Mapped[int | None]
    pairs_per_minute: Mapped[int | None]
    tokens_per_minute: Mapped[int | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class BrowserSession(Table):
    """A browser that somebody logged in with a key: the digest of its cookie."""

    __tablename__ = "browser_sessions"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id"))
    expires_at: Mapped[datetime]


class ServedScore(Table):
    """What one scorer said of one pair that somebody sent to be scored, of the share that the operator keeps."""

    __tablename__ = "served_scores"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    time: Mapped[datetime] = mapped_column(index=True)
    scorer: Mapped[str]
    """``NAME@VERSION:OUTPUT``"""
    prompt: Mapped[Any | None] = mapped_column(_Json)
    """A text or a list of messages; NULL unless texts are kept."""
    response: Mapped[str | None] = mapped_column(SampledText)
    """NULL unless texts are kept."""
    prompt_digest: Mapped[str | None] = mapped_column(String(64))
    """NULL where nothing of a pair is kept."""
    response_digest: Mapped[str | None] = mapped_column(String(64))
    """Likewise."""
    response_characters: Mapped[int]
    score: Mapped[float]
    tokens: Mapped[int]
    truncated_tokens: Mapped[int]

    __table_args__ = (Index(None, "scorer", "time"),)


class MonitoredScorer(Table):
    """What the sample of one scorer says now, and what it is compared with. Numbers only, no text."""

    __tablename__ = "monitored_scorers"

    scorer: Mapped[str] = mapped_column(primary_key=True)
    """``NAME@VERSION:OUTPUT``"""
    reference: Mapped[dict[str, Any] | None]
    """Validation data or the first window, by column; NULL until there is either."""
    state: Mapped[dict[str, Any] | None]
    updated_at: Mapped[datetime]


class DriftRow(Table):
    """How far a scorer's latest scores were from its reference, once an hour. Numbers only, no text."""

    __tablename__ = "drifts"

    hour: Mapped[datetime] = mapped_column(primary_key=True)
    """In which it was measured; the first look of an hour stays."""
    scorer: Mapped[str] = mapped_column(primary_key=True)
    """``NAME@VERSION:OUTPUT``"""
    measure: Mapped[str] = mapped_column(String(16), primary_key=True)
    created_at: Mapped[datetime]
    estimate: Mapped[float | None]
    lower: Mapped[float | None]
    upper: Mapped[float | None]
    n_responses: Mapped[int]
    n_prompts: Mapped[int]
    n_reference: Mapped[int]
    """Responses that they were compared with."""
    reference_kind: Mapped[str] = mapped_column(String(16))
    undefined_reason: Mapped[str | None]

    __table_args__ = (Index(None, "scorer", "hour"),)


class Alert(Table):
    """A bound that was crossed, or audits that stopped. One of each key is open at a time."""

    __tablename__ = "alerts"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    open_key: Mapped[str | None] = mapped_column(unique=True)
    """What it is about while it is open; NULL once it is cleared."""
    kind: Mapped[str] = mapped_column(String(16))
    scorer: Mapped[str]
    subject: Mapped[str]
    """The oracle whose agreement fell, the measure that drifted, or ``audits``."""
    lower: Mapped[float]
    threshold: Mapped[float]
    detail: Mapped[str]
    raised_at: Mapped[datetime] = mapped_column(index=True)
    acknowledged_at: Mapped[datetime | None]
    cleared_at: Mapped[datetime | None]
    told: Mapped[str | None] = mapped_column(String(16))
    """What the webhook was told last."""
    tell_after: Mapped[datetime]
    """Before this time nobody tries to tell it: somebody does, or waits after a failure."""
    attempts: Mapped[int] = mapped_column(default=0)

    __table_args__ = (CheckConstraint("kind IN ('trust', 'drift', 'stale')", name="kind"),)
