"""Win rates and benchmarks: jobs with no routes but every job's own. What they measured is in their correlations."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response

from service.access import needs
from service.db.queries import get_job, list_jobs
from service.db.records import JobRecord, Page
from service.jobs.kinds import BENCHMARK_KINDS, WIN_RATE_KINDS
from service.routes.lifecycle import DryRun, IdempotencyKey, ListFilters, Validated, lifecycle_router, submit_body


def _resource(name: str, one: str, kinds: tuple[str, ...]) -> APIRouter:
    """Routes below ``/v1/NAME``, a job there being called ``one``. Where there is one kind, bodies need not say it."""
    many = name.replace("-", " ")
    router = APIRouter(prefix=f"/v1/{name}", tags=[many], dependencies=[needs("read", changes="train")])
    usual = {"kind": kinds[0]} if len(kinds) == 1 else {}
    dry: dict[int | str, dict[str, Any]] = {200: {"model": Validated, "description": "A dry run's answer"}}

    @router.post("", status_code=202, responses=dry, summary=f"Queue a {one}")
    def post(
        content: Annotated[dict[str, Any], Body()],
        request: Request,
        response: Response,
        idempotency_key: IdempotencyKey = None,
        dry_run: DryRun = False,
    ) -> JobRecord | Validated:
        """The recipe is the body; files it names are the server's."""
        return submit_body(request, response, {**usual, **content}, kinds, idempotency_key, dry_run, get_job)

    @router.get("", summary=f"List {many}")
    def get_all(request: Request, filters: Annotated[ListFilters, Query()]) -> Page[JobRecord]:
        """In any state, newest first."""
        with request.app.state.sessions() as session:
            return list_jobs(session, filters.job_filter(kinds), cursor=filters.cursor, limit=filters.limit)

    @router.get("/{job_id}", summary=f"Show a {one}")
    def get_one(job_id: str, request: Request) -> JobRecord:
        """Its state, how far it is, what it found."""
        with request.app.state.sessions() as session:
            return get_job(session, job_id, kinds)

    router.include_router(lifecycle_router(kinds))
    return router


ROUTERS = (
    _resource("win-rates", "win rate", WIN_RATE_KINDS),
    _resource("benchmarks", "benchmark", BENCHMARK_KINDS),
)
