"""The server: API, dashboard and dispatcher in one process, put together from settings."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from anyio import to_thread
from fastapi import FastAPI

from service.dashboard import pages
from service.db.aliases import resolver
from service.db.schema import check
from service.db.session import make_engine, sessions
from service.jobs.dispatcher import Dispatcher
from service.jobs.executors import Executor
from service.jobs.executors.local_process import LocalExecutor
from service.jobs.kinds import ParseRecipe, parse_any_recipe
from service.middleware import RequestContext
from service.openapi import describe
from service.problems import PROBLEM_RESPONSES, add_problem_handlers
from service.routes import (
    aliases,
    artifacts,
    attributions,
    audits,
    comparisons,
    health,
    run_comparisons,
    scorers,
    scores,
    stress_tests,
    training_jobs,
)
from service.scoring import ScoringService, open_engine
from service.settings import Settings
from trainer.artifacts import ArtifactStore, code_version

ROUTERS = (
    scores.router,
    comparisons.router,
    run_comparisons.router,
    attributions.router,
    scorers.router,
    artifacts.router,
    aliases.router,
    training_jobs.router,
    stress_tests.router,
    audits.router,
    health.router,
    pages.router,
)


def create_app(
    settings: Settings, *, parse_recipe: ParseRecipe = parse_any_recipe, executor: Executor | None = None
) -> FastAPI:
    """The application; nothing is started before its lifespan begins, which refuses a database at another migration.

    With ``job_slots`` 0 it runs no jobs and loads no models until somebody asks for scores.
    """
    app = FastAPI(
        title="Assay",
        version=code_version(),
        description="How far can a scorer be trusted as responses drift from what it was trained on?",
        lifespan=_lifespan,
        responses=PROBLEM_RESPONSES,
        docs_url=None,  # FastAPI's viewer loads from the network; the dashboard has its own
        redoc_url=None,
    )
    state = app.state
    state.settings = settings
    state.stopping = threading.Event()
    state.parse_recipe = parse_recipe
    state.engine = make_engine(settings.database_url)
    state.sessions = sessions(state.engine)
    opener = partial(open_engine, resolve_alias=resolver(state.sessions))
    state.scoring = ScoringService(ArtifactStore(settings.artifact_dir), opener)
    state.dispatcher = Dispatcher(settings, state.sessions, executor or LocalExecutor(settings.artifact_dir))
    app.add_middleware(RequestContext, max_body_bytes=settings.max_body_bytes)
    add_problem_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    app.openapi = partial(describe, app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state = app.state
    try:
        await to_thread.run_sync(check, state.engine)
        if state.settings.job_slots > 0:
            state.dispatcher.start()
            state.scoring.start()  # in the background: importing torch takes seconds
        yield
    finally:
        await to_thread.run_sync(state.dispatcher.stop)
        await to_thread.run_sync(state.scoring.close)
        state.engine.dispose()
