"""GET /metrics: for Prometheus."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from service.access import needs

router = APIRouter(tags=["health"], dependencies=[needs("read", or_local=True)])


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def get_metrics(request: Request) -> Response:
    """Everything that is counted, in Prometheus' text format. This machine itself needs no key."""
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)
