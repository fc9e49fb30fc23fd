"""The list of jobs and the page of one: how far it is, how its numbers move, what it said, and how to stop it."""

from typing import Annotated, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session

from service.access import may, needs
from service.dashboard.metrics import metric_rows
from service.dashboard.rendering import answer, back_to, failed, render
from service.dashboard.views import events_seen, seconds_taken, training_figures
from service.db import queries
from service.db.queries import JobFilter
from service.db.records import TERMINAL, JobStatus
from service.jobs.directory import log_tail
from service.jobs.kinds import EVALUATION_KINDS, STRESS_KINDS, TRAINING_KINDS
from service.jobs.queue import read_labels
from service.submission import cancel_job, resume_job
from trainer.errors import AssayError, InvalidInput

router = APIRouter(include_in_schema=False, dependencies=[needs("read", changes="train")])

_STATUSES: tuple[JobStatus, ...] = get_args(JobStatus)
_KINDS = (*TRAINING_KINDS, *EVALUATION_KINDS)
_LOG_BYTES = 16_384
"""Of the log's end that the page shows; the API has all of it."""


@router.get("/jobs")
def jobs(
    request: Request,
    name: str = "",
    status: str = "",
    kind: str = "",
    label: str = "",
    cursor: Annotated[str | None, Query()] = None,
) -> Response:
    """Jobs, newest first, those that fit the filter."""

    def page(session: Session) -> Response:
        found = queries.list_jobs(session, _filter(name.strip(), status, kind, label), cursor=cursor, limit=50)
        chosen = {"name": name, "status": status, "kind": kind, "label": label}
        under_way = any(job.status not in TERMINAL for job in found.data)
        return render(
            request,
            "jobs.html",
            here="jobs",
            jobs=[(job, seconds_taken(job)) for job in found.data],
            chosen=chosen,
            filtered=any(chosen.values()),
            statuses=_STATUSES,
            kinds=_KINDS,
            older=_address(**chosen, cursor=found.next) if found.next else None,
            refresh_seconds=None if cursor else 3 if under_way else 15,
            may_train=may(request, "train"),
        )

    return answer(request, page)


@router.get("/jobs/{job_id}")
def job(request: Request, job_id: str) -> Response:
    """One job, live while it is under way."""

    def page(session: Session) -> Response:
        record = queries.get_job(session, job_id)
        rows = metric_rows(queries.list_metrics(session, job_id, max_points=120))
        seen = events_seen(session, [record])
        figures = training_figures(session, job_id) if rows else []
        session.close()  # the log may be far away
        return render(
            request,
            "job.html",
            here="jobs",
            job=record,
            seen=seen,
            taken=seconds_taken(record),
            metrics=rows,
            figures=figures,
            log=_lines(log_tail(request.app.state.settings, record.id, _LOG_BYTES)),
            trains=record.kind in TRAINING_KINDS,
            evaluates=record.kind in EVALUATION_KINDS,
            repeatable=record.kind in (*TRAINING_KINDS, *STRESS_KINDS),
            may_train=may(request, "train"),
        )

    return answer(request, page)


@router.post("/jobs/{job_id}/cancel")
def cancel(request: Request, job_id: str) -> Response:
    """As the API's, and back to the job."""
    try:
        cancel_job(request.app.state, job_id)
    except AssayError as error:
        return failed(request, error)
    return back_to(request, f"/jobs/{job_id}")


@router.post("/jobs/{job_id}/resume")
def resume(request: Request, job_id: str) -> Response:
    """As the API's, and back to the job."""
    try:
        resume_job(request.app.state, job_id)
    except AssayError as error:
        return failed(request, error)
    return back_to(request, f"/jobs/{job_id}")


def _filter(name: str, status: str, kind: str, label: str) -> JobFilter:
    """What the form asks for; its empty fields ask for nothing. Raises InvalidInput."""
    if kind and kind not in _KINDS:
        raise InvalidInput(f"kind {kind!r} is none of {', '.join(_KINDS)}")
    known = next((each for each in _STATUSES if each == status), None)
    if status and known is None:
        raise InvalidInput(f"status {status!r} is none of {', '.join(_STATUSES)}")
    return JobFilter(
        kinds=[kind] if kind else None,
        status=known,
        labels=read_labels([label] if label else []),
        part_of_name=name or None,
    )


def _address(**fields: str) -> str:
    return urlencode({name: value for name, value in fields.items() if value})


def _lines(log: str) -> str:
    """Without what is left of the first line where the log was cut, and with progress bars as they ended."""
    whole = log if len(log.encode()) < _LOG_BYTES else log.partition("\n")[2]
    return "\n".join(line.rpartition("\r")[2] for line in whole.split("\n"))
