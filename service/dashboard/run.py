"""/runs/{id}: one stress test, its verdict, figures, table, recipe."""

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session

from service.dashboard.rendering import answer, render
from service.dashboard.views import (
    WITHIN,
    agreement_figure,
    events_seen,
    measured_statistics,
    oracles_of,
    run_figures,
    scorer_table,
    seconds_taken,
    verdict_of,
)
from service.db import queries
from service.db.queries import CorrelationFilter
from trainer.errors import NotFound

router = APIRouter()


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
            seen=events_seen(session, [record]),
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

    return answer(request, page)
