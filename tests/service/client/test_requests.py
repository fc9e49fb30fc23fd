"""What failed for a moment is asked again, what did harm or never will succeed is not."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from service.client import AssayClient, AsyncAssayClient, requests
from service.client.requests import Patience, failure_of
from trainer.errors import Conflict, InvalidInput, NotFound, Overloaded, QuotaExceeded, RunFailed

QUICK = Patience(pause_seconds=0.01)
FULL = httpx.Response(503, json={"code": "overloaded", "detail": "full"}, headers={"retry-after": "0"})
EMPTY = httpx.Response(200, json={"data": []})


class Script(httpx.AsyncBaseTransport):
    """Answers as it was told to, in order, the last for ever."""

    def __init__(self, answers: Iterable[httpx.Response | Exception]) -> None:
        self._answers = list(answers)
        self.seen: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        answer = self._answers[0] if len(self._answers) == 1 else self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers, request=request)


def client_of(script: Script, patience: Patience = QUICK, **settings: Any) -> AssayClient:
    return AssayClient("http://assay", transport=script, patience=patience, **settings)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch, clock: Callable[..., None]) -> list[float]:
    """Between two tries, in seconds of a clock that nothing else moves."""
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    clock(requests, monotonic=lambda: sum(made))
    monkeypatch.setattr(requests, "asyncio", SimpleNamespace(sleep=sleep))
    return made


@pytest.mark.parametrize(
    "failure", [FULL, httpx.Response(502, text="<html>"), httpx.ConnectError("refused"), httpx.ReadTimeout("slow")]
)
def test_what_failed_for_a_moment_is_asked_again(failure: httpx.Response | Exception) -> None:
    script = Script([failure, failure, EMPTY])

    with client_of(script) as client:
        assert client.scorers() == []
    assert len(script.seen) == 3


def test_tries_come_to_an_end_and_the_last_failure_is_told() -> None:
    script = Script([FULL])

    with (
        client_of(script, Patience(attempts=4, pause_seconds=0.001)) as client,
        pytest.raises(Overloaded, match="full"),
    ):
        client.scorers()
    assert len(script.seen) == 4


def test_no_try_begins_after_the_time_is_up(pauses: list[float]) -> None:
    script = Script([FULL])

    with (
        client_of(script, Patience(attempts=100, pause_seconds=0.1, retry_seconds=0.5)) as client,
        pytest.raises(Overloaded),
    ):
        client.scorers()
    # of 0.1, 0.2, 0.4 s and so on, each longer or shorter by up to a half, two or three fit into half a second
    assert sum(pauses) <= 0.5
    assert len(pauses) + 1 == len(script.seen) in {3, 4}


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 422])
def test_what_is_wrong_is_not_asked_again(status: int) -> None:
    script = Script([httpx.Response(status, json={"code": "not_found", "detail": "no"})])

    with client_of(script) as client, pytest.raises(NotFound):
        client.scorers()
    assert len(script.seen) == 1


def test_what_may_have_happened_is_not_sent_twice() -> None:
    for call in (lambda c: c.cancel("job_1"), lambda c: c.resume("job_1"), lambda c: c.post("/v1/aliases", {})):
        script = Script([httpx.ReadTimeout("slow")])
        with client_of(script) as client, pytest.raises(RunFailed, match="in time"):
            call(client)
        assert len(script.seen) == 1


def test_a_recipe_is_sent_again_under_one_key_of_its_own_or_the_callers() -> None:
    lost = [httpx.ReadTimeout("slow"), httpx.Response(409, json={"code": "conflict", "detail": "no"})]
    keys = []
    for given in (None, None, "nightly"):
        script = Script(lost)
        with client_of(script) as client, pytest.raises(Conflict):
            client.submit({"kind": "sft"}, given)
        first, second = (request.headers["idempotency-key"] for request in script.seen)
        assert first == second
        keys.append(first)
    assert len(set(keys)) == 3
    assert keys[2] == "nightly"


def test_pauses_double_and_differ_and_are_no_shorter_than_the_server_asks() -> None:
    patience = Patience(pause_seconds=1.0, longest_pause_seconds=30.0)

    for attempt, least, most in ((1, 0.5, 1.5), (2, 1.0, 3.0), (3, 2.0, 6.0), (9, 30.0, 30.0)):
        pauses = [patience.pause(attempt, None) for _ in range(200)]
        assert least <= min(pauses) <= max(pauses) <= most
        assert attempt == 9 or max(pauses) - min(pauses) > 0.5 * (most - least)
    assert all(7 <= patience.pause(1, 7.0) <= 8.75 for _ in range(200))
    assert all(3600 <= patience.pause(1, 3600.0) <= 3605 for _ in range(200))  # as quotas ask


def test_who_is_asked_to_come_back_too_late_is_told_at_once(pauses: list[float]) -> None:
    used_up = httpx.Response(429, json={"code": "quota_exceeded", "detail": "used up"}, headers={"retry-after": "181"})
    script = Script([used_up, EMPTY])

    with client_of(script, patience=Patience(retry_seconds=180.0)) as client, pytest.raises(QuotaExceeded):
        client.scorers()
    assert (len(script.seen), pauses) == (1, [])


def test_retry_after_is_waited_for(pauses: list[float]) -> None:
    full = httpx.Response(503, json={"code": "overloaded", "detail": "full"}, headers={"retry-after": "1"})

    with client_of(Script([full, EMPTY])) as client:
        client.scorers()
    (pause,) = pauses
    assert 1.0 <= pause <= 1.25


def test_a_date_in_retry_after_is_waited_for(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    monkeypatch.setattr(requests, "datetime", SimpleNamespace(now=now.astimezone))
    soon = format_datetime(now + timedelta(seconds=100), usegmt=True)

    with client_of(Script([httpx.Response(503, headers={"retry-after": soon}), EMPTY])) as client:
        client.scorers()
    (pause,) = pauses
    assert 100.0 <= pause <= 105.0


def test_a_date_that_no_clock_holds_is_no_answer_of_its_own() -> None:
    never = {"retry-after": f"Mon, 01 Jan {9**25} 00:00:00 GMT"}

    with client_of(Script([httpx.Response(503, headers=never), EMPTY])) as client:
        assert client.scorers() == []


def test_the_key_is_sent_and_comes_from_the_environment_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_API_KEY", "from-the-environment")

    for settings, expected in (({}, "Bearer from-the-environment"), ({"api_key": "given"}, "Bearer given")):
        script = Script([EMPTY])
        with client_of(script, **settings) as client:
            client.scorers()
        assert script.seen[0].headers["authorization"] == expected
    with pytest.raises(InvalidInput, match="holds no key"):
        AssayClient("http://assay", api_key="line\nbreak")


def test_one_connection_serves_many_calls(serve: Callable[[Any], str]) -> None:
    ports = set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            ports.add(scope["client"][1])
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"data": []}'})

    with AssayClient(serve(app)) as client:
        for _ in range(20):
            client.scorers()
    assert len(ports) == 1


def test_nobody_there_and_no_address_are_told_apart() -> None:
    nobody = AssayClient("http://127.0.0.1:9", patience=Patience(attempts=1))
    with nobody as client, pytest.raises(RunFailed, match="is `assay serve` running there"):
        client.scorers()
    with AssayClient("no address") as client, pytest.raises(InvalidInput, match="write http://HOST:PORT"):
        client.scorers()


@pytest.mark.parametrize("url", ["http://[::1", "http://xn--", "http://:x", "ftp://assay"])
def test_what_is_no_address_is_said_when_it_is_given_or_asked(url: str) -> None:
    with pytest.raises(InvalidInput, match="write http://HOST:PORT"), AssayClient(url) as client:
        client.scorers()


@pytest.mark.parametrize("path", ["http://u:secret@127.0.0.1:9", "ftp://u:secret@assay", "http://u:secret@[::1"])
def test_a_key_within_the_address_is_in_no_failures_words(path: str) -> None:
    with pytest.raises((RunFailed, InvalidInput)) as failure, AssayClient(path, patience=Patience(attempts=1)) as one:
        one.scorers()

    assert "secret" not in failure.value.detail


@pytest.mark.parametrize("said", ["<html>log in</html>", "", "[]", "{}", '{"data": [3]}'])
def test_an_answer_that_no_server_of_ours_gives_is_a_failure(said: str) -> None:
    with client_of(Script([httpx.Response(200, text=said)])) as client:
        for ask in (
            client.scorers,
            client.jobs,
            lambda: client.job("job_1"),
            lambda: client.score_items(["s"], [{"prompt": "p", "response": "r"}]),
        ):
            with pytest.raises(RunFailed, match=r"answered 200 .* an Assay server of this version"):
                ask()


def test_a_failure_without_a_problem_is_still_a_failure() -> None:
    for body in ("", "[]", '"x"', '{"code": 1}', '{"code": "x", "detail": "y", "errors": [1]}'):
        error = failure_of(httpx.Response(500, text=body), "http://assay")
        assert isinstance(error, RunFailed)
        assert "without saying why" in error.detail
    problem = {"code": "conflict", "detail": "ended", "errors": [{"pointer": "/a"}]}
    error = failure_of(httpx.Response(409, json=problem), "http://assay")
    assert isinstance(error, Conflict)
    assert error.pointer == "/a"


def test_what_is_too_large_is_the_askers_to_divide_whoever_refuses_it() -> None:
    ours = {"code": "request_entity_too_large", "detail": "the body is larger than 9 bytes; send it in parts"}
    error = failure_of(httpx.Response(413, json=ours), "http://assay")
    assert isinstance(error, InvalidInput)
    assert error.detail == ours["detail"]
    proxys = failure_of(httpx.Response(413, text="<html>"), "http://assay")
    assert isinstance(proxys, InvalidInput)
    assert (
        proxys.detail == "http://assay, or a proxy before it, takes no request as large as this one; send it in parts"
    )


def test_a_closed_client_says_so_and_closing_again_is_no_error() -> None:
    client = client_of(Script([EMPTY]))
    client.close()
    client.close()

    with pytest.raises(RunFailed, match="was closed"):
        client.scorers()


def test_the_async_client_speaks_the_same() -> None:
    async def scenario() -> list[dict[str, Any]]:
        async with AsyncAssayClient("http://assay", transport=Script([FULL, EMPTY]), patience=QUICK) as client:
            return await client.scorers()

    assert asyncio.run(scenario()) == []
