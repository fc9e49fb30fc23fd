"""Deleting what hangs below a job in pieces, so that no writer waits long for the others."""

from sqlalchemy import Delete, delete, func, select
from sqlalchemy.orm import Session

from service.db.tables import (
    Comparison,
    Correlation,
    CorrelationColumns,
    Curve,
    JobEvent,
    JobMetric,
    Prompt,
    Response,
    RunPrompts,
    Score,
    StressTest,
    WeakestAgreement,
)

ROWS_AT_ONCE = 5_000
"""That one transaction stores or deletes: some tenths of a second, for which others wait with what they write."""


def next_deletion(session: Session, job_id: str, *, reported: bool = False) -> Delete | None:
    """What deletes the next piece of what a run sampled and how it was scored; None where nothing is left of it.

    Of what was ``reported`` too, if so asked: events and metrics, one series at a time. The last event stays with the
    job: those of one that is resumed are numbered on from there, or they would pass for ones already stored.
    """
    for table in (Score, Response, Prompt):
        first = session.scalar(select(func.min(table.number)).where(table.run == job_id))
        if first is not None:
            return delete(table).where(table.run == job_id, table.number < first + ROWS_AT_ONCE)
    if not reported:
        return None
    first, last = session.execute(
        select(func.min(JobEvent.sequence), func.max(JobEvent.sequence)).where(JobEvent.job == job_id)
    ).one()
    if first != last:
        return delete(JobEvent).where(JobEvent.job == job_id, JobEvent.sequence < min(first + ROWS_AT_ONCE, last))
    series = session.execute(select(JobMetric.stage, JobMetric.name).where(JobMetric.job == job_id).limit(1)).first()
    if series is not None:
        return delete(JobMetric).where(
            JobMetric.job == job_id, JobMetric.stage == series.stage, JobMetric.name == series.name
        )
    return None


def delete_conclusions(session: Session, job_id: str) -> None:
    """Delete at once what followed from a run's responses and scores: few rows, seen whole or not at all."""
    follows = (WeakestAgreement.run, CorrelationColumns.run, RunPrompts.run)
    measured = (Correlation.run, Curve.run, Comparison.run_a, Comparison.run_b)
    for column in (*follows, *measured, StressTest.id):
        session.execute(delete(column.class_).where(column == job_id))
