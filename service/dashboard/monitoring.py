"""/monitoring: what production scoring looks like now, by scorer, and which bounds are crossed."""

from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session

from service.dashboard.monitoring_figures import figures_of
from service.dashboard.rendering import answer, render
from service.db.monitored import list_alerts, states
from service.monitoring.alerts import record_of
from service.monitoring.state import AlertRecord, ScorerState, as_of
from service.settings import Settings

router = APIRouter()

_SHOWN_ALERTS = 20
_SHOWN_AUDITS = 4


@dataclass(frozen=True)
class Monitored:
    """All that monitoring knows now."""

    scorers: list[ScorerState]
    active: list[AlertRecord]


def monitored(session: Session) -> Monitored:
    """For the page, and for the overview."""
    active, _ = list_alerts(session, active=True, cursor=None, limit=_SHOWN_ALERTS)
    found = as_of(datetime.now(UTC), states(session))
    return Monitored(found, [record_of(alert) for alert in active])


@router.get("/monitoring")
def monitoring(request: Request) -> Response:
    """Alerts first, then each scorer: trust as the audits found it, drift, and what was sampled."""
    settings: Settings = request.app.state.settings

    def page(session: Session) -> Response:
        found = monitored(session)
        figures = [figures_of(number, state) for number, state in enumerate(found.scorers, 1)]
        cleared, _ = list_alerts(session, active=False, cursor=None, limit=_SHOWN_ALERTS)
        return render(
            request,
            "monitoring.html",
            here="monitoring",
            monitoring=found,
            figures=figures,
            draws=any(each is not None for some in figures for each in some.values()),
            cleared=[record_of(alert) for alert in cleared],
            settings=settings,
            most=_SHOWN_AUDITS,
        )

    return answer(request, page)
