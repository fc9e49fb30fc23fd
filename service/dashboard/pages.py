"""The pages: overview of stress tests, one run, jobs, one job, the API. They read and render; none writes."""

from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from sqlalchemy.orm import Session

from service.access import anyone, needs
from service.dashboard.metrics import metric_rows
from service.dashboard.reference import operations, schemas
from service.dashboard.rendering import plotly_script, render, static_directory
from service.dashboard.views import (
    WITHIN,
    agreement_figure,
    measured_statistics,
    oracles_of,
    run_figures,
    run_rows,
    scorer_table,
    seconds_taken,
    training_figures,
    verdict_of,
)
from service.db import queries
from service.db.queries import CorrelationFilter, JobFilter
from service.db.records import JobRecord
from service.errors import outcome_of
from trainer.errors import AssayError, NotFound

router = APIRouter(include_in_schema=False, dependencies=[needs("read")])
files = APIRouter(include_in_schema=False, dependencies=[anyone()])

Cursor = Annotated[str | None, Query()]


@router.get("/")
def overview(request: Request, cursor: Cursor = None) -> Response:
    """What the latest stress test found, what is under way, and every run."""

    def page(session: Session) -> Response:
        runs = queries.list_stress_tests(session, cursor=cursor, limit=50)
        shown = CorrelationFilter(runs=[run.id for run in runs.data], statistics=[WITHIN], strata=["all"])
        rows = run_rows(runs.data, queries.correlations(session, shown) if runs.data else [])
        latest = next((row for row in rows if row.run.status == "succeeded"), None) if cursor is None else None
        found = queries.correlations(session, CorrelationFilter(runs=[latest.run.id])) if latest else []
        oracle = next(iter(oracles_of(found)), None)
        active = [
            job
            for status in ("running", "queued")
            for job in queries.list_jobs(session, JobFilter(status=status), limit=10).data
        ]
        return render(
            request,
            "overview.html",
            here="runs",
            latest=latest,
            verdict=verdict_of(found, oracle),
            rows=rows,
            next=runs.next,
            active=active,
            seen=_events_seen(session, active),
            oracle=oracle,
            figure=agreement_figure(found, WITHIN, oracle),
        )

    return _answer(request, page)


@router.get("/runs/{run_id}")
def run(request: Request, run_id: str, statistic: str = WITHIN, oracle: str | None = None) -> Response:
    """One stress test: its verdict, figure, table, recipe."""

    def page(session: Session) -> Response:
        record = queries.get_stress_test(session, run_id)
        found = queries.correlations(session, CorrelationFilter(runs=[run_id]))
        statistics = measured_statistics(found)
        oracles = oracles_of(found)
        against = oracle or next(iter(oracles), None)
        if found and (statistic not in statistics or against not in oracles):
            raise NotFound(f"this run has no {statistic} against {against}")
        return render(
            request,
            "run.html",
            here="runs",
            run=record,
            seen=_events_seen(session, [record]),
            taken=seconds_taken(record),
            verdict=verdict_of(found, against),
            table=scorer_table(found, statistic, against) if against else None,
            figure=agreement_figure(found, statistic, against),
            figures=run_figures(session, run_id, found, against) if found else [],
            statistic=statistic,
            statistics=statistics,
            oracle=against,
            oracles=oracles,
            method=found[0].method if found else None,
        )

    return _answer(request, page)


@router.get("/jobs")
def jobs(request: Request, cursor: Cursor = None) -> Response:
    """Every job, newest first."""

    def page(session: Session) -> Response:
        found = queries.list_jobs(session, cursor=cursor, limit=50)
        rows = [(job, seconds_taken(job)) for job in found.data]
        return render(request, "jobs.html", here="jobs", jobs=rows, next=found.next)

    return _answer(request, page)


@router.get("/jobs/{job_id}")
def job(request: Request, job_id: str) -> Response:
    """One job, live while it runs."""

    def page(session: Session) -> Response:
        record = queries.get_job(session, job_id)
        rows = metric_rows(queries.list_metrics(session, job_id, max_points=120))
        return render(
            request,
            "job.html",
            here="jobs",
            job=record,
            seen=_events_seen(session, [record]),
            taken=seconds_taken(record),
            metrics=rows,
            figures=training_figures(session, job_id) if rows else [],
        )

    return _answer(request, page)


@router.get("/docs")
def docs(request: Request) -> Response:
    """The API's reference."""
    document = request.app.openapi()
    return render(
        request,
        "reference.html",
        here="docs",
        version=document["info"]["version"],
        operations=operations(document),
        schemas=schemas(document),
    )


@files.get("/static/{name}")
def static(name: str) -> Response:
    """Style and script of the pages, and plotly.js; their addresses change when their content does."""
    files = {file.name: file for file in static_directory().iterdir()} | {"plotly.min.js": plotly_script()}
    if name not in files:
        raise NotFound(f"no such file: {name}")
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return FileResponse(files[name], headers=headers)


def _answer(request: Request, page: Callable[[Session], Response]) -> Response:
    """Render with a session; an expected failure becomes a page too, since a browser asked."""
    try:
        with request.app.state.sessions() as session:
            return page(session)
    except AssayError as error:
        outcome = outcome_of(error)
        return render(request, "error.html", status=outcome.status, title=outcome.title, detail=error.detail)


def _events_seen(session: Session, jobs: Sequence[JobRecord]) -> dict[str, int]:
    """The last event the page already tells, by job: the live stream goes on after it."""
    return {job.id: queries.find_job(session, job.id).events_seen for job in jobs}
