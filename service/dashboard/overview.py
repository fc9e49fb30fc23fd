"""/: what the latest stress test found, what is under way, and every run."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session

from service.dashboard.rendering import answer, render
from service.dashboard.views import WITHIN, agreement_figure, events_seen, oracles_of, run_rows, verdict_of
from service.db import queries
from service.db.queries import CorrelationFilter, JobFilter

router = APIRouter()


@router.get("/")
def overview(request: Request, cursor: Annotated[str | None, Query()] = None) -> Response:
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
            here="overview",
            latest=latest,
            verdict=verdict_of(found, oracle),
            rows=rows,
            next=runs.next,
            active=active,
            seen=events_seen(session, active),
            oracle=oracle,
            figure=agreement_figure(found, WITHIN, oracle),
        )

    return answer(request, page)
