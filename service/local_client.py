"""The API without a server: the application opened in this process, for commands that work on the local database."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI

from service.app import create_app
from service.client import AssayClient
from service.client.requests import Patience
from service.database import open_database
from service.settings import Settings


@contextmanager
def local_client(settings: Settings) -> Iterator[AssayClient]:
    """A client of the application over ``settings``, which accepts and shows jobs but runs none.

    Raises WrongSchema for a database at another migration.
    """
    app = create_app(settings.model_copy(update={"job_slots": 0, "pinned": ()}), owner=True)
    with (
        open_database(settings),
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(app.router.lifespan_context(app)),
        AssayClient("http://local", transport=_InProcess(app, portal), patience=Patience(attempts=1)) as client,
    ):
        yield client


class _InProcess(httpx.AsyncBaseTransport):
    """Hands requests to an application whose event loop runs in another thread."""

    def __init__(self, app: FastAPI, portal: BlockingPortal) -> None:
        self._app = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._portal = portal

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await asyncio.wrap_future(self._portal.start_task_soon(self._answer, request))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = await self._app.handle_async_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread(), request=request)
