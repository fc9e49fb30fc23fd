"""Whatever goes wrong, the answer is problem+json that says what to do and leaks nothing."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Query
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator, BaseModel
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from service.access import Caller
from service.bodies import Bodies
from service.logs import set_up_logging
from service.middleware import RequestContext
from service.problems import add_problem_handlers
from service.security.keys import new_key
from trainer.errors import InvalidInput, Overloaded


def no_thirteen(number: int) -> int:
    if number == 13:
        raise ValueError("no thirteens")
    return number


class Body(BaseModel):
    items: list[Annotated[int, AfterValidator(no_thirteen)]]
    id: str | int = 0


class Known:
    """Everybody is somebody who needs no key."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["caller"] = Caller(free=True)
        await self._app(scope, receive, send)


def make_app() -> FastAPI:
    app = FastAPI()
    app.add_middleware(Bodies, max_bytes=10_000, timeout_seconds=60)
    app.add_middleware(Known)
    app.add_middleware(RequestContext)
    add_problem_handlers(app)

    @app.get("/invalid")
    def invalid() -> None:
        raise InvalidInput("temperature 3 is outside 0..2", pointer="/temperatures/1")

    @app.get("/several")
    def several() -> None:
        raise InvalidInput("two are wrong", pointer="/a", complaints=[("/a", "no such field"), ("/b/0", "missing")])

    @app.get("/overloaded")
    def overloaded() -> None:
        raise Overloaded("the queue is full; try again")

    @app.get("/broken")
    def broken() -> None:
        raise ZeroDivisionError("secret of the house")

    @app.post("/body")
    def body(body: Body, limit: Annotated[int, Query(ge=1)] = 1) -> int:
        return len(body.items) * limit

    return app


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(make_app(), raise_server_exceptions=False) as client:
        yield client


def problem(client: TestClient, method: str, path: str, status: int, **arguments: Any) -> dict[str, Any]:
    response = client.request(method, path, **arguments)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    content: dict[str, Any] = response.json()
    assert content["status"] == status
    assert content["request_id"] == response.headers["x-request-id"] != ""
    return content


def test_a_domain_error_carries_its_code_and_pointer(client: TestClient) -> None:
    content = problem(client, "GET", "/invalid", 422)

    assert content["code"] == "invalid_input"
    assert content["type"] == "urn:assay:problem:invalid_input"
    assert content["title"] == "Invalid input"
    assert content["detail"] == "temperature 3 is outside 0..2"
    assert content["instance"] == "/invalid"
    assert content["errors"] == [{"pointer": "/temperatures/1", "detail": "temperature 3 is outside 0..2"}]


def test_all_that_is_known_to_be_wrong_is_told(client: TestClient) -> None:
    content = problem(client, "GET", "/several", 422)

    assert content["detail"] == "two are wrong"
    assert content["errors"] == [{"pointer": "/a", "detail": "no such field"}, {"pointer": "/b/0", "detail": "missing"}]


def test_overload_says_when_to_come_back(client: TestClient) -> None:
    response = client.get("/overloaded")

    assert (response.status_code, response.headers["retry-after"]) == (503, "1")


def test_a_wrong_field_is_pointed_at(client: TestClient) -> None:
    content = problem(client, "POST", "/body", 422, json={"items": [1, "two"]})

    assert [error["pointer"] for error in content["errors"]] == ["/items/1"]
    assert content["detail"].startswith("/items/1: ")


def test_a_wrong_query_parameter_is_named(client: TestClient) -> None:
    content = problem(client, "POST", "/body?limit=0", 422, json={"items": []})

    assert [error["parameter"] for error in content["errors"]] == ["limit"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "malformed JSON at character 1"),
        (b'{"items": [1,]}', "malformed JSON at character"),
        (b'{"items": "\xff"}', "is not UTF-8 at byte 11"),
        (b"[" * 60, "malformed JSON"),
        (b'{"items": [' + b"9" * 900 * 5 + b"]}", "too many digits"),
        (b"[" * 9000, "nested more than 64 deep"),
        (b"", "Field required"),
    ],
)
def test_a_body_that_is_not_json(client: TestClient, body: bytes, words: str) -> None:
    content = problem(client, "POST", "/body", 422, content=body, headers={"content-type": "application/json"})

    assert words in content["detail"]
    assert [error["pointer"] for error in content["errors"]] == [""]


def test_json_under_another_content_type_is_told_so(client: TestClient) -> None:
    content = problem(client, "POST", "/body", 422, content=b'{"items": [1]}')

    assert "add the header content-type: application/json" in content["detail"]


def test_members_of_a_union_have_no_name_in_a_pointer(client: TestClient) -> None:
    content = problem(client, "POST", "/body", 422, json={"items": [1], "id": [1.5]})

    assert [error["pointer"] for error in content["errors"]] == ["/id", "/id"]


def test_a_rule_of_our_own_speaks_without_pydantics_preface(client: TestClient) -> None:
    assert problem(client, "POST", "/body", 422, json={"items": [13]})["detail"] == "/items/0: no thirteens"


def test_unknown_paths_and_methods(client: TestClient) -> None:
    assert problem(client, "GET", "/nowhere", 404)["code"] == "not_found"
    assert problem(client, "DELETE", "/invalid", 405)["code"] == "method_not_allowed"
    assert client.delete("/invalid").headers["allow"] == "GET, HEAD"


def test_an_unexpected_exception_is_not_shown(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    content = problem(client, "GET", "/broken", 500)

    assert "secret" not in str(content)
    assert "secret of the house" in caplog.text
    assert content["request_id"] in caplog.text


def test_an_unexpected_exception_is_logged_once_with_its_request_and_without_keys(
    serve: Callable[[Any], str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    key, prefix = new_key()

    @app.get("/broken-late")
    def broken_late() -> StreamingResponse:
        def pieces() -> Iterator[str]:
            yield "a"
            raise LookupError(f"no such key: {key}")

        return StreamingResponse(pieces())

    address = serve(app)
    for name in (None, "uvicorn", "uvicorn.error", "assay.access"):  # as `assay serve` leaves them
        logger = logging.getLogger(name)
        for setting, value in (("handlers", []), ("propagate", True), ("level", logger.level)):
            monkeypatch.setattr(logger, setting, value)
    set_up_logging("json")
    assert httpx.get(f"{address}/broken", headers={"x-request-id": "early"}, timeout=60).status_code == 500
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{address}/broken-late", headers={"x-request-id": "late"}, timeout=60)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    told = [line for line in lines if "exception" in line]
    assert [line["request_id"] for line in told] == ["early", "late"]
    assert "ZeroDivisionError: secret of the house" in told[0]["exception"]
    assert f"no such key: {prefix}_..." in told[1]["exception"]
    assert key not in str(lines)


def test_a_connection_that_ends_with_an_unexpected_exception_is_said_to_end(serve: Callable[[Any], str]) -> None:
    """The server below closes it: a client that did not know would send its next request into a reset."""
    with httpx.Client(base_url=serve(make_app()), timeout=60) as client:
        assert client.get("/broken").headers["connection"] == "close"
        assert "connection" not in client.get("/invalid").headers


def test_a_caller_may_bring_a_request_id_but_not_inject_headers(client: TestClient) -> None:
    assert client.get("/invalid", headers={"x-request-id": "trace-1"}).headers["x-request-id"] == "trace-1"
    assert client.get("/invalid", headers={"x-request-id": "a b"}).headers["x-request-id"] != "a b"


def test_a_body_past_the_limit_is_refused(client: TestClient) -> None:
    assert problem(client, "POST", "/body", 413, json={"items": [1] * 10_000})["status"] == 413
