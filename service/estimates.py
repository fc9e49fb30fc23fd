"""Stored correlations as the estimates they were when they were computed."""

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from evaluation.statistics.estimate import Estimate
from service.database import open_database
from service.db import queries
from service.db.records import CorrelationRecord
from service.db.session import sessions
from service.jobs.kinds import EVALUATION_KINDS
from service.settings import Settings
from trainer.errors import InvalidInput

Shape = TypeVar("Shape", bound=BaseModel)

_FIELDS = set(Estimate.model_fields)


def as_estimates(correlations: Sequence[CorrelationRecord]) -> list[Estimate]:
    """What verdicts, tables and figures take."""
    return [Estimate.model_validate(row.model_dump(include=_FIELDS)) for row in correlations]


def estimates_in(summary: dict[str, Any]) -> list[Estimate]:
    """The estimates of what a recipe returned. Raises KeyError, TypeError or ValueError for anything else."""
    return [from_row(Estimate, row) for row in summary["estimates"]]


def from_row(model: type[Shape], row: dict[str, Any]) -> Shape:
    """A line of a run's file: fields that are newer than it are left to their defaults."""
    fields = model.model_fields
    required = {name for name, field in fields.items() if field.is_required()}
    return model(**{name: row[name] for name in fields if name in row or name in required})


def read_run(settings: Settings, run_id: str) -> tuple[dict[str, Any], list[Estimate]]:
    """Summary and estimates of a finished stress test or audit, as ``evaluation.report`` takes them.

    Raises NotFound, or InvalidInput before it has measured anything.
    """
    with open_database(settings) as engine, sessions(engine)() as session:
        job = queries.get_job(session, run_id, EVALUATION_KINDS)
        rows = queries.correlations(session, queries.CorrelationFilter(runs=[run_id]))
    if not rows:
        raise InvalidInput(f"{run_id} has measured nothing yet: it is {job.status}")
    return {"name": job.name, **(job.result or {})}, as_estimates(rows)
