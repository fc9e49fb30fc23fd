"""A typed client of a running Assay server. Light: it imports neither torch nor the server.

```python
with Client("http://127.0.0.1:8000") as client:
    answer = client.score(ScoreRequest(scorers=["helpfulness"], items=[{"prompt": "...", "response": "..."}]))
```
"""

import json
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import httpx

from service.db.records import EventRecord, JobRecord
from service.score_schema import AttributionAnswer, AttributionRequest, ScoreAnswer, ScoreRequest
from trainer.errors import AssayError, InvalidInput, NotFound, RunFailed, error_of

TRAINING, STRESS_TESTS, AUDITS = "/v1/training-jobs", "/v1/stress-tests", "/v1/audits"

KEY_VARIABLE = "ASSAY_API_KEY"

_RUN = "run_"
"""How the ids of what evaluates begin."""


class Client:
    """Speaks the API. Every failure is one of ``trainer.errors``, the same class the server raised.

    ``api_key`` is what servers with keys ask for, ASSAY_API_KEY of the environment unless given. ``transport`` replaces
    the network, for an application in this process.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_seconds: float = 300.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        key = api_key or os.environ.get(KEY_VARIABLE)
        if key is not None and not (key.isascii() and key.isprintable()):
            raise InvalidInput(f"{KEY_VARIABLE} holds no key; `assay keys create` makes one")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=self._url, timeout=timeout_seconds, transport=transport, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def score(self, request: ScoreRequest) -> ScoreAnswer:
        """Scores in the request's order."""
        return ScoreAnswer.model_validate(self.post("/v1/scores", request.model_dump(mode="json", exclude_none=True)))

    def attribute(self, request: AttributionRequest) -> AttributionAnswer:
        """What each constraint of one prompt does to a response's score."""
        body = request.model_dump(mode="json", exclude_none=True)
        return AttributionAnswer.model_validate(self.post("/v1/attributions", body))

    def scorers(self) -> list[dict[str, Any]]:
        """What can score."""
        data: list[dict[str, Any]] = self.get("/v1/scorers")["data"]
        return data

    def jobs(self, *, status: str | None = None, limit: int = 100) -> list[JobRecord]:
        """Training jobs, stress tests and audits, newest first."""
        found = [
            JobRecord.model_validate(row)
            for path in (TRAINING, STRESS_TESTS, AUDITS)
            for row in self.get(path, status=status, limit=limit)["data"]
        ]
        return sorted(found, key=lambda job: job.created_at, reverse=True)[:limit]

    def job(self, job_id: str) -> JobRecord:
        """One job. Raises NotFound."""
        try:
            return JobRecord.model_validate(self.get(_path_of(job_id)))
        except NotFound:
            if not job_id.startswith(_RUN):
                raise
            return JobRecord.model_validate(self.get(f"{AUDITS}/{job_id}"))

    def submit(self, recipe: dict[str, Any]) -> JobRecord:
        """Queue a recipe. Raises InvalidInput pointing at the wrong field."""
        path = STRESS_TESTS if recipe.get("kind") == "stress_test" else TRAINING
        return JobRecord.model_validate(self.post(path, recipe))

    def cancel(self, job_id: str) -> JobRecord:
        """Ask a job to stop; its checkpoint stays. Raises Conflict if it has ended."""
        return JobRecord.model_validate(self.post(f"{_path_of(job_id)}/cancel"))

    def resume(self, job_id: str) -> JobRecord:
        """Queue a stopped or failed job again. Raises Conflict if it has not ended."""
        return JobRecord.model_validate(self.post(f"{_path_of(job_id)}/resume"))

    def events(self, job_id: str) -> Iterator[EventRecord]:
        """What happened in a job so far, oldest first."""
        after = 0
        while page := self.get(f"{_path_of(job_id)}/events", after=after, limit=500)["data"]:
            events = [EventRecord.model_validate(row) for row in page]
            yield from events
            after = events[-1].sequence

    def logs(self, job_id: str) -> str:
        """What a job's process said."""
        return self._send("GET", f"{_path_of(job_id)}/logs").text

    def get(self, path: str, **query: str | int | None) -> Any:  # noqa: ANN401 - any JSON
        """The JSON at ``path``."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._send("GET", path, params=given).json()

    def post(self, path: str, body: Any = None) -> Any:  # noqa: ANN401 - any JSON
        """Send JSON, return JSON."""
        if body is None:
            return self._send("POST", path).json()
        # escaped as ASCII: half a surrogate pair is then the server's to judge, not a crash here
        content = json.dumps(body)
        return self._send("POST", path, content=content, headers={"content-type": "application/json"}).json()

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own
        try:
            answer = self._http.request(method, path, **arguments)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise InvalidInput(f"{self._url} is not an address; write http://HOST:PORT") from error
        except httpx.TimeoutException as error:
            raise RunFailed(f"{self._url} did not answer in time") from error
        except httpx.HTTPError as error:
            raise RunFailed(f"cannot reach {self._url} ({error}); is `assay serve` running there?") from error
        if answer.is_success:
            return answer
        raise _failure(answer, self._url)


def _path_of(job_id: str) -> str:
    """Ids tell what they are: ``run_...`` evaluates, anything else trains. Raises InvalidInput for no id at all."""
    if not job_id.isascii() or not job_id.replace("_", "").isalnum():
        raise InvalidInput(f"{job_id!r} is not a job's id; `assay jobs list` shows them")
    return f"{STRESS_TESTS if job_id.startswith(_RUN) else TRAINING}/{job_id}"


def _failure(answer: httpx.Response, url: str) -> AssayError:
    try:
        problem = answer.json()
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return RunFailed(f"{url} answered {answer.status_code} without saying why; is it an Assay server?")
    pointers = [error.get("pointer") for error in problem.get("errors", [])]
    return error_of(code, detail, pointer=pointers[0] if pointers else None)
