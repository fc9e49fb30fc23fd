"""What is known about jobs and what they measured: plain functions of a session, for routes, commands and pages."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, Tuple, func, literal, or_, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.db.columns import UtcDateTime
from service.db.downsample import downsample
from service.db.pages import DEFAULT_LIMIT, after_key, check_limit, decode_cursor, page_of
from service.db.records import (
    ArtifactReference,
    CorrelationRecord,
    EventRecord,
    JobError,
    JobRecord,
    JobStatus,
    MetricSeries,
    Page,
    StressTestRecord,
    progress_of,
)
from service.db.tables import ArtifactRow, Correlation, Job, JobEvent, JobMetric, StressTest
from service.db.waiting import Waiting
from trainer.errors import InvalidInput, NotFound


@dataclass(frozen=True)
class JobFilter:
    """Which jobs to list; what is None does not restrict."""

    kinds: Iterable[str] | None = None
    status: JobStatus | None = None
    labels: Mapping[str, str] | None = None
    name: str | None = None
    part_of_name: str | None = None
    """Any part, in capitals or not."""
    created_after: datetime | None = None
    created_before: datetime | None = None


def job_conditions(where: JobFilter) -> list[ColumnElement[bool]]:
    """What a filter asks of the rows of jobs."""
    found: list[ColumnElement[bool]] = []
    if where.kinds is not None:
        found.append(Job.kind.in_(list(where.kinds)))
    if where.status is not None:
        found.append(Job.status == where.status)
    if where.name is not None:
        found.append(Job.name == where.name)
    if where.part_of_name is not None:
        found.append(Job.name.icontains(where.part_of_name, autoescape=True))
    found += [Job.labels[key].as_string() == value for key, value in (where.labels or {}).items()]
    if where.created_after is not None:
        found.append(Job.created_at >= where.created_after)
    if where.created_before is not None:
        found.append(Job.created_at < where.created_before)
    return found


def list_jobs(
    session: Session, where: JobFilter | None = None, *, cursor: str | None = None, limit: int = DEFAULT_LIMIT
) -> Page[JobRecord]:
    """Jobs, newest first. Raises InvalidInput for a bad cursor or limit."""
    query = _filtered(select(Job), where or JobFilter(), cursor, limit)
    rows = session.scalars(query).all()
    facts = _Facts(session, rows)
    return page_of(rows, limit, _key, lambda job: JobRecord(**facts.of(job)))


def get_job(session: Session, job_id: str, kinds: Iterable[str] | None = None) -> JobRecord:
    """One job. Raises NotFound, also for a job of another kind."""
    job = find_job(session, job_id, kinds)
    return JobRecord(**_Facts(session, [job]).of(job))


def find_job(session: Session, job_id: str, kinds: Iterable[str] | None = None) -> Job:
    """The row of a job. Raises NotFound, also for a job of another kind."""
    job = session.get(Job, job_id)
    if job is None or (kinds is not None and job.kind not in set(kinds)):
        raise NotFound(f"no job {job_id}; `assay jobs list` shows what exists")
    return job


def names_under_way(session: Session) -> set[str]:
    """Names of the jobs that wait or run: what they publish is called so."""
    return set(session.scalars(select(Job.name).where(Job.status.in_(["queued", "running"]))))


def list_stress_tests(
    session: Session,
    where: JobFilter | None = None,
    *,
    policy: str | None = None,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Page[StressTestRecord]:
    """Stress tests in any state, newest first; ``policy`` restricts to finished ones of that policy."""
    query = select(Job, StressTest).outerjoin(StressTest, StressTest.id == Job.id).where(Job.kind == "stress_test")
    if policy is not None:
        query = query.where(StressTest.policy == policy)
    rows = [(job, found) for job, found in session.execute(_filtered(query, where or JobFilter(), cursor, limit))]
    facts = _Facts(session, [job for job, _ in rows])
    return page_of(rows, limit, lambda row: _key(row[0]), lambda row: _stress_test(facts, *row))


def get_stress_test(session: Session, run: str) -> StressTestRecord:
    """One stress test. Raises NotFound."""
    job = find_job(session, run, ["stress_test"])
    return _stress_test(_Facts(session, [job]), job, session.get(StressTest, run))


def list_events(session: Session, job_id: str, *, after: int = 0, limit: int = DEFAULT_LIMIT) -> list[EventRecord]:
    """Events of a job with a sequence number above ``after``, oldest first."""
    query = select(JobEvent).where(JobEvent.job == job_id, JobEvent.sequence > after)
    rows = session.scalars(query.order_by(JobEvent.sequence).limit(limit))
    return [EventRecord.model_validate(row) for row in rows]


def list_metrics(
    session: Session, job_id: str, *, names: Sequence[str] | None = None, max_points: int = 500
) -> list[MetricSeries]:
    """Every metric of a job over its steps, each thinned to at most ``max_points`` of its own points."""
    query = select(JobMetric.stage, JobMetric.name, JobMetric.step, JobMetric.value).where(JobMetric.job == job_id)
    if names:
        query = query.where(JobMetric.name.in_(names))
    series: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for stage, name, step, value in session.execute(query.order_by(JobMetric.stage, JobMetric.name, JobMetric.step)):
        series.setdefault((stage, name), []).append((step, value))
    return [
        MetricSeries(stage=stage, name=name, points=downsample(points, max_points))
        for (stage, name), points in series.items()
    ]


Temperature = float | Literal["pooled"]


@dataclass(frozen=True)
class CorrelationFilter:
    """Which correlations to return; empty does not restrict. Temperature ``pooled`` is all temperatures together."""

    runs: Sequence[str] = ()
    temperatures: Sequence[Temperature] = ()
    scorers: Sequence[str] = ()
    oracles: Sequence[str] = ()
    statistics: Sequence[str] = ()
    strata: Sequence[str] = ()
    statistic_prefixes: Sequence[str] = ()
    """Beginnings of statistics that fit beside ``statistics``, such as a lead over any control."""


def correlations(session: Session, where: CorrelationFilter) -> list[CorrelationRecord]:
    """Every correlation that fits, in the order of runs and of their files."""
    query = _restricted(select(Correlation), where).order_by(Correlation.run, Correlation.number)
    return [CorrelationRecord.model_validate(row) for row in session.scalars(query)]


def correlation_page(
    session: Session, run: str, where: CorrelationFilter, *, cursor: str | None = None, limit: int = DEFAULT_LIMIT
) -> Page[CorrelationRecord]:
    """Correlations of one run, a page at a time. Raises InvalidInput for a bad cursor or limit."""
    query = _restricted(select(Correlation), where).where(Correlation.run == run)
    rows = session.scalars(after_key(query, Correlation.number, cursor, limit)).all()
    return page_of(rows, limit, lambda row: row.number, CorrelationRecord.model_validate)


def _restricted(query: "Select[*tuple[Any, ...]]", where: CorrelationFilter) -> "Select[*tuple[Any, ...]]":
    columns: list[tuple[InstrumentedAttribute[str], Sequence[str]]] = [
        (Correlation.run, where.runs),
        (Correlation.scorer, where.scorers),
        (Correlation.oracle, where.oracles),
        (Correlation.stratum, where.strata),
    ]
    for column, values in columns:
        if values:
            query = query.where(column.in_(values))
    if where.statistics or where.statistic_prefixes:
        beginnings = [Correlation.statistic.startswith(each, autoescape=True) for each in where.statistic_prefixes]
        query = query.where(or_(Correlation.statistic.in_(where.statistics), *beginnings))
    if where.temperatures:
        numbers = [value for value in where.temperatures if value != "pooled"]
        choices: list[ColumnElement[bool]] = [Correlation.temperature.in_(numbers)]
        if "pooled" in where.temperatures:
            choices.append(Correlation.temperature.is_(None))
        query = query.where(or_(*choices))
    return query


def _filtered(
    query: "Select[*tuple[Any, ...]]", where: JobFilter, cursor: str | None, limit: int
) -> "Select[*tuple[Any, ...]]":
    """``query`` over jobs with the filters, newest first, one row more than asked for."""
    query = query.where(*job_conditions(where))
    if cursor is not None:
        query = query.where(tuple_(Job.created_at, Job.id) < _place(decode_cursor(cursor, list)))
    return query.order_by(Job.created_at.desc(), Job.id.desc()).limit(check_limit(limit) + 1)


def _key(job: Job) -> list[str]:
    return [job.created_at.isoformat(), job.id]


def _place(key: list[str]) -> Tuple:
    """The point in the order of jobs that a cursor names."""
    try:
        created_at, id_ = key
        instant = datetime.fromisoformat(created_at).astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput("cursor: not one this list gave; start without it") from error
    return tuple_(literal(instant, UtcDateTime), literal(str(id_)))


class _Facts:
    """What several jobs need from other rows, fetched for all of them at once."""

    def __init__(self, session: Session, jobs: Sequence[Job]) -> None:
        self._artifacts: dict[str, list[ArtifactReference]] = {}
        rows = session.scalars(
            select(ArtifactRow)
            .where(ArtifactRow.job.in_([job.id for job in jobs]))
            .order_by(ArtifactRow.name, ArtifactRow.version)
        )
        for row in rows:
            self._artifacts.setdefault(str(row.job), []).append(ArtifactReference.model_validate(row))
        queued = [job.id for job in jobs if job.status == "queued"]
        ahead = func.row_number().over(order_by=[Job.created_at, Job.id]).label("position")
        waiting = select(Job.id, ahead).where(Job.status == "queued").subquery()
        self._positions: dict[str, int] = (
            dict(session.execute(select(waiting).where(waiting.c.id.in_(queued))).all()) if queued else {}
        )
        self._waiting = Waiting(session) if queued else None

    def of(self, job: Job) -> dict[str, Any]:
        """The fields of a JobRecord."""
        return {
            "id": job.id,
            "kind": job.kind,
            "name": job.name,
            "status": job.status,
            "queue_position": self._positions.get(job.id),
            "waiting_reason": self._waiting.reason(job) if self._waiting and job.status == "queued" else None,
            "cancel_requested": job.cancel_requested_at is not None,
            "progress": progress_of(job.progress, job.status),
            "attempts": job.attempts,
            "max_attempts": job.max_attempts,
            "error": JobError.stored(job.error_code, job.error_detail),
            "result": job.result,
            "artifacts": self._artifacts.get(job.id, []),
            "labels": job.labels,
            "recipe": job.recipe,
            "recipe_digest": job.recipe_digest,
            "code_version": job.code_version,
            "created_at": job.created_at,
            "started_at": job.started_at,
            "finished_at": job.finished_at,
        }


def _stress_test(facts: _Facts, job: Job, found: StressTest | None) -> StressTestRecord:
    measured = ("policy", "temperatures", "n_prompts", "n_responses", "scorers", "oracles")
    return StressTestRecord(**facts.of(job), **{name: getattr(found, name, None) for name in measured})
