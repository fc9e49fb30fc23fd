"""What every kind of job answers: submission, events, metrics, logs, cancel and resume."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import anyio
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session, sessionmaker
from starlette.datastructures import State

from service import submission
from service.access import caller_of
from service.db.pages import DEFAULT_LIMIT, MAX_LIMIT
from service.db.queries import JobFilter, find_job, get_job, list_events, list_metrics
from service.db.records import TERMINAL, EventRecord, JobRecord, JobStatus, MetricSeries, Page
from service.jobs.directory import log_tail
from service.jobs.queue import read_labels
from service.settings import Settings
from service.submission import accept, queue
from trainer.errors import InvalidInput

_KEEP_ALIVE_SECONDS = 15.0
_STREAMED = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""The second keeps nginx from holding events back."""

Shown = TypeVar("Shown", bound=JobRecord)

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Cursor = Annotated[str | None, Query(description="`next` of the page before")]
DryRun = Annotated[bool, Query(description="validate only; nothing is stored")]
IdempotencyKey = Annotated[
    str | None, Header(description="the same key with the same recipe gives the same job, however often it is sent")
]


def _utc(time: datetime) -> datetime:
    try:
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("this is no year in UTC") from error


UtcTime = Annotated[datetime, AfterValidator(_utc)]


class Validated(BaseModel):
    """A recipe as it would run, every default written out."""

    recipe: dict[str, Any]
    recipe_digest: str


class ListFilters(BaseModel):
    """Which jobs to list."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    status: JobStatus | None = None
    name: str | None = None
    label: Annotated[list[str], Field(max_length=100)] = []
    """``key=value``; all of them must hold."""
    created_after: UtcTime | None = None
    created_before: UtcTime | None = None
    cursor: str | None = None
    """``next`` of the page before."""
    limit: Limit = DEFAULT_LIMIT

    def job_filter(self, kinds: tuple[str, ...]) -> JobFilter:
        """The same, for queries. Raises as ``read_labels``."""
        return JobFilter(
            kinds=kinds,
            status=self.status,
            name=self.name,
            labels=read_labels(self.label),
            created_after=self.created_after,
            created_before=self.created_before,
        )


def submit_body(
    request: Request,
    response: Response,
    content: dict[str, Any],
    kinds: tuple[str, ...],
    key: str | None,
    dry_run: bool,
    show: Callable[[Session, str], Shown],
) -> Shown | Validated:
    """Validate a recipe and, unless it is a dry run, queue it: what ``show`` tells of its job, and its Location."""
    recipe = accept(request.app.state, content, kinds)
    if dry_run:
        response.status_code = 200
        return Validated(recipe=recipe.model_dump(mode="json"), recipe_digest=recipe.digest())
    job_id = queue(request.app.state, caller_of(request), recipe, key)
    response.headers["Location"] = f"{request.url.path}/{job_id}"
    with request.app.state.sessions() as session:
        return show(session, job_id)


def lifecycle_router(kinds: tuple[str, ...]) -> APIRouter:
    """Routes below ``/{job_id}`` for jobs of ``kinds``; to be included behind a prefix."""
    router = APIRouter()

    @router.post("/{job_id}/cancel", status_code=202)
    def cancel_job(job_id: str, request: Request) -> JobRecord:
        """Cancel a waiting job, or ask a running one to save a checkpoint and stop."""
        submission.cancel_job(request.app.state, job_id, kinds)
        return _job(request, job_id)

    @router.post("/{job_id}/resume", status_code=202)
    def resume_job(job_id: str, request: Request) -> JobRecord:
        """Queue a cancelled, failed or lost job again; it continues from its last checkpoint."""
        submission.resume_job(request.app.state, job_id, kinds)
        return _job(request, job_id)

    @router.get("/{job_id}/events", response_model=Page[EventRecord], responses=_EVENT_STREAM)
    def get_events(
        job_id: str,
        request: Request,
        after: Annotated[int | None, Query(ge=0, lt=2**63, description="sequence number to begin after")] = None,
        limit: Limit = DEFAULT_LIMIT,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Page[EventRecord] | Response:
        """What happened, oldest first: a page, or with `Accept: text/event-stream` a stream that follows the job."""
        sessions: sessionmaker[Session] = request.app.state.sessions
        # a browser that reconnects sends what it saw last, to the address it began with
        seen = _sequence(last_event_id) if last_event_id is not None else after or 0
        with sessions() as session:
            status = find_job(session, job_id, kinds).status
            events = list_events(session, job_id, after=seen, limit=limit)
        if "text/event-stream" not in request.headers.get("accept", ""):
            return Page(data=events, next=str(events[-1].sequence) if len(events) == limit else None)
        if status in TERMINAL and not events and last_event_id is not None:
            return Response(status_code=204)  # tells a browser that reconnects to leave it
        stream = _follow(request.app.state, job_id, seen)
        return StreamingResponse(stream, media_type="text/event-stream", headers=_STREAMED)

    @router.get("/{job_id}/metrics")
    def get_metrics(
        job_id: str,
        request: Request,
        name: Annotated[list[str], Query(description="only these metrics")] = [],  # noqa: B006 - FastAPI copies it
        max_points: Annotated[int, Query(ge=2, le=5000)] = 500,
    ) -> Page[MetricSeries]:
        """Every metric over its steps, thinned to `max_points` measured points each."""
        with request.app.state.sessions() as session:
            find_job(session, job_id, kinds)
            return Page(data=list_metrics(session, job_id, names=name, max_points=max_points), next=None)

    @router.get("/{job_id}/logs", response_class=PlainTextResponse)
    def get_logs(
        job_id: str, request: Request, tail_bytes: Annotated[int, Query(ge=1, le=10_000_000)] = 65_536
    ) -> PlainTextResponse:
        """The end of what the job's process wrote."""
        with request.app.state.sessions() as session:
            find_job(session, job_id, kinds)
        settings: Settings = request.app.state.settings
        return PlainTextResponse(log_tail(settings, job_id, tail_bytes))

    return router


_EVENT_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
    204: {"description": "The stream has ended; do not reconnect"},
}


def _job(request: Request, job_id: str) -> JobRecord:
    with request.app.state.sessions() as session:
        return get_job(session, job_id)


def _sequence(last_event_id: str) -> int:
    if not last_event_id.isdecimal() or len(last_event_id) > 18:
        raise InvalidInput("Last-Event-ID: send back the id of an event of this stream")
    return int(last_event_id)


async def _follow(state: State, job_id: str, after: int) -> AsyncIterator[str]:
    """Server-sent events until the job has ended; the last one is ``end`` with the job's status.

    A server that stops ends the stream without it, so that clients come back.
    """
    sessions: sessionmaker[Session] = state.sessions
    poll_seconds: float = state.settings.poll_seconds

    def read() -> tuple[str, list[EventRecord]]:
        with sessions() as session:
            # the status first: once it is terminal, all events are stored
            return find_job(session, job_id).status, list_events(session, job_id, after=after, limit=MAX_LIMIT)

    silent = 0.0
    while not state.stopping.is_set():
        status, events = await anyio.to_thread.run_sync(read)
        for event in events:
            after = event.sequence
            yield f"id: {event.sequence}\nevent: {event.type}\ndata: {event.model_dump_json()}\n\n"
        if events:
            silent = 0.0
            continue
        if status in TERMINAL:
            yield f'event: end\ndata: {{"status": "{status}"}}\n\n'
            return
        if silent >= _KEEP_ALIVE_SECONDS:
            silent = 0.0
            yield ": nothing new\n\n"
        silent += poll_seconds
        await anyio.sleep(poll_seconds)
