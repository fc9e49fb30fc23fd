"""A run as the figures take it: from the database, from a file that an audit wrote, or from a run directory."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel
from sqlalchemy.orm import Session

from evaluation.figures.evidence import Evidence, Responses, Series
from evaluation.statistics.degeneration import DEGENERATE, measure_text
from evaluation.statistics.estimate import Comparison, CurvePoint
from service.database import open_database
from service.db import queries
from service.db.curves import curve_points, run_comparisons
from service.db.samples import Thinned, thinned_scores
from service.db.session import sessions
from service.estimates import Shape, as_estimates, estimates_in, from_row
from service.jobs.kinds import EVALUATION_KINDS, TRAINING_KINDS
from service.settings import Settings
from trainer.data.text import as_text
from trainer.errors import InvalidInput
from trainer.reporting import read_events

RESPONSES_PER_TEMPERATURE = 300
"""In scatter plots and distributions: as many as show a cloud's shape."""

MOST_POINTS = 600
"""Of a metric's course."""


def read_evidence(settings: Settings, run_id: str) -> tuple[dict[str, Any], Evidence]:
    """Summary and evidence of a finished run of any kind. Raises NotFound, or InvalidInput before it has any."""
    with open_database(settings) as engine, sessions(engine)() as session:
        return stored_evidence(session, run_id)


def stored_evidence(session: Session, run_id: str) -> tuple[dict[str, Any], Evidence]:
    """As ``read_evidence``, in a session that is open."""
    job = queries.get_job(session, run_id, (*EVALUATION_KINDS, *TRAINING_KINDS))
    evidence = training_of(session, run_id) if job.kind in TRAINING_KINDS else evidence_of(session, run_id)
    if not (evidence.estimates or evidence.metrics):
        raise InvalidInput(f"{run_id} has measured nothing yet: it is {job.status}")
    return {"name": job.name, "kind": job.kind, **(job.result or {})}, evidence


def evidence_of(session: Session, run_id: str) -> Evidence:
    """Everything that an evaluation found."""
    found = queries.correlations(session, queries.CorrelationFilter(runs=[run_id]))
    return Evidence(
        estimates=as_estimates(found),
        points=points_of(session, run_id),
        comparisons=comparisons_of(session, run_id),
        responses=sampled_responses(session, run_id),
    )


def points_of(session: Session, run_id: str, curves: Sequence[str] = ()) -> list[CurvePoint]:
    """The points of a run's curves, or of those named."""
    return [_fields(CurvePoint, row) for row in curve_points(session, run_id, curves)]


def comparisons_of(session: Session, run_id: str) -> list[Comparison]:
    """The differences between a run's scorers."""
    return [_fields(Comparison, row) for row in run_comparisons(session, run_id)]


def sampled_responses(session: Session, run_id: str) -> Responses | None:
    """As many of a run's responses as figures show."""
    return responses_of(thinned_scores(session, run_id, RESPONSES_PER_TEMPERATURE))


def training_of(session: Session, run_id: str) -> Evidence:
    """The metrics of a training run."""
    found = queries.list_metrics(session, run_id, max_points=MOST_POINTS)
    return Evidence(metrics=[Series(each.stage, each.name, each.points) for each in found])


def read_directory(directory: Path) -> tuple[dict[str, Any], Evidence]:
    """Name and metrics of a training run's directory. Raises InvalidInput where it has none.

    A resumed run does the steps since its last checkpoint again: the last time counts.
    """
    points: dict[tuple[str, str], dict[int, float]] = {}
    for event in read_events(directory):
        if event["type"] == "metrics":
            for name, value in event["values"].items():
                points.setdefault((event["stage"], name), {})[event["step"]] = value
    if not points:
        raise InvalidInput(f"{directory} has no metrics in its events.jsonl; is it a training run's directory?")
    metrics = [Series(stage, name, sorted(course.items())) for (stage, name), course in points.items()]
    return {"name": directory.name, "kind": "training"}, Evidence(metrics=metrics)


def evidence_in(summary: dict[str, Any]) -> Evidence:
    """What a recipe returned. Raises KeyError, TypeError or ValueError for anything else."""
    return Evidence(
        estimates=estimates_in(summary),
        points=[from_row(CurvePoint, row) for row in summary.get("curves", [])],
        comparisons=[from_row(Comparison, row) for row in summary.get("comparisons", [])],
    )


def responses_of(thinned: Thinned) -> Responses | None:
    """The sampled responses as columns; None where a run has none."""
    n_rows = len(thinned.responses)
    if not n_rows:
        return None
    versions = Counter((name, role) for name, _, role in {(row[1], row[2], row[3]) for row in thinned.scores})
    columns: dict[str, dict[str, np.ndarray[Any, np.dtype[np.float64]]]] = {"oracle": {}, "scorer": {}}
    for place, name, version, role, score in thinned.scores:
        label = name if versions[name, role] == 1 else f"{name}@{version}"
        columns[role].setdefault(label, np.full(n_rows, np.nan))[place] = score
    measured = [measure_text(as_text(each.prompt), each.response)[DEGENERATE] for each in thinned.responses]
    temperatures = [np.nan if each.temperature is None else each.temperature for each in thinned.responses]
    return Responses(
        temperature=np.array(temperatures, dtype=np.float64),
        degenerate=np.array([each == 1 for each in measured], dtype=bool),
        scores=columns["scorer"],
        judgements=columns["oracle"],
        n_total=thinned.n_total,
    )


def _fields(model: type[Shape], record: BaseModel) -> Shape:
    return model.model_validate(record.model_dump(include=set(model.model_fields)))
