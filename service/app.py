"""The server: API, dashboard and dispatcher in one process, put together from settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from service.middleware import RequestContext
from service.problems import PROBLEM_RESPONSES, add_problem_handlers
from service.routes import health
from service.settings import Settings
from trainer.artifacts import code_version


def create_app(settings: Settings) -> FastAPI:
    """The application; nothing is opened or started before its lifespan begins."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield

    app = FastAPI(title="Assay", version=code_version(), lifespan=lifespan, responses=PROBLEM_RESPONSES)
    app.state.settings = settings
    app.add_middleware(RequestContext, max_body_bytes=settings.max_body_bytes)
    add_problem_handlers(app)
    app.include_router(health.router)
    return app
