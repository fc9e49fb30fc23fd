"""Is the process alive, and can it do its work?"""

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from service.access import anyone
from service.db.schema import check
from service.jobs.dispatcher import Dispatcher
from service.problems import problem_response
from trainer.errors import AssayError

router = APIRouter(tags=["health"], dependencies=[anyone()])


class Alive(BaseModel):
    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    status: Literal["ready"] = "ready"
    checks: dict[str, str]
    """What was looked at, and what was found."""


@router.get("/livez")
async def livez() -> Alive:
    """The process answers."""
    return Alive()


@router.get("/readyz", response_model=Ready)
def readyz(request: Request) -> Ready | Response:
    """The database answers at this version's migration, the dispatcher works, and pinned scorers are in memory."""
    checks = {"database": "ok", "dispatcher": "ok"}
    broken = []
    try:
        check(request.app.state.engine)
    except AssayError as error:
        broken.append(f"database: {error.detail}")
    dispatcher: Dispatcher = request.app.state.dispatcher
    if request.app.state.settings.job_slots == 0:
        checks["dispatcher"] = "off: this server runs no jobs"
    elif not dispatcher.alive:
        broken.append("dispatcher: has stopped; restart the server")
    missing = request.app.state.pinned.missing()
    broken += [f"scorer {name}: {why}" for name, why in missing.items()]
    if pinned := request.app.state.settings.pinned:
        checks["scorers"] = f"{len(pinned)} pinned and loaded: {', '.join(pinned)}"
    if not broken:
        return Ready(checks=checks)
    return problem_response(
        request,
        status=503,
        title="Not ready",
        detail="; ".join(broken),
        code="not_ready",
        headers={"Retry-After": "5"},
    )
