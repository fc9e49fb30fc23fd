"""Whatever goes wrong, the answer is problem+json that says what to do and leaks nothing."""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Query
from pydantic import BaseModel
from starlette.testclient import TestClient

from service.middleware import RequestContext
from service.problems import add_problem_handlers, json_pointer
from trainer.errors import InvalidInput, Overloaded


class Body(BaseModel):
    items: list[int]


def make_app() -> FastAPI:
    app = FastAPI()
    app.add_middleware(RequestContext, max_body_bytes=1000)
    add_problem_handlers(app)

    @app.get("/invalid")
    def invalid() -> None:
        raise InvalidInput("temperature 3 is outside 0..2", pointer="/temperatures/1")

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


@pytest.mark.parametrize("body", [b"{", b'{"items": [1,]}', b"\xff"])
def test_a_body_that_is_not_json(client: TestClient, body: bytes) -> None:
    content = problem(
        client,
        "POST",
        "/body",
        422 if body != b"\xff" else 400,
        content=body,
        headers={"content-type": "application/json"},
    )

    assert "JSON" in content["detail"] or "body" in content["detail"]


def test_unknown_paths_and_methods(client: TestClient) -> None:
    assert problem(client, "GET", "/nowhere", 404)["code"] == "not_found"
    assert problem(client, "DELETE", "/invalid", 405)["code"] == "method_not_allowed"
    assert client.delete("/invalid").headers["allow"] == "GET"


def test_an_unexpected_exception_is_not_shown(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    content = problem(client, "GET", "/broken", 500)

    assert "secret" not in str(content)
    assert "secret of the house" in caplog.text
    assert content["request_id"] in caplog.text


def test_a_caller_may_bring_a_request_id_but_not_inject_headers(client: TestClient) -> None:
    assert client.get("/invalid", headers={"x-request-id": "trace-1"}).headers["x-request-id"] == "trace-1"
    assert client.get("/invalid", headers={"x-request-id": "a b"}).headers["x-request-id"] != "a b"


def test_a_body_past_the_limit_is_refused(client: TestClient) -> None:
    assert problem(client, "POST", "/body", 413, json={"items": [1] * 1000})["status"] == 413


def test_pointers_escape_slashes_and_tildes() -> None:
    assert json_pointer(["items", 0, "a/b~c"]) == "/items/0/a~1b~0c"
