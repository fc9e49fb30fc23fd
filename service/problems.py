"""Every error leaves as RFC 9457 ``application/problem+json`` with a request id, and never with a traceback."""

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from service.db.failures import database_failure
from service.errors import outcome_of
from service.logs import log_failure
from trainer.errors import AssayError, InvalidInput, Overloaded, Unauthenticated
from trainer.json_pointer import error_pointer

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 100
"""Of one request, in its answer: each field of a large body may be wrong."""
RESPELT = "respelt"
"""Where a request's state has what puts a problem into another server's words."""


class FieldError(BaseModel):
    """One thing wrong with a request, at ``pointer`` in its body or in the query or path ``parameter``."""

    detail: str
    pointer: str | None = None
    """JSON pointer (RFC 6901) into the body; "" is the whole body."""
    parameter: str | None = None


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[FieldError]
    request_id: str


PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "What went wrong and what to do about it",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}
"""For ``APIRouter(responses=...)``: every route may answer a problem."""


def problem_response(
    request: Request,
    *,
    status: int,
    title: str,
    detail: str,
    code: str,
    errors: list[FieldError] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """A problem about ``request``: JSON, and a page for who looks at pages."""
    request_id = str(request.scope.get("state", {}).get("request_id", ""))
    problem = Problem(
        type=f"urn:assay:problem:{code}",
        title=title,
        status=status,
        detail=detail,
        instance=request.url.path,
        code=code,
        errors=errors or [],
        request_id=request_id,
    )
    headers = {"X-Request-ID": request_id, **(headers or {})}
    page: ProblemPage | None = getattr(request.app.state, PROBLEM_PAGE, None) if "app" in request.scope else None
    if page is not None and _for_a_reader(request):
        return page(request, problem, headers)
    return JSONResponse(
        problem.model_dump(exclude_none=True), status_code=status, media_type=MEDIA_TYPE, headers=headers
    )


ProblemPage = Callable[[Request, Problem, dict[str, str]], Response]
"""Makes a page of a problem, with these headers."""
PROBLEM_PAGE = "problem_page"
"""Where an application's state has it."""


def add_problem_handlers(app: FastAPI) -> None:
    """Translate every exception a route can raise, in this one place."""
    handlers: dict[type[Exception], Callable[[Request, Any], Awaitable[Response]]] = {
        AssayError: _assay_error,
        RequestValidationError: _invalid_request,
        HTTPException: _http_exception,
        DBAPIError: _database_error,
        PoolTimeout: _pool_exhausted,
        Exception: _unexpected,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _assay_error(request: Request, error: AssayError) -> Response:
    outcome = outcome_of(error)
    if isinstance(error, Unauthenticated) and request.method == "GET" and _for_a_reader(request):
        return _to_login(request)
    retry = getattr(error, "retry_after_seconds", outcome.retry_after_seconds)
    headers = {} if retry is None else {"Retry-After": str(retry)}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="assay"'
    return problem_response(
        request,
        status=outcome.status,
        title=outcome.title,
        detail=error.detail,
        code=error.code,
        errors=_field_errors(error),
        headers=headers,
    )


def _field_errors(error: AssayError) -> list[FieldError]:
    if isinstance(error, InvalidInput) and error.complaints:
        return [FieldError(pointer=pointer, detail=words) for pointer, words in error.complaints[:MAX_ERRORS]]
    return [] if error.pointer is None else [FieldError(pointer=error.pointer, detail=error.detail)]


def _for_a_reader(request: Request) -> bool:
    """Whether a browser asks for a page, for somebody to look at; what the API has is JSON for everybody but for its
    reports, and what other servers' formats have is theirs."""
    path = _path(request)
    is_page = not path.startswith("/v1/") or path.endswith("/report.html")
    return request.headers.get("accept", "").startswith("text/html") and is_page and not hasattr(request.state, RESPELT)


def _path(request: Request) -> str:
    """Without the prefix that the server is at."""
    return request.url.path.removeprefix(str(request.scope.get("root_path", "")).rstrip("/"))


def _to_login(request: Request) -> Response:
    root = str(request.scope.get("root_path", "")).rstrip("/")
    wanted = _path(request) + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"{root}/login?{urlencode({'next': wanted})}", status_code=303)


async def _invalid_request(request: Request, error: RequestValidationError) -> Response:
    if isinstance(error.body, bytes):  # only JSON is parsed
        return _unreadable_body(request, "was not sent as JSON; add the header content-type: application/json")
    found = error.errors()
    errors = [_field_error(item, error.body) for item in found[:MAX_ERRORS]]
    first = errors[0]
    where = first.parameter or first.pointer or "body"
    return problem_response(
        request,
        status=422,
        title="Invalid input",
        detail=f"{where}: {first.detail}" + (f" (and {len(found) - 1} more)" if len(found) > 1 else ""),
        code=InvalidInput.code,
        errors=errors,
    )


def _field_error(item: dict[str, Any], body: Any) -> FieldError:  # noqa: ANN401 - any JSON
    source, *path = item["loc"]
    if item["type"] == "json_invalid":
        reason = item.get("ctx", {}).get("error", "cannot be read")
        return FieldError(pointer="", detail=f"malformed JSON at character {path[0]}: {reason}")
    detail = item["msg"].removeprefix("Value error, ")
    if source == "body":
        return FieldError(pointer=error_pointer(item, body, skip=1), detail=detail)
    return FieldError(parameter=".".join(str(part) for part in path), detail=detail)


def _unreadable_body(request: Request, reason: str) -> Response:
    return problem_response(
        request,
        status=422,
        title="Invalid input",
        detail=f"body: {reason}",
        code=InvalidInput.code,
        errors=[FieldError(pointer="", detail=reason)],
    )


def _why_unreadable(cause: BaseException) -> str:
    """Why FastAPI could not parse a body that is not even malformed JSON."""
    if isinstance(cause, UnicodeDecodeError):
        return f"is not UTF-8 at byte {cause.start}; send UTF-8"
    if isinstance(cause, RecursionError):
        return "is nested too deeply"
    return "holds a number with too many digits"


async def _http_exception(request: Request, error: HTTPException) -> Response:
    if error.status_code == HTTPStatus.BAD_REQUEST and isinstance(error.__cause__, ValueError | RecursionError):
        return _unreadable_body(request, _why_unreadable(error.__cause__))
    if isinstance(error.__cause__, AssayError):  # raised while FastAPI read the body
        return await _assay_error(request, error.__cause__)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _allowed(request)
    title = HTTPStatus(error.status_code).phrase
    detail = str(error.detail)
    if detail == title:
        detail = f"{request.method} {request.url.path}: {title.lower()}; /docs lists the routes"
    return problem_response(
        request,
        status=error.status_code,
        title=title,
        detail=detail,
        code=title.lower().replace(" ", "_").replace("-", "_"),
        headers=headers,
    )


def _allowed(request: Request) -> str:
    """Every method of an address (RFC 9110, section 10.2.1): the router names those of one of its routes alone."""
    path = _path(request)
    routes = (route for route in iter_route_contexts(request.app.routes) if route.path_regex.match(path))
    methods = {method for route in routes for method in route.methods or ()}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


async def _database_error(request: Request, error: DBAPIError) -> Response:
    logging.getLogger(__name__).error("%s %s: %s", request.method, request.url.path, error.orig)
    return await _assay_error(request, database_failure(error))


async def _pool_exhausted(request: Request, error: PoolTimeout) -> Response:
    return await _assay_error(request, Overloaded("every database connection is in use; try again"))


def timed_out(request: Request) -> Response:
    """The answer to a request that has waited for too long, in the words of its route where that has its own."""
    problem = problem_response(
        request,
        status=504,
        title="Took too long",
        detail="the answer did not begin in time; ask for less at once, or try again when less is going on",
        code="timeout",
        headers={"Retry-After": "5"},
    )
    return _in_its_words(request, problem)


def shutting_down(request: Request) -> Response:
    """Likewise, to one that a server which was told to stop cannot finish."""
    problem = problem_response(
        request,
        status=503,
        title="Overloaded",
        detail="the server is shutting down and did not come to this request; send it again",
        code=Overloaded.code,
        headers={"Retry-After": "5"},
    )
    return _in_its_words(request, problem)


def _in_its_words(request: Request, problem: Response) -> Response:
    respelt: Callable[[Response], Response] | None = getattr(request.state, RESPELT, None)
    return problem if respelt is None else respelt(problem)


async def _unexpected(request: Request, error: Exception) -> Response:
    log_failure(request, error)
    return problem_response(
        request,
        status=500,
        title="Internal error",
        detail="something unexpected went wrong; the server's log has it under this request id",
        code="internal",
        headers={"Connection": "close"},  # as uvicorn does after an exception, without saying so
    )
