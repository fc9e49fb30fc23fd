"""/history: one statistic over time, by scorer, by version or by policy."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session

from service.dashboard.history_view import Asked, history_view
from service.dashboard.rendering import answer, render

router = APIRouter()

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

    def page(session: Session) -> Response:
        return render(request, "history.html", here="history", view=history_view(session, asked), most=_SHOWN_ROWS)

    return answer(request, page)
