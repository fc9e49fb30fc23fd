"""The server: API, dashboard and dispatcher in one process, put together from settings."""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import TYPE_CHECKING

from anyio import to_thread
from fastapi import APIRouter, Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute

from service.access import Identify
from service.bodies import Bodies
from service.dashboard import artifacts as artifact_pages
from service.dashboard import jobs as job_pages
from service.dashboard import login, new_recipe, pages, try_it
from service.dashboard import monitoring as monitoring_pages
from service.dashboard.drawn import Drawn
from service.dashboard.rendering import problem_page
from service.db.aliases import resolver
from service.db.history_memory import keep_columns
from service.db.schema import check
from service.db.session import make_engine, sessions
from service.jobs.dispatcher import Dispatcher
from service.jobs.executors import Executor
from service.jobs.executors.local_process import LocalExecutor
from service.jobs.executors.ray_job import RayExecutor
from service.jobs.kinds import ParseRecipe, parse_any_recipe
from service.keyring import Keyring
from service.logs import log_request
from service.metrics import EngineMetrics, Metrics
from service.middleware import Deadline, Head, Prefix, RequestContext, UnderWay
from service.model_memory import room_for_models
from service.monitoring.sampling import Sampler
from service.monitoring.watch import Watch
from service.openapi import describe
from service.pinned import Pinned
from service.problems import PROBLEM_RESPONSES, add_problem_handlers, shutting_down, timed_out
from service.routes import (
    aliases,
    artifacts,
    attributions,
    audits,
    comparisons,
    compat,
    description,
    health,
    history,
    metrics,
    monitoring,
    plain_jobs,
    reports,
    run_comparisons,
    scorers,
    scores,
    stress_tests,
    training_jobs,
)
from service.routes.parameters import no_nul, only_known_parameters
from service.scoring import ScoringService, open_engine, unnamed
from service.sending import Exports
from service.settings import Settings
from service.tracing import Tracing
from trainer.artifacts import ArtifactStore
from trainer.manifest import code_version

if TYPE_CHECKING:
    from evaluation.engine.scoring import ScoringEngine

ROUTERS = (
    scores.router,
    comparisons.router,
    run_comparisons.router,
    reports.router,
    attributions.router,
    scorers.router,
    artifacts.router,
    aliases.router,
    training_jobs.router,
    stress_tests.router,
    audits.router,
    *plain_jobs.ROUTERS,
    history.router,
    monitoring.router,
    *compat.ROUTERS,
    health.router,
    metrics.router,
    description.router,
    pages.router,
    pages.files,
    job_pages.router,
    artifact_pages.router,
    artifact_pages.scoring_router,
    monitoring_pages.changes,
    try_it.router,
    new_recipe.router,
    login.router,
)


def create_app(
    settings: Settings,
    *,
    parse_recipe: ParseRecipe = parse_any_recipe,
    executor: Executor | None = None,
    owner: bool = False,
    local_only: bool = False,
) -> FastAPI:
    """The application; nothing is started before its lifespan begins, which refuses a database at another migration.

    With ``job_slots`` 0 it runs no jobs and loads no models until somebody asks for scores. For its ``owner``, who
    opens it in a process of theirs, no key is needed and a recipe may name any place. ``local_only`` says that it
    listens to this machine alone: without keys it then answers to no other name.
    """
    app = FastAPI(
        openapi_url=None,  # described by a route of its own, which asks for a key like the others
        title="Assay",
        version=code_version(),
        description="How far can a scorer be trusted as responses drift from what it was trained on?",
        lifespan=_lifespan,
        routes=_routes(),
        docs_url=None,  # FastAPI's viewer loads from the network; the dashboard has its own
        redoc_url=None,
    )
    state = app.state
    state.settings = settings
    state.stopping = threading.Event()
    state.under_way = UnderWay()
    state.parse_recipe = parse_recipe
    state.engine = make_engine(
        settings.database_url, pool_size=settings.database_pool_size, max_overflow=settings.database_max_overflow
    )
    state.sessions = sessions(state.engine)
    keep_columns(state.sessions, settings.history_rows_in_memory)
    state.metrics = Metrics(state.sessions)
    state.sampler = Sampler(settings, state.sessions, state.metrics.registry)
    state.watch = Watch(settings, state.sessions, parse_recipe)
    state.drawn = Drawn()
    state.problem_page = problem_page
    state.exports = Exports(settings.max_exports)
    state.tracing = Tracing() if settings.tracing else None
    opener = partial(
        _open_engine,
        settings=settings,
        aliases=resolver(state.sessions),
        metrics=state.metrics.engine,
        tracing=state.tracing,
    )
    stage = state.tracing.stage if state.tracing else unnamed
    state.scoring = ScoringService(settings.open_artifacts(), opener, stage)
    state.owner = owner
    state.local_only = local_only
    state.keyring = Keyring(state.sessions)
    state.pinned = Pinned(state.scoring, settings.pinned)
    state.dispatcher = Dispatcher(settings, state.sessions, executor or _executor(settings))
    _add_middleware(app, settings)
    add_problem_handlers(app)
    compat.speak_around_routes(app)
    app.openapi = partial(describe, app)  # type: ignore[method-assign]
    return app


@cache
def _routes() -> list[BaseRoute]:
    """The same for each application of a process: FastAPI reads the signatures of what is included at its first use."""
    everything = APIRouter(responses=PROBLEM_RESPONSES)
    for router in ROUTERS:
        strict = router.prefix.startswith("/v1")
        checks = [no_nul, only_known_parameters] if strict else [no_nul]
        everything.include_router(router, dependencies=[Depends(check) for check in checks])
    return everything.routes


def _executor(settings: Settings) -> Executor:
    if settings.executor == "ray":
        return RayExecutor(settings.artifact_dir, settings.ray_address, storage_url=settings.storage_url)
    return LocalExecutor(settings.artifact_dir, storage_url=settings.storage_url)


def _open_engine(
    artifacts: ArtifactStore,
    *,
    settings: Settings,
    aliases: Callable[[str], str | None],
    metrics: EngineMetrics,
    tracing: Tracing | None,
) -> "ScoringEngine":
    engine = open_engine(
        artifacts,
        resolve_alias=aliases,
        meter=tracing.meter(metrics) if tracing else metrics,
        max_waiting_pairs=settings.max_waiting_pairs,
        room_for_models=lambda device: settings.model_memory_bytes or room_for_models(device),
        deterministic=settings.deterministic,
        on_gpu=settings.scores_on_gpu,
    )
    metrics.watch_line(lambda: engine.waiting)
    return engine


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """From the innermost, which sees a request last, to the outermost."""
    app.add_middleware(
        Deadline,
        seconds=settings.request_timeout_seconds,
        under_way=app.state.under_way,
        answer=lambda request, stopping: shutting_down(request) if stopping else timed_out(request),
    )
    app.add_middleware(Bodies, max_bytes=settings.max_body_bytes, timeout_seconds=settings.body_timeout_seconds)
    app.add_middleware(Identify)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "HEAD", "POST", "PUT", "DELETE"],
            allow_headers=[
                "authorization",
                "x-api-key",
                "content-type",
                "idempotency-key",
                "if-none-match",
                "last-event-id",
            ],
            expose_headers=["x-request-id", "retry-after", "location", "etag"],
        )
    tracing: Tracing | None = app.state.tracing
    named = (tracing.request,) if tracing else ()
    app.add_middleware(Head)
    app.add_middleware(RequestContext, finished=(app.state.metrics.requests.observe, log_request, *named))
    if tracing:
        app.add_middleware(tracing.around)
    if settings.root_path:
        app.add_middleware(Prefix, root_path=settings.root_path)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state = app.state
    try:
        await to_thread.run_sync(check, state.engine)
        if state.settings.job_slots > 0:
            state.dispatcher.start()
            state.scoring.start()  # in the background: importing torch takes seconds
        state.watch.start()
        async with state.pinned.loading():
            yield
    finally:
        await to_thread.run_sync(state.sampler.stop)
        await to_thread.run_sync(state.watch.stop)
        await to_thread.run_sync(state.dispatcher.stop)
        await to_thread.run_sync(state.scoring.close)
        await to_thread.run_sync(state.keyring.close)
        state.engine.dispose()
        if state.tracing:
            await to_thread.run_sync(state.tracing.close)
