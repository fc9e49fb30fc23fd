"""Whoever takes a file slowly keeps neither the database nor other readers waiting."""

import socket
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.orm import Session, sessionmaker

from service.app import create_app
from service.db.bulk import insert_rows
from service.db.session import writing
from service.db.tables import Correlation, Table
from service.sending import Exports, TakenResponse
from service.settings import Settings
from trainer.errors import Overloaded

ROWS = 12_000
"""Some 7 MB of NDJSON: more than the sockets of both sides hold."""


@pytest.fixture
def app(settings: Settings, make_session: sessionmaker[Session], correlate: Callable[..., str]) -> FastAPI:
    run = correlate([])
    row = {
        **{"run": run, "policy": "p@1", "scorer": "rm", "scorer_version": 1, "oracle": "judge", "temperature": 1.0},
        **{"stratum": "all", "statistic": "pearson_within", "estimate": 0.5, "lower": 0.4, "upper": 0.6},
        **{"standard_error": 0.1, "n_prompts": 1, "n_responses": 1, "n_dropped": 0, "n_total": 1, "n_truncated": 0},
        **{"n_constant_prompts": 0, "method": "by hand, and told at length", "undefined_reason": None},
        **{"code_version": "0", "created_at": datetime(2026, 11, 26, tzinfo=UTC)},
    }
    with writing(make_session) as session:
        table = Table.metadata.tables[Correlation.__tablename__]
        insert_rows(session, table, ({**row, "number": number} for number in range(ROWS)))
    return create_app(settings.model_copy(update={"job_slots": 0, "max_exports": 1}), owner=True)


def slow_reader(url: str) -> socket.socket:
    """A client that has asked for a file, has its beginning, and takes no more."""
    address = urlsplit(url)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(60)
    client.connect((address.hostname, address.port))
    client.sendall(b"GET /v1/history?format=ndjson HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"200 OK" in client.recv(1000)
    return client


def file_when_free(url: str) -> httpx.Response:
    deadline = time.monotonic() + 60
    while (answer := httpx.get(f"{url}/v1/history?format=csv", timeout=60)).status_code == 503:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return answer


def held(app: FastAPI) -> int:
    found: int = app.state.engine.pool.checkedout()
    return found


def test_what_may_not_be_sent_yet_is_refused_and_pages_are_not(app: FastAPI, serve: Callable[[Any], str]) -> None:
    url = serve(app)
    with closing(slow_reader(url)):
        assert held(app) == 1
        for _ in range(3):
            refused = httpx.get(f"{url}/v1/history?format=csv", timeout=60)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert refused.json()["detail"] == "1 files are being sent, as many as may be; try again when one is done"
        assert len(httpx.get(f"{url}/v1/history?limit=500", timeout=60).json()["data"]) == 500
    # the client has hung up: its place and its connection come back
    assert file_when_free(url).text.count("\n") == ROWS + 1


def test_a_client_that_takes_nothing_is_cut_off_and_sees_that_the_file_has_no_end(
    app: FastAPI, serve: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TakenResponse, "stall_seconds", 0.5)
    url = serve(app)
    with closing(slow_reader(url)) as client:
        assert file_when_free(url).status_code == 200
        received = b""
        while part := client.recv(1_000_000):
            received += part
        assert not received.endswith(b"0\r\n\r\n")
        assert received.count(b"\n{") < ROWS
    deadline = time.monotonic() + 60
    while held(app) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert held(app) == 0


def test_a_place_comes_back_from_a_file_that_fails() -> None:
    exports = Exports(2)
    with exports.one(), pytest.raises(ZeroDivisionError), exports.one():
        raise ZeroDivisionError
    with exports.one(), exports.one(), pytest.raises(Overloaded, match="2 files are being sent"), exports.one():
        pass
