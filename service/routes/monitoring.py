"""GET /v1/monitoring and /v1/alerts: what production scoring looks like now."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict

from service.access import needs
from service.db.drifts import DriftFilter, list_drifts
from service.db.monitored import acknowledge, list_alerts, state_page
from service.db.pages import DEFAULT_LIMIT
from service.db.records import DriftRecord, Measure, Page
from service.db.session import writing
from service.monitoring.alerts import record_of
from service.monitoring.forgetting import Forget, Forgotten, forget_texts
from service.monitoring.state import AlertRecord, ScorerState, as_of
from service.routes.lifecycle import Cursor, Limit, UtcTime

router = APIRouter(prefix="/v1", tags=["monitoring"], dependencies=[needs("read", changes="admin")])

Alerts = Page[AlertRecord]


class DriftQuery(BaseModel):
    """Which measurements. All filters must hold, any value of each."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    scorer: list[str] = []
    """``NAME@VERSION:OUTPUT``"""
    measure: list[Measure] = []
    created_after: UtcTime | None = None
    """From this time on; UTC where it names no zone."""
    created_before: UtcTime | None = None
    """Before this time."""
    cursor: str | None = None
    """``next`` of the page before."""
    limit: Limit = DEFAULT_LIMIT

    def filter(self) -> DriftFilter:
        """The same, for queries."""
        return DriftFilter(self.scorer, self.measure, self.created_after, self.created_before)


@router.get("/monitoring")
def get_monitoring(request: Request, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT) -> Page[ScorerState]:
    """Scorers of which a sample is kept, by name: drift against their references, and trust as the audits found it."""
    with request.app.state.sessions() as session:
        found = state_page(session, cursor=cursor, limit=limit)
    return Page(data=as_of(datetime.now(UTC), found.data), next=found.next)


@router.get("/monitoring/drift")
def get_drift(request: Request, asked: Annotated[DriftQuery, Query()]) -> Page[DriftRecord]:
    """Drift over time, the newest first: what was measured of each scorer, once an hour."""
    with request.app.state.sessions() as session:
        return list_drifts(session, asked.filter(), cursor=asked.cursor, limit=asked.limit)


@router.post("/monitoring/forget")
def forget_sampled(request: Request, asked: Forget) -> Forgotten:
    """Delete what somebody sent from the sample, its files, and what audits made of it."""
    return forget_texts(request.app.state.sessions, request.app.state.settings, asked)


@router.get("/alerts")
def get_alerts(
    request: Request,
    active: Annotated[bool | None, Query(description="Only open ones, or only cleared ones.")] = None,
    cursor: str | None = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Alerts:
    """Bounds that were crossed, the newest first."""
    with request.app.state.sessions() as session:
        found, following = list_alerts(session, active=active, cursor=cursor, limit=limit)
        return Alerts(data=[record_of(alert) for alert in found], next=following)


@router.post("/alerts/{alert_id}/acknowledge")
def acknowledge_alert(request: Request, alert_id: str) -> AlertRecord:
    """Say that somebody has seen it: the overview leaves it out. It stays open until its cause is gone."""
    with writing(request.app.state.sessions) as session:
        return record_of(acknowledge(session, alert_id, datetime.now(UTC)))
