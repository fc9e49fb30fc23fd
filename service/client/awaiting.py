"""The client for an event loop."""

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

import httpx
from pydantic import BaseModel, ValidationError

from service.client.addresses import (
    ATTRIBUTIONS,
    OTHERS,
    SCORERS,
    SCORES,
    STRESS_TESTS,
    TRAINING,
    is_run,
    path_for,
    path_of,
)
from service.client.joining import Joining
from service.client.requests import Patience, Requests
from service.db.records import EventRecord, JobRecord
from service.score_schema import (
    AttributionAnswer,
    AttributionRequest,
    OnOverlong,
    ScoreAnswer,
    ScoreItem,
    ScoreRequest,
    Urgency,
)
from trainer.errors import InvalidInput, NotFound
from trainer.json_pointer import error_pointer

Row = TypeVar("Row")
Item = ScoreItem | Mapping[str, Any]
"""`{"prompt": ..., "response": ...}` or `{"prompt": ..., "responses": [...]}`, with or without `id`."""


class _Listed(BaseModel, Generic[Row]):
    data: list[Row]
    next: str | None = None


class AsyncAssayClient:
    """Speaks the API. Every failure is one of ``trainer.errors``, the same class the server raised.

    Calls may overlap as they like: those that score are joined into few requests, connections are kept, and what a
    server cannot answer at the moment is asked again. It belongs to the event loop that uses it first.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_seconds: float = 300.0,
        patience: Patience = Patience(),  # noqa: B008 - frozen
        window_seconds: float = 0.003,
        max_requests: int = 8,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """``api_key`` is what servers with keys ask for, ASSAY_API_KEY of the environment unless given.

        ``window_seconds`` is how long scores wait for others to travel with, ``max_requests`` how many requests of
        them travel at once; ``transport`` replaces the network, for an application in this process.
        """
        self._requests = Requests(
            url, api_key=api_key, timeout_seconds=timeout_seconds, patience=patience, transport=transport
        )
        self._joining = Joining(self._score, window_seconds=window_seconds, max_requests=max_requests)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give the connections back; what is under way fails."""
        await self._joining.close()
        await self._requests.close()

    async def score(self, request: ScoreRequest) -> ScoreAnswer:
        """Scores in the request's order."""
        return await self._joining.score(request.scorers, request.items, request.on_overlong, request.priority)

    async def score_items(
        self,
        scorers: Sequence[str],
        items: Sequence[Item],
        on_overlong: OnOverlong = "error",
        priority: Urgency = "interactive",
    ) -> ScoreAnswer:
        """As ``score``, of any number of items. Raises InvalidInput pointing at the wrong one, `/items/3/prompt`."""
        if not items:
            raise InvalidInput("there is nothing to score", pointer="/items")
        checked = [_checked(item, position) for position, item in enumerate(items)]
        manner = {"scorers": list(scorers), "items": checked[:1], "on_overlong": on_overlong, "priority": priority}
        try:
            ScoreRequest.model_validate(manner)
        except ValidationError as error:
            raise _invalid(error, manner, "") from error
        return await self._joining.score(scorers, checked, on_overlong, priority)

    async def attribute(self, request: AttributionRequest) -> AttributionAnswer:
        """What each constraint of one prompt does to a response's score."""
        body = request.model_dump(mode="json", exclude_none=True)
        return self._requests.read(await self._requests.post(ATTRIBUTIONS, body), AttributionAnswer)

    async def scorers(self) -> list[dict[str, Any]]:
        """What can score, all of it."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = self._requests.read(await self._requests.get(SCORERS, cursor=cursor), _Listed[dict[str, Any]])
            found += page.data
            if (cursor := page.next) is None:
                return found

    async def jobs(self, *, status: str | None = None, limit: int = 100) -> list[JobRecord]:
        """Jobs of every kind, newest first."""
        found = [
            job
            for path in (TRAINING, STRESS_TESTS, *dict.fromkeys(OTHERS.values()))
            for job in self._requests.read(
                await self._requests.get(path, status=status, limit=limit), _Listed[JobRecord]
            ).data
        ]
        return sorted(found, key=lambda job: job.created_at, reverse=True)[:limit]

    async def job(self, job_id: str) -> JobRecord:
        """One job. Raises NotFound."""
        path = path_of(job_id)
        others = dict.fromkeys(OTHERS.values()) if is_run(job_id) else ()
        for each in (path, *(f"{other}/{job_id}" for other in others)):
            try:
                return self._requests.read(await self._requests.get(each), JobRecord)
            except NotFound as error:
                missing = error
        raise missing

    async def submit(self, recipe: dict[str, Any], idempotency_key: str | None = None) -> JobRecord:
        """Queue a recipe, once however often it has to be sent. Raises InvalidInput pointing at the wrong field.

        With an ``idempotency_key`` of your own a later call finds the job that an earlier one made; Conflict where that
        was of another recipe.
        """
        once_by = idempotency_key or str(uuid.uuid4())
        return self._requests.read(await self._requests.post(path_for(recipe), recipe, once_by), JobRecord)

    async def cancel(self, job_id: str) -> JobRecord:
        """Ask a job to stop; its checkpoint stays. Raises Conflict if it has ended."""
        return self._requests.read(await self._requests.post(f"{path_of(job_id)}/cancel"), JobRecord)

    async def resume(self, job_id: str) -> JobRecord:
        """Queue a stopped or failed job again. Raises Conflict if it has not ended."""
        return self._requests.read(await self._requests.post(f"{path_of(job_id)}/resume"), JobRecord)

    async def events(self, job_id: str, after: int = 0) -> AsyncIterator[EventRecord]:
        """What happened in a job so far, oldest first, from the one that follows number ``after``."""
        while page := await self.events_page(job_id, after):
            for event in page:
                yield event
            after = page[-1].sequence

    async def events_page(self, job_id: str, after: int = 0) -> list[EventRecord]:
        """The next few hundred of them."""
        page = await self._requests.get(f"{path_of(job_id)}/events", after=after, limit=500)
        return self._requests.read(page, _Listed[EventRecord]).data

    async def logs(self, job_id: str) -> str:
        """What a job's process said."""
        return (await self._requests.get(f"{path_of(job_id)}/logs")).text

    async def get(self, path: str, **query: str | int | None) -> Any:  # noqa: ANN401 - any JSON
        """The JSON at ``path``."""
        return self._requests.read(await self._requests.get(path, **query), cast(type[Any], Any))

    async def post(self, path: str, body: Any = None) -> Any:  # noqa: ANN401 - any JSON
        """Send JSON, return JSON."""
        return self._requests.read(await self._requests.post(path, body), cast(type[Any], Any))

    async def _score(self, request: ScoreRequest) -> ScoreAnswer:
        answer = await self._requests.post(SCORES, request.model_dump(mode="json", exclude_defaults=True))
        return self._requests.read(answer, ScoreAnswer)


def _checked(item: Item, position: int) -> ScoreItem:
    if isinstance(item, ScoreItem):
        return item
    try:
        return ScoreItem.model_validate(item)
    except ValidationError as error:
        raise _invalid(error, item, f"/items/{position}") from error


def _invalid(error: ValidationError, content: object, place: str) -> InvalidInput:
    first = error.errors(include_url=False)[0]
    pointer = place + error_pointer(first, content)
    return InvalidInput(f"{pointer or 'request'}: {first['msg'].removeprefix('Value error, ')}", pointer=pointer)
