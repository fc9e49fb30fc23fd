"""Training jobs: a recipe in, a job that becomes artifacts."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import Field

from service.access import needs
from service.db.queries import get_job, list_jobs
from service.db.records import JobRecord, Page
from service.jobs.kinds import TRAINING_KINDS, require_kind
from service.routes.lifecycle import DryRun, IdempotencyKey, ListFilters, Validated, lifecycle_router, submit_body
from service.submission import planned

router = APIRouter(prefix="/v1/training-jobs", tags=["training jobs"], dependencies=[needs("read", changes="train")])


class Planned(Validated):
    """A recipe as it would run, with its data, steps and memory as far as they are known before it does."""

    report: dict[str, Any]


@router.post("", status_code=202, responses={200: {"model": Planned, "description": "A dry run's answer"}})
def post_training_job(
    content: Annotated[dict[str, Any], Body()],
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
    dry_run: DryRun = False,
) -> JobRecord | Planned:
    """Queue a training recipe. A dry run reads its files and says how many steps and how much memory it needs."""
    answer = submit_body(request, response, content, TRAINING_KINDS, idempotency_key, dry_run, get_job)
    if isinstance(answer, Validated):
        report = planned(request.app.state, request.app.state.parse_recipe(content))
        return Planned(**answer.model_dump(), report=report.model_dump(mode="json"))
    return answer


class TrainingJobFilters(ListFilters):
    """Which training jobs to list."""

    kind: list[str] = Field([])
    """Recipe kinds; any of them."""


@router.get("")
def get_training_jobs(request: Request, filters: Annotated[TrainingJobFilters, Query()]) -> Page[JobRecord]:
    """Training jobs, newest first."""
    for kind in filters.kind:
        require_kind({"kind": kind}, TRAINING_KINDS)
    where = filters.job_filter(tuple(filters.kind) or TRAINING_KINDS)
    with request.app.state.sessions() as session:
        return list_jobs(session, where, cursor=filters.cursor, limit=filters.limit)


@router.get("/{job_id}")
def get_training_job(job_id: str, request: Request) -> JobRecord:
    """One job: its state, how far it is, what it published."""
    with request.app.state.sessions() as session:
        return get_job(session, job_id, TRAINING_KINDS)


router.include_router(lifecycle_router(TRAINING_KINDS))
