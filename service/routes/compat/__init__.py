"""Other servers' wire formats, one file each: whoever speaks to them can speak to this one unchanged."""

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service.routes.compat import cohere, openrlhf, rerank, slime, tei, vllm
from service.routes.compat.dialect import Respell, speak

_SERVERS: dict[str, tuple[APIRouter, Respell]] = {
    "openrlhf": (openrlhf.router, openrlhf.respell),
    "vllm": (vllm.router, vllm.respell),
    "slime": (slime.router, slime.respell),
    "tei": (tei.router, tei.respell),
    "cohere": (cohere.router, cohere.respell),
}
"""By the name they are mounted at: ``/compat/NAME``."""

ROUTERS = (*(router for router, _ in _SERVERS.values()), rerank.router)

_WORDS = {
    route.path: respell
    for router, respell in (*_SERVERS.values(), (rerank.router, rerank.respell))
    for route in router.routes
    if isinstance(route, APIRoute)
}
"""By the path of a route."""


def speak_around_routes(app: FastAPI) -> None:
    """Answer requests for which these addresses have no route, 404 and 405, in the same words as those that they have.

    For an application that has its problem handlers.
    """
    plain: Any = app.exception_handlers[HTTPException]

    async def answer(request: Request, error: HTTPException) -> Response:
        respell = _spoken_at(request.url.path.removeprefix(str(request.scope.get("root_path", ""))))
        in_its_words = None if respell is None else speak(request, respell)
        problem: Response = await plain(request, error)
        return problem if in_its_words is None else in_its_words(problem)

    app.add_exception_handler(HTTPException, answer)  # type: ignore[arg-type]


def _spoken_at(path: str) -> Respell | None:
    """The words of an original's own address, and of all below its name."""
    match path.split("/"):
        case ["", "compat", name, *_] if name in _SERVERS:
            return _SERVERS[name][1]
    return _WORDS.get(path)
