"""Requests that are sent again where that can do no harm, and failures that are the classes the server raised."""

import asyncio
import json
import os
import random
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from service.client.addresses import ATTRIBUTIONS, SCORES
from trainer.errors import AssayError, InvalidInput, RunFailed, error_of

KEY_VARIABLE = "ASSAY_API_KEY"

_HARMLESS = frozenset({SCORES, ATTRIBUTIONS, "/v1/comparisons"})
"""Posts that change nothing."""

_AGAIN = frozenset({429, 500, 502, 503, 504})
_CREDENTIALS = re.compile(r"(?<=//)[^/]*@")
Content = TypeVar("Content")


@dataclass(frozen=True)
class Patience:
    """How often and how long a request is tried."""

    attempts: int = 6
    """Tries in all; 1 never tries again."""
    pause_seconds: float = 0.5
    """Before the second try, twice that before the third and so on, each longer or shorter by up to a half."""
    longest_pause_seconds: float = 30.0
    """Unless Retry-After asks for more, as quotas do for minutes."""
    retry_seconds: float = 180.0
    """No try begins later than this: where Retry-After asks for a later one, the failure is told at once."""

    def pause(self, attempt: int, retry_after: float | None) -> float:
        """Seconds to wait after try number ``attempt``, counted from 1: at least what the server asks for."""
        own = min(self.pause_seconds * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.5), self.longest_pause_seconds)
        # not all at once who were refused at once, nor much later than they were told
        asked = 0.0 if retry_after is None else retry_after + min(0.25 * retry_after, 5.0) * random.random()
        return max(own, asked)


class Requests:
    """Sends JSON over connections that stay open. Every failure is one of ``trainer.errors``."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None,
        timeout_seconds: float,
        patience: Patience,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self._url = _CREDENTIALS.sub("", url.rstrip("/"))  # as failures name it
        self._patience = patience
        key = api_key or os.environ.get(KEY_VARIABLE)
        if key is not None and not (key.isascii() and key.isprintable()):
            raise InvalidInput(f"{KEY_VARIABLE} holds no key; `assay keys create` makes one")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, 10.0))
        try:
            self._http = httpx.AsyncClient(base_url=url, timeout=timeout, transport=transport, headers=headers)
        except httpx.InvalidURL as error:
            raise self._no_address() from error

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def get(self, path: str, **query: str | int | None) -> httpx.Response:
        """Raises what the server raised; RunFailed where none answers."""
        given = {name: value for name, value in query.items() if value is not None}
        return await self._send("GET", path, params=given)

    async def post(self, path: str, body: Any = None, once_by: str | None = None) -> httpx.Response:  # noqa: ANN401 - any JSON
        """Send JSON. Raises as ``get``.

        What changes something is tried once, unless ``once_by``, its Idempotency-Key, lets the server know it again.
        """
        if body is None:
            return await self._send("POST", path)
        # escaped as ASCII: half a surrogate pair is then the server's to judge, not a crash here
        content, headers = json.dumps(body), {"content-type": "application/json"}
        if once_by is not None:
            headers["idempotency-key"] = once_by
        return await self._send("POST", path, content=content, headers=headers)

    async def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own
        patience = self._patience
        harmless = method == "GET" or path in _HARMLESS or "idempotency-key" in arguments.get("headers", {})
        tries = patience.attempts if harmless else 1
        until = time.monotonic() + patience.retry_seconds
        failure: AssayError
        for attempt in range(1, tries + 1):
            if self._http.is_closed:
                raise closed()
            try:
                answer = await self._http.request(method, path, **arguments)
            except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
                raise self._no_address() from error
            except httpx.HTTPError as error:
                failure, again, asked = self._no_answer(error), True, None
                failure.__cause__ = error
            else:
                if answer.is_success:
                    return answer
                failure, again = failure_of(answer, self._url), answer.status_code in _AGAIN
                asked = _retry_after(answer)
            pause = patience.pause(attempt, asked)
            if not again or attempt == tries or time.monotonic() + pause > until:
                raise failure
            await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def read(self, answer: httpx.Response, kind: type[Content]) -> Content:
        """What an answer says, as ``kind``. Raises RunFailed for what no server of this version would say."""
        try:
            return TypeAdapter(kind).validate_json(answer.content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            reason = ": ".join(filter(None, ("/".join(map(str, first["loc"])), first["msg"])))
            raise RunFailed(
                f"{self._url} answered {answer.status_code} and nothing that this client reads ({reason});"
                " is it an Assay server of this version?"
            ) from error

    def _no_address(self) -> InvalidInput:
        return InvalidInput(f"{self._url} is not an address; write http://HOST:PORT")

    def _no_answer(self, error: httpx.HTTPError) -> RunFailed:
        if isinstance(error, httpx.TimeoutException):
            return RunFailed(f"{self._url} did not answer in time")
        return RunFailed(f"cannot reach {self._url} ({error}); is `assay serve` running there?")


def closed() -> RunFailed:
    """What a call meets whose client was closed before it had its answer."""
    return RunFailed("this client was closed; open another")


def failure_of(answer: httpx.Response, url: str) -> AssayError:
    """The error that a problem stands for."""
    try:
        problem = answer.json()
        code, detail = str(problem["code"]), str(problem["detail"])
        errors = problem.get("errors", [])
        pointer = errors[0].get("pointer") if errors else None
    except (ValueError, KeyError, TypeError, AttributeError):
        if answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
            return InvalidInput(f"{url}, or a proxy before it, takes no request as large as this one; send it in parts")
        return RunFailed(f"{url} answered {answer.status_code} without saying why; is it an Assay server?")
    failure = error_of(code, detail, pointer=pointer)
    if answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE and isinstance(failure, RunFailed):
        return InvalidInput(detail, pointer=pointer)  # the code is HTTP's own, which is none of ours
    return failure


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds, in which Assay writes it; a proxy may write a date (RFC 9110, section 10.2.3)."""
    asked = answer.headers.get("retry-after", "")
    if asked.isascii() and asked.isdecimal():
        return float(asked)
    try:
        until = parsedate_to_datetime(asked)
        return max(0.0, (until.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):  # neither
        return None
