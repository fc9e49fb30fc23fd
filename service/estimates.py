"""Stored correlations as the estimates they were when they were computed."""

from collections.abc import Sequence

from evaluation.statistics.estimate import Estimate
from service.db.records import CorrelationRecord

_FIELDS = set(Estimate.model_fields)


def as_estimates(correlations: Sequence[CorrelationRecord]) -> list[Estimate]:
    """What verdicts, tables and figures take."""
    return [Estimate.model_validate(row.model_dump(include=_FIELDS)) for row in correlations]
