"""The client for threads: each call waits for its answer."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from service.client.awaiting import AsyncAssayClient, Item
from service.client.requests import Patience, closed
from service.db.records import EventRecord, JobRecord
from service.score_schema import AttributionAnswer, AttributionRequest, OnOverlong, ScoreAnswer, ScoreRequest, Urgency
from trainer.errors import RunFailed

Answer = TypeVar("Answer")


class AssayClient:
    """Speaks the API. Every failure is one of ``trainer.errors``, the same class the server raised.

    Any number of threads may share one: their scores are joined into few requests. The work is done by an
    ``AsyncAssayClient`` in a thread of its own, which ends with the process or at ``close``; a forked child needs a
    client of its own.
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
        """As ``AsyncAssayClient``."""
        self._client = AsyncAssayClient(
            url,
            api_key=api_key,
            timeout_seconds=timeout_seconds,
            patience=patience,
            window_seconds=window_seconds,
            max_requests=max_requests,
            transport=transport,
        )
        self._lock = threading.Lock()  # held while a call is handed over: it comes before the closing or is refused
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="assay-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back; what other threads have under way fails with RunFailed."""
        if not self._thread.is_alive():  # closed, or of the process that forked this one
            return
        with self._lock:
            first, self._closed = not self._closed, True
        if not first:
            self._thread.join()
            return
        try:
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _end(self) -> None:
        """Nobody may be left waiting for a loop that has stopped."""
        under_way = asyncio.all_tasks() - {asyncio.current_task()}
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._client.close()

    def score(self, request: ScoreRequest) -> ScoreAnswer:
        """Scores in the request's order."""
        return self._wait(self._client.score, request)

    def score_items(
        self,
        scorers: Sequence[str],
        items: Sequence[Item],
        on_overlong: OnOverlong = "error",
        priority: Urgency = "interactive",
    ) -> ScoreAnswer:
        """As ``score``, of any number of items. Raises InvalidInput pointing at the wrong one, `/items/3/prompt`."""
        return self._wait(self._client.score_items, scorers, items, on_overlong, priority)

    def attribute(self, request: AttributionRequest) -> AttributionAnswer:
        """What each constraint of one prompt does to a response's score."""
        return self._wait(self._client.attribute, request)

    def scorers(self) -> list[dict[str, Any]]:
        """What can score."""
        return self._wait(self._client.scorers)

    def jobs(self, *, status: str | None = None, limit: int = 100) -> list[JobRecord]:
        """Jobs of every kind, newest first."""
        return self._wait(lambda: self._client.jobs(status=status, limit=limit))

    def job(self, job_id: str) -> JobRecord:
        """One job. Raises NotFound."""
        return self._wait(self._client.job, job_id)

    def submit(self, recipe: dict[str, Any], idempotency_key: str | None = None) -> JobRecord:
        """Queue a recipe, once however often it has to be sent. Raises InvalidInput pointing at the wrong field.

        With an ``idempotency_key`` of your own a later call finds the job that an earlier one made; Conflict where that
        was of another recipe.
        """
        return self._wait(self._client.submit, recipe, idempotency_key)

    def cancel(self, job_id: str) -> JobRecord:
        """Ask a job to stop; its checkpoint stays. Raises Conflict if it has ended."""
        return self._wait(self._client.cancel, job_id)

    def resume(self, job_id: str) -> JobRecord:
        """Queue a stopped or failed job again. Raises Conflict if it has not ended."""
        return self._wait(self._client.resume, job_id)

    def events(self, job_id: str) -> Iterator[EventRecord]:
        """What happened in a job so far, oldest first."""
        after = 0
        while page := self._wait(self._client.events_page, job_id, after):
            yield from page
            after = page[-1].sequence

    def logs(self, job_id: str) -> str:
        """What a job's process said."""
        return self._wait(self._client.logs, job_id)

    def get(self, path: str, **query: str | int | None) -> Any:  # noqa: ANN401 - any JSON
        """The JSON at ``path``."""
        return self._wait(lambda: self._client.get(path, **query))

    def post(self, path: str, body: Any = None) -> Any:  # noqa: ANN401 - any JSON
        """Send JSON, return JSON."""
        return self._wait(self._client.post, path, body)

    def _wait(self, call: Callable[..., Coroutine[Any, Any, Answer]], *arguments: Any) -> Answer:  # noqa: ANN401
        if not self._thread.is_alive() and not self._closed:
            raise RunFailed("this client belongs to the process that forked this one; open another")
        with self._lock:
            if self._closed:
                raise closed()
            future = asyncio.run_coroutine_threadsafe(call(*arguments), self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise closed() from None
        except BaseException:
            future.cancel()
            raise
