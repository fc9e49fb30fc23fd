"""What the pages show, prepared so that the templates only lay it out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup
from sqlalchemy.orm import Session

from evaluation.figures import Drawing, draw
from evaluation.figures.figure import Figure
from evaluation.verdict import verdict
from service.client.addresses import path_for
from service.db import queries
from service.db.records import CorrelationRecord, JobRecord, RunRecord
from service.estimates import as_estimates
from service.imports import heavy_imports


@dataclass(frozen=True)
class Verdict:
    """What a run found: one sentence to remember, what qualifies it, and what else there is to say."""

    headline: str
    qualification: str
    """The first finding, which is about the same scorer; empty where there is none."""
    findings: list[str]
    """The others."""


def verdict_of(correlations: Sequence[CorrelationRecord], oracle: str | None) -> Verdict | None:
    """The verdict on a run by one oracle; None before anything was measured."""
    if not correlations:
        return None
    found = verdict(as_estimates(correlations), oracle)
    return Verdict(found.headline, found.findings[0] if found.findings else "", found.findings[1:])


@dataclass(frozen=True)
class Shown:
    """A drawing as a page lays it out."""

    name: str
    title: str
    caption: str
    json: Markup


def training_figures(session: Session, job_id: str) -> list[Shown]:
    """The course of a training run, a figure for each stage."""
    with heavy_imports():
        from service.evidence import training_of

    return [shown(each, each.name) for each in draw(training_of(session, job_id))]


def shown(drawing: Drawing, name: str) -> Shown:
    """Under ``name`` on its page, the figure as JSON that nothing in it can break out of a script element with."""
    return Shown(name, drawing.title, drawing.caption, htmlsafe_json_dumps(drawing.figure, dumps=Figure.to_json))


def api_path(job: JobRecord | RunRecord) -> str:
    """Where the API has this job, its events and what it measured."""
    return f"{path_for({'kind': job.kind})}/{job.id}"


def seconds_taken(job: JobRecord | RunRecord) -> float | None:
    """How long a job has run, or ran; None before it starts, and before it goes on."""
    if job.started_at is None or job.status == "queued":
        return None
    return ((job.finished_at or datetime.now(UTC)) - job.started_at).total_seconds()


def events_seen(session: Session, jobs: Sequence[JobRecord]) -> dict[str, int]:
    """The last event the page already tells, by job: the live stream goes on after it."""
    return {job.id: queries.find_job(session, job.id).events_seen for job in jobs}
