"""How many jobs there are and how long they took, counted by the database."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Double, case, cast, extract, func, select
from sqlalchemy.orm import Session

from service.db.tables import Job

_SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class JobCount:
    """Jobs of one kind in one state."""

    kind: str
    status: str
    jobs: int
    finished: int
    """Those that both began and ended."""
    seconds: float
    """From the last beginning to the end, of all of them together; 0 of one that a clock put back let end before."""


def job_counts(session: Session) -> list[JobCount]:
    """By kind and status, those that exist."""
    difference = _seconds_taken(session)
    took = case((difference < 0, 0.0), else_=difference)
    query = select(Job.kind, Job.status, func.count(), func.count(took), func.coalesce(func.sum(took), 0.0))
    rows = session.execute(query.group_by(Job.kind, Job.status).order_by(Job.kind, Job.status))
    return [JobCount(kind, status, jobs, finished, float(seconds)) for kind, status, jobs, finished, seconds in rows]


def oldest_queued_seconds(session: Session) -> float:
    """How long the first of the waiting jobs has waited; 0 where none does."""
    first = session.scalar(select(Job.created_at).where(Job.status == "queued").order_by(Job.created_at).limit(1))
    return 0.0 if first is None else max(0.0, (datetime.now(UTC) - first).total_seconds())


def _seconds_taken(session: Session) -> ColumnElement[float]:
    if session.get_bind().dialect.name == "sqlite":
        return (func.julianday(Job.finished_at) - func.julianday(Job.started_at)) * _SECONDS_A_DAY
    return cast(extract("epoch", Job.finished_at - Job.started_at), Double)
