"""Audits: judged responses somebody already has, by path or in the body, become the stress test's statistics."""

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import ValidationError

from service.access import needs
from service.db.queries import get_job, list_jobs
from service.db.records import JobRecord, Page
from service.imports import heavy_imports
from service.jobs.kinds import AUDIT_KINDS
from service.routes.lifecycle import DryRun, IdempotencyKey, ListFilters, Validated, lifecycle_router, submit_body
from service.settings import Settings
from trainer.errors import InvalidInput
from trainer.files import write_atomically
from trainer.json_pointer import error_pointer

router = APIRouter(prefix="/v1/audits", tags=["audits"], dependencies=[needs("read", changes="train")])


@router.post("", status_code=202, responses={200: {"model": Validated, "description": "A dry run's answer"}})
def post_audit(
    content: Annotated[dict[str, Any], Body()],
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
    dry_run: DryRun = False,
) -> JobRecord | Validated:
    """Queue an audit: the recipe's `path` names a file of the server, or `rows` are judged responses themselves."""
    content = {"kind": AUDIT_KINDS[0], **content}
    if "rows" in content:
        content = _with_rows_kept(content, request.app.state.settings, dry_run)
    return submit_body(request, response, content, AUDIT_KINDS, idempotency_key, dry_run, get_job)


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


def _with_rows_kept(content: dict[str, Any], settings: Settings, dry_run: bool) -> dict[str, Any]:
    """The recipe with its rows in a file, so that the stored recipe stays small. Raises InvalidInput for a bad row.

    Equal rows are one file: a request sent again under its idempotency key is the same recipe.
    """
    with heavy_imports():
        from evaluation.judged import JudgedRow

    if "path" in content:
        raise InvalidInput("recipe: give either path or rows", pointer="/rows")
    rows = content["rows"]
    if not isinstance(rows, list) or not rows:
        raise InvalidInput("recipe at /rows: expected a list of judged responses, at least one", pointer="/rows")
    for position, row in enumerate(rows):
        try:
            JudgedRow.model_validate(row)
        except ValidationError as error:
            first = error.errors()[0]
            pointer = f"/rows/{position}{error_pointer(first, row)}"
            raise InvalidInput(f"recipe at {pointer}: {first['msg']}", pointer=pointer) from error
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path = _upload(settings, text)
    if not dry_run:
        try:
            os.utime(path)  # so that it is not taken for a leftover
        except FileNotFoundError:
            write_atomically(path, text)
    return {name: value for name, value in content.items() if name != "rows"} | {"path": str(path)}


def _upload(settings: Settings, text: str) -> Path:
    name = hashlib.sha256(text.encode()).hexdigest()
    return settings.uploads_dir.absolute() / f"{name}.jsonl"


router.include_router(lifecycle_router(AUDIT_KINDS))
