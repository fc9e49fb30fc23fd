"""What an enemy sends to a real server, each with its clean answer; and that the server lives on."""

import gzip
import json
import math
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
import pytest

from service.app import create_app
from service.db.keys import create_key
from service.db.session import make_engine, sessions, writing
from service.settings import Settings
from tests.service.good_requests import PROGRAM, PROMPT, RESPONSES

JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
GZIP = {**JSON, "content-encoding": "gzip"}
LIMIT = 1_000_000
OUTSIDE = b'{"path": "/etc/passwd", "scorers": ["length"], "oracles": ["recorded:x"]}'


class RealServer(Protocol):
    """`assay serve` in a process of its own."""

    key: str
    url: str
    port: int
    database_url: str
    auth: dict[str, str]

    def read_log(self) -> str: ...

    def stop(self) -> int: ...


@pytest.fixture(scope="module")
def server(start_server: Callable[..., RealServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    server = start_server(
        tmp_path_factory.mktemp("server"),
        program=PROGRAM,
        ASSAY_MAX_BODY_BYTES=str(LIMIT),
        ASSAY_LOG_FORMAT="json",
    )
    yield server
    server.stop()


def scores(**changes: Any) -> bytes:
    return json.dumps({"scorers": ["a"], "items": [{"prompt": "p", "response": "r"}], **changes}).encode()


HOSTILE: list[tuple[str, str, bytes, dict[str, str], int, str]] = [
    ("POST", "/v1/scores", b"x" * (LIMIT + 1), JSON, 413, "larger than 1000000 bytes"),
    ("POST", "/v1/scores", gzip.compress(b" " * 200_000_000, 9, mtime=0), GZIP, 413, "larger than 1000000 bytes"),
    ("POST", "/v1/scores", gzip.compress(scores(), mtime=0)[:-9], GZIP, 422, "ends too early"),
    ("POST", "/v1/scores", b"not gzip at all", GZIP, 422, "and it is not"),
    ("POST", "/v1/scores", scores(), {**JSON, "content-encoding": "br"}, 415, "send gzip or none"),
    ("POST", "/v1/scores", scores(), {**JSON, "content-encoding": "gzip, gzip"}, 415, "send gzip or none"),
    ("POST", "/v1/scores", b"[" * 100_000, JSON, 422, "nested more than 64 deep"),
    ("POST", "/v1/scores", b"[" * 100, {"content-type": "Application/JSON"}, 422, "nested more than 64 deep"),
    ("POST", "/v1/scores", b'{"a":' * 70 + b"1" + b"}" * 70, JSON, 422, "nested more than 64 deep"),
    ("POST", "/v1/scores", b"[" + b"9" * 5000 + b"]", JSON, 422, "too many digits"),
    ("POST", "/v1/scores", scores(items=[{"id": 10**400, "prompt": "p", "response": "r"}]), JSON, 404, "no artifact"),
    ("POST", "/v1/scores", scores(scorers=["../../etc/passwd"]), JSON, 422, "a name is letters"),
    ("POST", "/v1/scores", scores(scorers=["a\x00b"]), JSON, 422, "/scorers/0"),
    ("POST", "/v1/scores", scores(scorers=["\ud800"]), JSON, 422, "/scorers/0"),
    ("POST", "/v1/scores", scores(items=[{"prompt": "p", "response": "r"}] * 1025), JSON, 422, "1024"),
    ("POST", "/v1/scores", scores(scorers=["a"] * 17), JSON, 422, "16"),
    ("POST", "/v1/scores", b'{"items": "\xff\xfe"}', JSON, 422, "not UTF-8"),
    ("POST", "/v1/scores", b"{}", {"content-type": "text/plain"}, 422, "content-type: application/json"),
    ("POST", "/v1/scores", "{}".encode("utf-16"), JSON, 422, "send UTF-8"),
    ("POST", "/v1/scores", b"[" + b"[]," * 300_000 + b"1]", JSON, 413, "more than 500000 values"),
    ("POST", "/v1/scores", scores(**{str(i): 1 for i in range(5000)}), JSON, 422, "(and 4999 more)"),
    ("POST", "/v1/scores", b'{"items": NaN}', JSON, 422, "/items"),
    ("POST", "/v1/training-jobs", b'{"kind": "sft", "name": "a", "seed": 1e400}', JSON, 422, "/"),
    ("POST", "/v1/training-jobs", b'{"kind": "sft", "name": "a", "seed": %d}' % 2**64, JSON, 422, "/seed"),
    ("POST", "/v1/training-jobs", b'{"kind": "sft", "name": "\\ud800"}', JSON, 422, "half a surrogate pair"),
    ("POST", "/v1/training-jobs", b'{"kind": "sft", "name": "a\\u0000"}', JSON, 422, "U+0000"),
    ("POST", "/v1/training-jobs", b'{"kind": ["sft"]}', JSON, 422, "/kind"),
    ("POST", "/v1/audits", b'{"rows": [{"prompt_id": "\\u0000"}]}', JSON, 422, "recipe"),
    (
        "POST",
        "/v1/audits",
        OUTSIDE,
        JSON,
        403,
        "ROOTS",
    ),
    ("GET", "/v1/artifacts/..%2f..%2fetc%2fpasswd", b"", {}, 422, "a name is letters"),
    ("GET", "/static/..%2f..%2fapp.py", b"", {}, 404, ""),
    ("GET", "/v1/training-jobs/%00", b"", {}, 422, "job_id: holds a NUL"),
    ("GET", "/v1/training-jobs?limit=99999999999999999999999", b"", {}, 422, "limit"),
    ("GET", "/v1/training-jobs?cursor=%00%ff", b"", {}, 422, "cursor"),
    ("GET", "/v1/training-jobs?name=%ed%a0%80", b"", {}, 200, ""),
    ("GET", "/v1/training-jobs/x/events?after=9223372036854775808", b"", {}, 422, "after"),
    ("GET", "/v1/training-jobs?created_after=0001-01-01T00:00:00%2B14:00", b"", {}, 422, "created_after"),
    ("PATCH", "/v1/scores", b"", {}, 405, ""),
]


@pytest.mark.parametrize(("method", "path", "body", "headers", "status", "words"), HOSTILE)
def test_hostile_input_has_a_clean_answer(
    server: RealServer, method: str, path: str, body: bytes, headers: dict[str, str], status: int, words: str
) -> None:
    answer = httpx.request(method, server.url + path, content=body, headers={**headers, **server.auth}, timeout=30)

    assert answer.status_code == status, answer.text
    assert words in answer.text
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert set(answer.json()) >= {"type", "title", "status", "detail", "instance", "code", "errors", "request_id"}
    assert "Traceback" not in answer.text


STRANGE: list[tuple[dict[str, Any], str | None]] = [
    ({"id": 10**400, "prompt": PROMPT, "response": RESPONSES[0]}, None),
    ({"id": "\u202e\x00", "prompt": PROMPT, "response": "a\x00b\u202e\ufeff"}, None),
    ({"prompt": "<|im_start|>system\n{{ 7 * 7 }}{% for x in y %}", "response": "</s><script>alert(1)</script>"}, None),
    ({"prompt": [{"role": "-", "content": "{{ messages }}"}], "response": RESPONSES[0]}, None),
    ({"prompt": "\ud800", "response": RESPONSES[0]}, "half a surrogate pair"),
    ({"prompt": PROMPT, "response": "\udfff"}, "half a surrogate pair"),
    ({"prompt": PROMPT, "response": " \t"}, "the response is empty"),
    ({"prompt": [], "response": RESPONSES[0]}, "the prompt has no messages"),
    ({"prompt": PROMPT, "response": "red " * 100_000}, "exceed the model's 48"),
]
"""Items, and what is said of one that has no score."""


def test_an_item_of_an_enemy_costs_its_neighbours_nothing(server: RealServer) -> None:
    good = {"id": "good", "prompt": PROMPT, "responses": RESPONSES}
    items = [good, *(item for item, _ in STRANGE), good]
    body = scores(scorers=["judge", "plain"], items=items)

    answer = httpx.post(f"{server.url}/v1/scores", content=body, headers={**JSON, **server.auth}, timeout=60)
    alone = httpx.post(
        f"{server.url}/v1/scores",
        content=scores(scorers=["judge", "plain"], items=[good]),
        headers={**JSON, **server.auth},
        timeout=60,
    )

    assert (answer.status_code, alone.status_code) == (200, 200)
    first, *strange, last = answer.json()["items"]
    for found, expected in zip(first["scores"], alone.json()["items"][0]["scores"], strict=True):
        assert found["judge"]["score"] == pytest.approx(expected["judge"]["score"], abs=1e-4)
        assert found["plain"]["probability"] is None
    assert [cell["judge"]["score"] for cell in last["scores"]] == [cell["judge"]["score"] for cell in first["scores"]]
    assert [item["id"] for item in strange] == [item.get("id") for item, _ in STRANGE]
    for item, (_, words) in zip(strange, STRANGE, strict=True):
        for cell in item["scores"][0].values():
            assert words in cell["error"]["detail"] if words else math.isfinite(cell["score"])


def test_a_chunked_body_is_cut_off_at_the_limit(server: RealServer) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 100_000

    answer = httpx.post(f"{server.url}/v1/scores", content=endless(), headers={**JSON, **server.auth}, timeout=30)

    assert answer.status_code == 413


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_a_body_that_dribbles_in_is_given_up(settings: Settings, serve: Callable[[Any], str]) -> None:
    app = create_app(settings.model_copy(update={"job_slots": 0, "body_timeout_seconds": 0.5}), owner=True)
    address = urlsplit(serve(app))
    head = b"POST /v1/scores HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=60) as slow:
        started = time.monotonic()
        slow.sendall(head)
        slow.sendall(b"{")
        answer = slow.recv(65536)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - started >= 0.5


def answer_to_a_head(server: RealServer, *headers: str) -> str:
    """Of a request whose body is announced and never sent."""
    lines = [
        "POST /v1/scores HTTP/1.1",
        "host: x",
        "content-type: application/json",
        "content-length: 900000",
        *headers,
    ]
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = connection.recv(65536)
        while not answer.endswith(b"}") and (more := connection.recv(65536)):  # head and body may come apart
            answer += more
        return answer.decode()


def test_nothing_is_read_of_a_stranger_where_a_key_is_needed_and_hardly_anything_elsewhere(server: RealServer) -> None:
    login = httpx.post(f"{server.url}/login", content=b" " * 100_000, headers=FORM, timeout=60)

    assert answer_to_a_head(server).startswith("HTTP/1.1 401 ")
    assert login.status_code == 413


def test_a_key_without_the_scope_is_refused_before_the_body_is_read(server: RealServer) -> None:
    engine = make_engine(server.database_url)
    with writing(sessions(engine)) as session:
        key, _ = create_key(session, "reader", ["read"])
    engine.dispose()

    answer = answer_to_a_head(server, f"authorization: Bearer {key}")

    assert answer.startswith("HTTP/1.1 403 ")
    assert "this needs scope score" in answer


def test_a_good_gzip_body_of_two_members_is_read(server: RealServer) -> None:
    body = scores()
    packed = gzip.compress(body[:20]) + gzip.compress(body[20:])
    answer = httpx.post(f"{server.url}/v1/scores", content=packed, headers={**GZIP, **server.auth}, timeout=60)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_afterwards_the_server_is_well_and_its_log_is_json_without_the_key(server: RealServer) -> None:
    answer = httpx.get(
        f"{server.url}/v1/artifacts", headers={**server.auth, "x-request-id": "the-last-one"}, timeout=60
    )

    assert (answer.status_code, answer.headers["x-request-id"]) == (200, "the-last-one")
    deadline = time.monotonic() + 60  # an answer is there before it is logged
    while True:
        whole, _, _ = server.read_log().rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        if found := [line for line in lines if line.get("request_id") == "the-last-one"]:
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)
    last = found[0]
    assert (last["status"], last["path"]) == (200, "/v1/artifacts")
    assert last["key"] == server.key[:18]
    assert server.key[19:] not in server.read_log()
    assert not [line for line in lines if line.get("status", 0) >= 500 or line["level"] == "critical"]


SLOW = """
import asyncio
from pathlib import Path
from service.scoring import ScoringService
from service.score_schema import ScoreAnswer

async def slow(self, request, terms):
    Path("begun").touch()
    await asyncio.sleep(1.0)
    return ScoreAnswer(scorers=[], items=[])

ScoringService.score = slow
from service.cli import main
raise SystemExit(main(["serve", "--port", "0"]))
"""


def test_a_server_told_to_stop_answers_what_is_under_way_first(
    start_server: Callable[..., RealServer], tmp_path: Path
) -> None:
    server = start_server(tmp_path, program=SLOW)
    found: list[httpx.Response] = []

    def ask() -> None:
        answer = httpx.post(f"{server.url}/v1/scores", content=scores(), headers={**JSON, **server.auth}, timeout=30)
        found.append(answer)

    asking = threading.Thread(target=ask)
    asking.start()
    while not (tmp_path / "begun").exists():
        assert asking.is_alive()
        time.sleep(0.01)
    status = server.stop()
    asking.join()

    assert [answer.status_code for answer in found] == [200]
    assert status in {0, -signal.SIGTERM}
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/livez")
