"""/monitoring: what production scoring looks like now, by scorer, and which bounds are crossed."""

from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session

from service.access import may, needs
from service.dashboard.monitoring_figures import figures_of
from service.dashboard.rendering import answer, back_to, failed, render
from service.db.monitored import acknowledge, list_alerts, states
from service.db.session import writing
from service.monitoring.alerts import record_of
from service.monitoring.state import AlertRecord, ScorerState, as_of
from service.settings import Settings
from trainer.errors import AssayError

router = APIRouter()
changes = APIRouter(include_in_schema=False, dependencies=[needs("admin")])

_SHOWN_ALERTS = 20
_SHOWN_AUDITS = 4


@dataclass(frozen=True)
class Monitored:
    """All that monitoring knows now."""

    scorers: list[ScorerState]
    active: list[AlertRecord]
    """Those that nobody has acknowledged first."""

    @property
    def unseen(self) -> list[AlertRecord]:
        """What nobody has acknowledged."""
        return [alert for alert in self.active if alert.acknowledged_at is None]


def monitored(session: Session) -> Monitored:
    """For the page, and for the overview."""
    active, _ = list_alerts(session, active=True, cursor=None, limit=_SHOWN_ALERTS)
    found = as_of(datetime.now(UTC), states(session))
    alerts = [record_of(alert) for alert in active]
    return Monitored(found, sorted(alerts, key=lambda alert: alert.acknowledged_at is not None))


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
            may_acknowledge=may(request, "admin"),
        )

    return answer(request, page)


@changes.post("/monitoring/alerts/{alert_id}/acknowledge")
def acknowledge_alert(request: Request, alert_id: str) -> Response:
    """As the API's, and back to the page."""
    try:
        with writing(request.app.state.sessions) as session:
            acknowledge(session, alert_id, datetime.now(UTC))
    except AssayError as error:
        return failed(request, error)
    return back_to(request, "/monitoring")
