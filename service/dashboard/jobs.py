"""/jobs: every job, and each by itself, live while it runs."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session

from service.dashboard.metrics import metric_rows
from service.dashboard.rendering import answer, render
from service.dashboard.views import events_seen, seconds_taken, training_figures
from service.db import queries

router = APIRouter()


@router.get("/jobs")
def jobs(request: Request, cursor: Annotated[str | None, Query()] = None) -> Response:
    """Every job, newest first."""

    def page(session: Session) -> Response:
        found = queries.list_jobs(session, cursor=cursor, limit=50)
        rows = [(job, seconds_taken(job)) for job in found.data]
        return render(request, "jobs.html", here="jobs", jobs=rows, next=found.next)

    return answer(request, page)


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
            seen=events_seen(session, [record]),
            taken=seconds_taken(record),
            metrics=rows,
            figures=training_figures(session, job_id) if rows else [],
        )

    return answer(request, page)
