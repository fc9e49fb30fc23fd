"""GET /v1/monitoring and /v1/alerts: what production scoring looks like now."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request

from service.access import needs
from service.db.monitored import list_alerts, states
from service.db.pages import DEFAULT_LIMIT
from service.db.records import Page
from service.monitoring.alerts import record_of
from service.monitoring.state import AlertRecord, ScorerState, as_of
from service.routes.lifecycle import Limit

router = APIRouter(prefix="/v1", tags=["monitoring"], dependencies=[needs("read")])

Alerts = Page[AlertRecord]


@router.get("/monitoring")
def get_monitoring(request: Request) -> Page[ScorerState]:
    """Every scorer of which a sample is kept: drift against its reference, and trust as the audits found it."""
    with request.app.state.sessions() as session:
        return Page(data=as_of(datetime.now(UTC), states(session)), next=None)


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
