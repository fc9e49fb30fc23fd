"""What happens to every request before a route sees it: it gets an id, a deadline, and is told of when it is over."""

import asyncio
import math
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

_DEFAULT_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
"""On every answer that does not set its own, as pages do."""


@dataclass(frozen=True)
class Finished:
    """A request that was answered, or whose sender went away before (status 499)."""

    method: str
    path: str
    status: int
    seconds: float
    request_id: str
    client: str | None
    scope: Scope


def matched_route(scope: Scope) -> Any:  # noqa: ANN401 - FastAPI has no name for both kinds
    """The route that a request was found to be for, with ``path`` and ``dependant``; None before, and of none."""
    return scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")


class RequestContext:
    """Takes the caller's ``X-Request-ID`` or makes one, returns it, and reports each request when it is over."""

    def __init__(self, app: ASGIApp, finished: Sequence[Callable[[Finished], None]] = ()) -> None:
        self._app = app
        self._finished = finished

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _ACCEPTABLE_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = 499

        async def identified_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in _DEFAULT_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, identified_send)
        except ClientDisconnect:
            pass  # there is nobody to tell
        except Exception:
            status = 500
            raise
        finally:
            client = scope["client"][0] if scope.get("client") else None
            seconds = time.perf_counter() - started
            over = Finished(scope["method"], scope["path"], status, seconds, request_id, client, scope)
            for tell in self._finished:
                tell(over)


class Head:
    """Answers HEAD wherever GET is: what that would say before its body, which is not even begun (RFC 9110, 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            await send(message)
            await send({"type": "http.response.body"})
            raise ClientDisconnect  # whatever would follow, a file or a stream, ends here as if nobody took it

        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]  # a part is asked by GET only
        inner = {**scope, "method": "GET", "headers": headers}
        try:
            with suppress(ClientDisconnect):
                await self._app(inner, receive, send_head)
        finally:
            scope.update({name: inner[name] for name in inner.keys() - scope.keys()})  # such as the route it is for


class UnderWay:
    """The requests whose answers have not begun, and until when they may begin."""

    def __init__(self) -> None:
        self._until = math.inf
        self._limits: set[asyncio.Timeout] = set()

    def end_by(self, when: float) -> None:
        """Give all of them up at this time of the event loop: the server is to stop."""
        self._until = when
        for limit in self._limits - {limit for limit in self._limits if limit.expired()}:
            limit.reschedule(min(limit.when() or when, when))

    @property
    def over(self) -> bool:
        """Whether that time has come."""
        return asyncio.get_running_loop().time() >= self._until

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[asyncio.Timeout]:
        """Like ``asyncio.timeout``, whose end may come sooner; reschedule it to None by ``begun``."""
        until = min(asyncio.get_running_loop().time() + seconds, self._until)
        async with asyncio.timeout_at(until) as limit:
            self._limits.add(limit)
            try:
                yield limit
            finally:
                self._limits.discard(limit)

    def begun(self, limit: asyncio.Timeout) -> None:
        """The answer may take as long as it likes."""
        self._limits.discard(limit)
        limit.reschedule(None)


class Deadline:
    """Gives up on a request whose answer has not begun in time; an answer that has may take as long as it likes."""

    def __init__(
        self, app: ASGIApp, seconds: float, under_way: UnderWay, answer: Callable[[Request, bool], Response]
    ) -> None:
        """``answer`` is told whether the server is stopping."""
        self._app = app
        self._seconds = seconds
        self._under_way = under_way
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def noted_send(message: Message) -> None:
            nonlocal begun
            if not begun:
                begun = True
                self._under_way.begun(limit)
            await send(message)

        try:
            async with self._under_way.within(self._seconds) as limit:
                await self._app(scope, receive, noted_send)
        except TimeoutError:
            if begun or not limit.expired():
                raise
            await self._answer(Request(scope), self._under_way.over)(scope, receive, send)


class Prefix:
    """Serves the application below a path, whether or not the proxy in front has taken it off."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            if not f"{path}/".startswith(f"{self._root_path}/"):
                path = self._root_path + path
            scope = {**scope, "path": path, "root_path": self._root_path}
        await self._app(scope, receive, send)
