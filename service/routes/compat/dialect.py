"""Errors in another server's words: what went wrong is decided once (``service.problems``), here it is only respelt."""

import json
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from service.access import needs
from service.problems import MEDIA_TYPE, RESPELT, Problem

Respell = Callable[[Problem, Request], tuple[int, dict[str, Any]]]
"""Status and body in which the original would have answered a problem."""

_KEPT = ("allow", "retry-after", "www-authenticate", "x-request-id")


def respelt(problem: Response, request: Request, respell: Respell) -> Response:
    """The answer as ``respell`` says, with the headers that it had; as it is where it is no problem."""
    if problem.media_type != MEDIA_TYPE:
        return problem
    status, body = respell(Problem.model_validate_json(bytes(problem.body)), request)
    headers = {name: problem.headers[name] for name in _KEPT if name in problem.headers}
    return JSONResponse(body, status_code=status, headers=headers)


def speak(request: Request, respell: Respell) -> Callable[[Response], Response]:
    """Have ``request`` answered as ``respell`` says, also what goes wrong around its route; returns what does so."""

    def in_its_words(problem: Response) -> Response:
        return respelt(problem, request, respell)

    setattr(request.state, RESPELT, in_its_words)
    return in_its_words


def speaking(respell: Respell) -> type[APIRoute]:
    """Routes whose failures leave as ``respell`` says."""

    class Route(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Any]:
            handle = super().get_route_handler()

            async def answer(request: Request) -> Response:
                in_its_words = speak(request, respell)
                try:
                    return await handle(request)
                except ClientDisconnect:
                    raise
                except Exception as error:
                    return in_its_words(await _answer_to(error, request))

            return answer

    return Route


def field_of(problem: Problem) -> str | None:
    """The field that a problem is about, as people write it: ``input``, ``texts.3``."""
    if not problem.errors:
        return None
    first = problem.errors[0]
    return first.parameter or (first.pointer or "").strip("/").replace("/", ".") or None


def sent_body(request: Request) -> Any:  # noqa: ANN401 - any JSON
    """What a request says as far as it was read; a failure may have come before."""
    try:
        return json.loads(getattr(request, "_body", b""))
    except (ValueError, RecursionError):
        return None


def complained_of(problem: Problem, request: Request) -> Any:  # noqa: ANN401 - any JSON
    """What was sent in the field that a problem is about; None where nothing was."""
    found: Any = {"": sent_body(request)}
    for part in (problem.errors[0].pointer or "" if problem.errors else "").split("/"):
        try:
            found = found[int(part)] if isinstance(found, list) else found[part]
        except (LookupError, TypeError, ValueError):
            return None
    return found


def explained(problem: Problem) -> str:
    """What is wrong and where, in one line."""
    where = field_of(problem)
    if where is None:
        return problem.detail
    more = f" (and {len(problem.errors) - 1} more)" if len(problem.errors) > 1 else ""
    return f"{where}: {problem.errors[0].detail}{more}"


def router_speaking(respell: Respell, failure: object) -> APIRouter:
    """A router whose failures leave as ``respell`` says, in the form of the model ``failure``."""
    return APIRouter(
        tags=["compatible"],
        dependencies=[needs("score")],
        route_class=speaking(respell),
        responses={"default": {"description": "What went wrong", "model": failure}},
    )


async def _answer_to(error: Exception, request: Request) -> Response:
    """What the application would answer, by the handler of the error's class or its nearest ancestor."""
    handlers = request.app.exception_handlers
    answer: Response = await next(handlers[kind] for kind in type(error).__mro__ if kind in handlers)(request, error)
    return answer
