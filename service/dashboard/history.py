"""The page of the history: one statistic over time, by scorer, by version or by policy."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.access import needs
from service.dashboard.history_view import Asked, history_view
from service.dashboard.rendering import render

router = APIRouter(include_in_schema=False, dependencies=[needs("read")])

_SHOWN_ROWS = 100


@router.get("/history")
def history(
    request: Request,
    statistic: str | None = None,
    oracle: str | None = None,
    stratum: str | None = None,
    temperature: str | None = None,
    scorer: Annotated[list[str], Query()] = [],  # noqa: B006 - FastAPI copies it
    by: str = "scorer",
    every: str = "run",
) -> Response:
    """A figure of it, the numbers beneath, and where a program gets the same."""
    asked = Asked(statistic, oracle, stratum, temperature, tuple(scorer), by, every)
    with request.app.state.sessions() as session:
        view = history_view(session, asked)
    return render(request, "history.html", here="history", view=view, most=_SHOWN_ROWS)
