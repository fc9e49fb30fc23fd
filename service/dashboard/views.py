"""What the pages show, prepared so that the templates only lay it out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup
from sqlalchemy.orm import Session

from evaluation.scorers.controls import is_control
from evaluation.verdict import verdict
from evaluation.wording import CORRELATIONS
from service.db import queries
from service.db.records import CorrelationRecord, JobRecord, StressTestRecord
from service.estimates import as_estimates
from service.imports import heavy_imports

if TYPE_CHECKING:
    from evaluation.figures import Drawing

WITHIN = "pearson_within"


@dataclass(frozen=True)
class Verdict:
    """What a run found: one sentence to remember, what qualifies it, and what else there is to say."""

    headline: str
    qualification: str
    """The first finding, which is about the same scorer; empty where there is none."""
    findings: list[str]
    """The others."""


@dataclass(frozen=True)
class RunRow:
    """A stress test in the table of runs."""

    run: StressTestRecord
    worst: CorrelationRecord | None
    """The leading scorer's correlation where it is weakest; None where no learned scorer has one."""


@dataclass(frozen=True)
class ScorerRow:
    """One scorer's numbers, a cell per temperature of the table; None where nothing was computed."""

    scorer: str
    version: int | None
    cells: list[CorrelationRecord | None]


@dataclass(frozen=True)
class ScorerTable:
    """Scorer x temperature for one statistic and oracle, the trivial controls apart."""

    temperatures: list[float | None]
    """None stands for all temperatures together and comes last."""
    learned: list[ScorerRow]
    controls: list[ScorerRow]


def run_rows(runs: Sequence[StressTestRecord], correlations: Sequence[CorrelationRecord]) -> list[RunRow]:
    """Each run with where its leading scorer is weakest."""
    by_run: dict[str, list[CorrelationRecord]] = {}
    for row in correlations:
        by_run.setdefault(row.run, []).append(row)
    return [RunRow(run, worst_of_the_surest(by_run.get(run.id, []))) for run in runs]


def worst_of_the_surest(correlations: Sequence[CorrelationRecord]) -> CorrelationRecord | None:
    """Of the learned scorer whose interval starts highest where it is weakest, that weakest correlation."""
    oracle = next(iter(oracles_of(correlations)), None)
    paths: dict[str, list[CorrelationRecord]] = {}
    for row in correlations:
        told = row.statistic == WITHIN and row.stratum == "all" and row.temperature is not None
        if told and row.oracle == oracle and not is_control(row.scorer) and row.lower is not None:
            paths.setdefault(row.scorer, []).append(row)
    weakest = [min(path, key=lambda row: row.lower or 0.0) for path in paths.values()]
    return max(weakest, key=lambda row: row.lower or 0.0, default=None)


def verdict_of(correlations: Sequence[CorrelationRecord], oracle: str | None) -> Verdict | None:
    """The verdict on a run by one oracle; None before anything was measured."""
    if not correlations:
        return None
    found = verdict(as_estimates(correlations), oracle)
    return Verdict(found.headline, found.findings[0] if found.findings else "", found.findings[1:])


def scorer_table(correlations: Sequence[CorrelationRecord], statistic: str, oracle: str) -> ScorerTable:
    """The table of one statistic against one oracle, scorers in the order of the run."""
    rows = [
        row
        for row in correlations
        if row.statistic == statistic and row.oracle == oracle and row.stratum == "all" and row.scorer != oracle
    ]
    known = {row.temperature for row in rows}
    temperatures: list[float | None] = [*sorted(t for t in known if t is not None), *([None] if None in known else [])]
    cells = {(row.scorer, row.temperature): row for row in rows}
    scorers = {row.scorer: row.scorer_version for row in rows}
    table = [
        ScorerRow(name, version, [cells.get((name, t)) for t in temperatures]) for name, version in scorers.items()
    ]
    return ScorerTable(
        temperatures,
        learned=[row for row in table if not is_control(row.scorer)],
        controls=[row for row in table if is_control(row.scorer)],
    )


@dataclass(frozen=True)
class Shown:
    """A drawing as a page lays it out."""

    name: str
    title: str
    caption: str
    json: Markup


def agreement_figure(correlations: Sequence[CorrelationRecord], statistic: str, oracle: str | None) -> Shown | None:
    """The figure of one statistic over temperature; None where there is nothing to draw."""
    rows = [row for row in correlations if row.statistic == statistic and row.oracle == oracle]
    if oracle is None or not any(row.temperature is not None and row.estimate is not None for row in rows):
        return None
    from evaluation.figures import Evidence, agreement_with  # plotly takes a second to import

    drawing = agreement_with(Evidence(as_estimates(rows)), statistic, oracle)
    return _shown(drawing, "agreement")


def run_figures(
    session: Session, run_id: str, correlations: Sequence[CorrelationRecord], oracle: str | None
) -> list[Shown]:
    """What else there is to see of a run by one oracle: the report's figures."""
    with heavy_imports():
        from evaluation.figures import agreement, draw
        from service.evidence import evidence_of

    evidence = evidence_of(session, run_id, correlations)
    above = {drawing.name for drawing in agreement(evidence)}
    drawings = [each for each in draw(evidence) if each.name not in above and each.oracle in {None, oracle}]
    return [_shown(each, each.name) for each in drawings]


def training_figures(session: Session, job_id: str) -> list[Shown]:
    """The course of a training run, a figure for each stage."""
    with heavy_imports():
        from evaluation.figures import draw
        from service.evidence import training_of

    return [_shown(each, each.name) for each in draw(training_of(session, job_id))]


def _shown(drawing: "Drawing", name: str) -> Shown:
    """With the figure as JSON that nothing in it can break out of a script element with."""
    return Shown(name, drawing.title, drawing.caption, htmlsafe_json_dumps(json.loads(drawing.figure.to_json())))


def measured_statistics(correlations: Sequence[CorrelationRecord]) -> list[str]:
    """Which statistics of agreement a run has, the most telling first."""
    found = {row.statistic for row in correlations}
    return [statistic for statistic in CORRELATIONS if statistic in found]


def oracles_of(correlations: Sequence[CorrelationRecord]) -> list[str]:
    """The oracles of a run in its order; verdicts go by the first unless another is asked for."""
    return list(dict.fromkeys(row.oracle for row in correlations if row.scorer != row.oracle))


def api_path(job: JobRecord) -> str:
    """Where the API has this job."""
    resource = {"stress_test": "stress-tests", "audit": "audits"}.get(job.kind, "training-jobs")
    return f"/v1/{resource}/{job.id}"


def seconds_taken(job: JobRecord) -> float | None:
    """How long a job has run, or ran; None before it started."""
    if job.started_at is None:
        return None
    return ((job.finished_at or datetime.now(UTC)) - job.started_at).total_seconds()


def events_seen(session: Session, jobs: Sequence[JobRecord]) -> dict[str, int]:
    """The last event the page already tells, by job: the live stream goes on after it."""
    return {job.id: queries.find_job(session, job.id).events_seen for job in jobs}
