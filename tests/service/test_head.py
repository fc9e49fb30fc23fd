"""HEAD wherever GET is (RFC 9110, section 9.3.2): the same answer up to its body, of which nothing is made."""

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from fastapi.routing import iter_route_contexts
from starlette.testclient import TestClient

from service.app import create_app
from service.db.keys import create_key
from service.db.session import writing
from service.settings import Settings

VOLATILE = {"x-request-id", "content-length"}
"""A problem has the request's id, which may be of any length."""


@pytest.fixture
def databases(sqlite_databases: Any) -> Any:
    """Nothing here is the database's."""
    return sqlite_databases


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings.model_copy(update={"job_slots": 0}))


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, follow_redirects=False) as client:
        yield client


def test_every_route_that_has_get_has_head(app: FastAPI, client: TestClient) -> None:
    with writing(app.state.sessions) as session:
        create_key(session, "somebody", ["admin"])  # a stranger's GET ends at the route's door, where it is found
    paths = {str(route.path) for route in iter_route_contexts(app.routes) if "GET" in (route.methods or ())}
    assert len(paths) > 60
    for path in paths:
        asked = re.sub(r"{[^}]*}", "x", path)
        head, get = (client.request(method, asked) for method in ("HEAD", "GET"))
        assert (head.status_code, head.content) == (get.status_code, b""), path
        told = [{name: value for name, value in each.headers.items() if name not in VOLATILE} for each in (head, get)]
        assert told[0] == told[1], path
    assert client.head("/v1/scores").status_code == 405


def test_its_length_and_tag_are_those_of_the_body_that_is_not_sent(
    client: TestClient, correlate: Callable[..., str]
) -> None:
    correlate([{"estimate": 0.5}])
    get, head = client.get("/v1/history"), client.head("/v1/history")
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.content))
    assert head.headers["etag"] == get.headers["etag"]
    known = client.head("/v1/history", headers={"if-none-match": head.headers["etag"]})
    assert (known.status_code, known.headers["etag"]) == (304, get.headers["etag"])


def test_of_a_file_that_is_sent_as_it_is_read_only_the_beginning_is_read(
    client: TestClient, correlate: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    correlate([{"estimate": 0.5}] * 300)
    read: list[int] = []

    def write(format: str, columns: object, rows: Iterator[dict[str, Any]]) -> Iterator[bytes]:  # noqa: A002
        for number, row in enumerate(rows):
            read.append(number)
            yield f"{row['estimate']}\n".encode()

    monkeypatch.setattr("service.routes.history.write", write)
    most = client.app.state.settings.max_exports  # type: ignore[attr-defined]
    for _ in range(most + 1):  # each gives its place back
        head = client.head("/v1/history", params={"format": "csv"})
        assert (head.status_code, "content-length" in head.headers) == (200, False)
    assert read == [0] * (most + 1)
    get = client.get("/v1/history", params={"format": "csv"})
    assert get.content == b"0.5\n" * 300
    assert get.headers["etag"] == head.headers["etag"]


def test_a_stream_without_an_end_is_not_waited_for(serve: Callable[[Any], str], settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"job_slots": 0}))
    begun: list[str] = []

    async def endless() -> Any:
        begun.append("begun")
        while True:
            yield b"x" * 1000

    async def get_endless() -> StreamingResponse:
        return StreamingResponse(endless(), headers={"etag": '"1"'})

    app.add_api_route("/endless", get_endless)
    with httpx.Client(base_url=serve(app), timeout=60) as client:
        for _ in range(2):  # the connection is good for another request
            assert client.head("/endless").headers["etag"] == '"1"'
        assert client.head("/livez").headers["content-length"] == str(len(client.get("/livez").content))
    assert begun == []


def test_a_part_of_a_file_is_asked_for_by_get_only(client: TestClient) -> None:
    asked = {"range": "bytes=0-9"}
    get, head = client.get("/static/style.css", headers=asked), client.head("/static/style.css", headers=asked)
    assert (get.status_code, get.headers["content-length"]) == (206, "10")
    size = (Path(__file__).parents[2] / "service" / "dashboard" / "static" / "style.css").stat().st_size
    assert (head.status_code, head.headers["content-length"]) == (200, str(size))


def test_logs_and_metrics_say_head(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        client.head("/v1/history?limit=1")
    assert "HEAD '/v1/history' 200" in caplog.text
    assert (
        'assay_http_requests_total{method="HEAD",route="/v1/history",status="200"} 1.0' in client.get("/metrics").text
    )


def test_what_an_address_takes_is_told_whole(client: TestClient) -> None:
    assert client.delete("/v1/history").headers["allow"] == "GET, HEAD"
    assert client.patch("/v1/stress-tests").headers["allow"] == "GET, HEAD, POST"
    assert client.patch("/v1/scores").headers["allow"] == "POST"
