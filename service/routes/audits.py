"""Audits that ran: `assay audit` records them here."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from service.db.queries import get_job, list_jobs
from service.db.records import JobRecord, Page
from service.jobs.kinds import AUDIT_KINDS
from service.routes.lifecycle import ListFilters, lifecycle_router

router = APIRouter(prefix="/v1/audits", tags=["audits"])


@router.get("")
def get_audits(request: Request, filters: Annotated[ListFilters, Query()]) -> Page[JobRecord]:
    """Audits in any state, newest first."""
    with request.app.state.sessions() as session:
        return list_jobs(session, filters.job_filter(AUDIT_KINDS), cursor=filters.cursor, limit=filters.limit)


@router.get("/{job_id}")
def get_audit(job_id: str, request: Request) -> JobRecord:
    """One audit; its result holds every estimate."""
    with request.app.state.sessions() as session:
        return get_job(session, job_id, AUDIT_KINDS)


router.include_router(lifecycle_router(AUDIT_KINDS))
