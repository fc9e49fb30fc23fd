"""Every route declares what it needs; nobody gets in without it, and the first key closes the door for good."""

import base64
import logging
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy import select
from starlette.testclient import TestClient

from service import keyring
from service.access import Access, Anyone
from service.app import create_app
from service.db import clock
from service.db.browser_sessions import open_session, prefix_of_session
from service.db.keys import create_key, find_key, list_keys, revoke_key
from service.db.session import sessions, writing
from service.db.tables import ApiKey, BrowserSession
from service.security.keys import Quota, Scope
from service.security.sessions import COOKIE, LIFETIME_SECONDS
from service.settings import Settings

OPEN = {"/livez", "/readyz", "/static/{name}", "/login", "/logout"}

MakeKey = Callable[..., str]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"job_slots": 0})


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def client(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(keyring, "CACHE_SECONDS", 0.0)
    with TestClient(app, client=("203.0.113.7", 5000)) as client:
        yield client


@pytest.fixture
def make_key(app: FastAPI) -> MakeKey:
    def make(*scopes: Scope, **facts: Any) -> str:
        with writing(app.state.sessions) as session:
            return create_key(session, "somebody", scopes or ["read"], **facts)[0]

    return make


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_every_route_declares_what_it_needs(app: FastAPI) -> None:
    found = {}
    for route in iter_route_contexts(app.routes):
        declared = [d.call for d in route.dependant.dependencies if isinstance(d.call, Access | Anyone)]
        assert len(declared) == 1, f"{route.path} declares no scope; give its router dependencies=[needs(...)]"
        for method in route.methods:
            reads = method in {"GET", "HEAD"}
            access = declared[0]
            found[method, route.path] = (
                () if isinstance(access, Anyone) else access.reading if reads else access.changing
            )

    assert {path for (_, path), scopes in found.items() if not scopes} == OPEN
    assert found["POST", "/v1/scores"] == ("score",)
    assert found["POST", "/v1/training-jobs"] == ("train",)
    assert found["POST", "/v1/stress-tests/{job_id}/cancel"] == ("train",)
    assert found["DELETE", "/v1/artifacts/{reference:path}"] == ("admin",)
    assert found["GET", "/runs/{run_id}"] == ("read",)
    assert len(found) > 40


def test_callers_do_not_meet_by_their_idempotency_keys(client: TestClient, make_key: MakeKey) -> None:
    def job(seed: int, **headers: str) -> str:
        world = {"kind": "product_world", "size": 8}
        recipe = {"kind": "sft", "name": "n", "policy": {"scratch": {}}, "data": world, "seed": seed}
        answer = client.post("/v1/training-jobs", json=recipe, headers={"idempotency-key": "nightly", **headers})
        return str(answer.json()["id"] if answer.status_code == 202 else answer.json()["detail"])

    nobody = job(1)
    alice, bob = (bearer(make_key("train")) for _ in range(2))
    hers = job(1, **alice)
    his = job(2, **bob)

    assert len({nobody, hers, his}) == 3
    assert [job(1, **alice), job(2, **bob)] == [hers, his]
    assert job(2, **alice) == f"Idempotency-Key 'nightly' was used for another recipe, as {hers}"


def test_every_route_that_is_not_open_refuses_a_stranger(client: TestClient, app: FastAPI, make_key: MakeKey) -> None:
    make_key("admin")
    for route in iter_route_contexts(app.routes):
        for method in route.methods:
            path = re.sub(r"{[^}]*}", "x", route.path)
            status = client.request(method, path, follow_redirects=False).status_code
            assert (status == 401) == (route.path not in OPEN or (method, route.path) == ("POST", "/login")), path


def test_without_any_key_nobody_needs_one(client: TestClient) -> None:
    assert client.get("/v1/training-jobs").status_code == 200
    assert client.get("/").status_code == 200


def test_from_the_first_key_on_one_is_needed_also_when_it_has_ended(
    client: TestClient, app: FastAPI, make_key: MakeKey
) -> None:
    assert client.get("/v1/training-jobs").status_code == 200
    key = make_key("read")

    refused = client.get("/v1/training-jobs")
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    assert refused.headers["www-authenticate"] == 'Bearer realm="assay"'
    assert client.get("/v1/training-jobs", headers=bearer(key)).status_code == 200
    assert client.get("/v1/training-jobs", headers={"x-api-key": key}).status_code == 200

    with writing(app.state.sessions) as session:
        revoke_key(session, "somebody")
    ended = client.get("/v1/training-jobs", headers=bearer(key))
    assert (ended.status_code, "was revoked" in ended.json()["detail"]) == (401, True)
    assert client.get("/v1/training-jobs").status_code == 401


@pytest.mark.parametrize(
    ("scopes", "method", "path", "status"),
    [
        (["read"], "GET", "/v1/artifacts", 200),
        (["score"], "GET", "/v1/artifacts", 403),
        (["train"], "GET", "/v1/artifacts", 403),
        (["read"], "DELETE", "/v1/artifacts/a@1", 403),
        (["read", "train", "score"], "DELETE", "/v1/artifacts/a@1", 403),
        (["admin"], "DELETE", "/v1/artifacts/a@1", 404),
        (["read"], "POST", "/v1/training-jobs", 403),
        (["train"], "POST", "/v1/training-jobs", 422),
        (["read"], "POST", "/v1/scores", 403),
        (["score"], "POST", "/v1/scores", 422),
        (["score"], "GET", "/openapi.json", 200),
        (["score"], "GET", "/metrics", 403),
        (["read"], "GET", "/metrics", 200),
        (["admin"], "GET", "/", 200),
    ],
)
def test_a_key_does_what_its_scopes_say(
    client: TestClient, make_key: MakeKey, scopes: list[Scope], method: str, path: str, status: int
) -> None:
    body = {"json": {}} if method == "POST" else {}
    assert client.request(method, path, headers=bearer(make_key(*scopes)), **body).status_code == status


def test_no_key_that_is_only_nearly_right_gets_in_and_none_is_repeated(
    client: TestClient, make_key: MakeKey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = make_key("admin")
    secret = key.rpartition("_")[2] if "_" not in key[19:] else key[19:]
    wrong = [key[:-1] + ("a" if key[-1] != "a" else "b"), key[:18], secret, "x" * 5000, "Bearer", "assay_" + "0" * 56]

    for attempt in wrong:
        answer = client.get("/v1/artifacts", headers=bearer(attempt))
        assert answer.status_code == 401, attempt
        assert attempt not in answer.text or len(attempt) < 10
    assert client.get("/v1/artifacts", headers=bearer(key)).status_code == 200
    assert client.post("/v1/training-jobs", headers=bearer(key), json={"kind": key}).status_code == 422

    assert secret not in caplog.text
    assert re.search(r"assay_[0-9a-f]{12}", caplog.text), "the visible beginning is logged"


def test_a_quota_answers_429_with_the_time_to_wait(client: TestClient, make_key: MakeKey) -> None:
    key = make_key("read", quota=Quota(requests=2))
    answers = [client.get("/v1/artifacts", headers=bearer(key)) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].headers["retry-after"] == "30"
    assert answers[2].json()["code"] == "quota_exceeded"


def test_a_key_is_noted_as_used(client: TestClient, app: FastAPI, make_key: MakeKey) -> None:
    key = make_key("read")
    client.get("/v1/artifacts", headers=bearer(key))
    app.state.keyring.close()

    with sessions(app.state.engine)() as session:
        found = find_key(session, key[:18])
    assert found is not None
    assert found.last_used_at is not None


def test_this_machine_reads_metrics_without_a_key_unless_it_asks_for_others(app: FastAPI, make_key: MakeKey) -> None:
    make_key("read")
    with TestClient(app, client=("127.0.0.1", 5000), base_url="http://localhost:8000") as here:
        assert here.get("/metrics").status_code == 200
        assert here.get("/metrics", headers={"host": "assay.example"}).status_code == 401
        assert here.get("/metrics", headers={"x-forwarded-for": "203.0.113.7"}).status_code == 401
        assert here.get("/v1/artifacts").status_code == 401


def test_a_browser_logs_in_and_a_stranger_cannot_use_its_session(client: TestClient, make_key: MakeKey) -> None:
    key = make_key("admin")
    page = {"accept": "text/html,application/xhtml+xml"}
    sent = client.get("/jobs?cursor=x", headers=page, follow_redirects=False)
    assert (sent.status_code, sent.headers["location"]) == (303, "/login?next=%2Fjobs%3Fcursor%3Dx")
    assert 'name="key"' in client.get("/login").text

    entered = client.post("/login", data={"key": key, "next": "/jobs"}, follow_redirects=False)

    assert (entered.status_code, entered.headers["location"]) == (303, "/jobs")
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert key not in cookie
    assert client.get("/jobs").status_code == 200
    assert client.get("/v1/training-jobs").status_code == 200
    assert client.delete("/v1/artifacts/a@1").status_code == 403
    assert client.post("/v1/scores", json={}).status_code == 403
    ours = {"sec-fetch-site": "same-origin"}
    assert client.delete("/v1/artifacts/a@1", headers=ours).status_code == 404
    assert client.post("/v1/scores", json={}, headers=ours).status_code == 422
    client.post("/logout", follow_redirects=False)
    assert COOKIE not in client.cookies
    assert client.get("/jobs").status_code == 401


BROWSER = {"accept": "text/html,application/xhtml+xml"}


def test_a_browser_is_told_on_a_page_what_is_not_there_or_not_allowed(client: TestClient, make_key: MakeKey) -> None:
    """Also before its page is reached. What the API has, and whoever asks for no page, gets JSON as ever."""
    reading = make_key("read")
    key = {"authorization": f"Bearer {reading}"}
    asked = [
        (client.get("/no-such-page", headers=BROWSER | key), 404, "Back to the overview"),
        (client.get("/new/nothing", headers=BROWSER | key), 422, "stress-test"),
        (client.post("/jobs/job_x/cancel", headers=BROWSER | key), 403, "log in"),
        (client.post("/new/training-job", headers=BROWSER, data={"name": "x"}), 401, "in another tab"),
    ]
    for answer, status, said in asked:
        assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
        assert said in answer.text
        assert answer.headers["x-request-id"]
        assert "script-src 'self'" in answer.headers["content-security-policy"]
    for path, headers in (("/no-such-page", {}), ("/v1/no-such-thing", BROWSER)):
        answer = client.get(path, headers=headers | key)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_a_report_is_a_page_too(client: TestClient, make_key: MakeKey) -> None:
    reading = {"authorization": f"Bearer {make_key('read')}"}
    report = "/v1/stress-tests/run_none/report.html"
    sent = client.get(report, headers=BROWSER, follow_redirects=False)
    assert (sent.status_code, sent.headers["location"]) == (303, f"/login?next={quote(report, safe='')}")
    for accept, media in ((BROWSER, "text/html; charset=utf-8"), ({}, "application/problem+json")):
        answer = client.get(report, headers=accept | reading)
        assert (answer.status_code, answer.headers["content-type"]) == (404, media)


def test_who_logged_in_can_log_out_from_any_page(client: TestClient, make_key: MakeKey) -> None:
    reading = make_key("read")
    assert "Log out" not in client.get("/jobs", headers={"authorization": f"Bearer {reading}"}).text
    client.post("/login", data={"key": reading})
    assert 'action="/logout"' in client.get("/jobs").text
    assert 'action="/logout"' in client.get("/no-such-page", headers=BROWSER).text


def test_a_copied_cookie_is_worth_nothing_after_the_logout(client: TestClient, make_key: MakeKey) -> None:
    client.post("/login", data={"key": make_key()})
    copied = {"cookie": f"{COOKIE}={client.cookies[COOKIE]}"}
    client.cookies.clear()
    assert client.get("/jobs", headers=copied).status_code == 200

    client.post("/logout", headers=copied, follow_redirects=False)

    assert client.get("/jobs", headers=copied).status_code == 401


def test_whoever_reads_the_database_cannot_make_a_session(client: TestClient, app: FastAPI, make_key: MakeKey) -> None:
    client.post("/login", data={"key": make_key("admin")})
    cookie = client.cookies[COOKIE]
    client.cookies.clear()
    with app.state.sessions() as session:
        stored = [
            str(value)
            for table in (ApiKey, BrowserSession)
            for row in session.execute(select(table.__table__))
            for value in row
        ]

    assert not any(cookie in value for value in stored)
    for value in stored:
        assert client.get("/jobs", headers={"cookie": f"{COOKIE}={value}"}).status_code == 401, value


def test_a_session_ends_by_itself(client: TestClient, app: FastAPI, make_key: MakeKey) -> None:
    make_key("read")
    long_ago = datetime.now(UTC) - timedelta(seconds=LIFETIME_SECONDS)
    with writing(app.state.sessions) as session:
        (key,) = list_keys(session)
        ended = open_session(session, key, long_ago)
        ends_soon = open_session(session, key, long_ago + timedelta(minutes=1))

    assert client.get("/jobs", headers={"cookie": f"{COOKIE}={ended}"}).status_code == 401
    assert client.get("/jobs", headers={"cookie": f"{COOKIE}={ends_soon}"}).status_code == 200


def test_a_session_ends_by_the_clock_that_all_servers_share(
    client: TestClient, app: FastAPI, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_key("read")
    with writing(app.state.sessions) as session:
        cookie = open_session(session, list_keys(session)[0])
        assert prefix_of_session(session, cookie) is not None
        ended = datetime.now(UTC) + timedelta(seconds=LIFETIME_SECONDS + 60)
        monkeypatch.setattr(clock, "now", lambda _: ended)
        assert prefix_of_session(session, cookie) is None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"sec-fetch-site": "none"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "http://testserver"}, 403),
        ({"sec-fetch-site": "same-origin"}, 404),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://testserver:81"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"origin": "http://testserver"}, 404),  # over plain HTTP there is no more to go by
    ],
)
def test_a_session_changes_something_only_from_a_page_of_this_server(
    client: TestClient, make_key: MakeKey, headers: dict[str, str], status: int
) -> None:
    client.post("/login", data={"key": make_key("admin")})
    assert client.delete("/v1/artifacts/a@1", headers=headers).status_code == status


def test_a_session_allows_no_more_than_its_key(client: TestClient, make_key: MakeKey) -> None:
    client.post("/login", data={"key": make_key("read")})
    ours = {"sec-fetch-site": "same-origin"}
    for path in (
        "/v1/training-jobs",
        "/v1/scores",
        "/jobs/x/cancel",
        "/new/stress-test",
        "/try",
        "/artifacts/a/aliases",
    ):
        assert client.post(path, headers=ours, content="").status_code == 403, path


@pytest.mark.parametrize(("scopes", "status"), [(None, 401), (["score"], 403)])
def test_a_wrong_key_opens_no_session(
    client: TestClient, make_key: MakeKey, scopes: list[Scope] | None, status: int
) -> None:
    key = make_key(*scopes) if scopes else make_key() and "assay_wrong"
    answer = client.post("/login", data={"key": key})

    assert (answer.status_code, "set-cookie" in answer.headers) == (status, False)
    assert key not in answer.text


@pytest.mark.parametrize("elsewhere", ["//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nb: c", ""])
def test_the_login_leads_nowhere_else(client: TestClient, make_key: MakeKey, elsewhere: str) -> None:
    answer = client.post("/login", data={"key": make_key(), "next": elsewhere}, follow_redirects=False)

    assert answer.headers["location"] == "/"


def test_a_session_ends_with_its_key(client: TestClient, app: FastAPI, make_key: MakeKey) -> None:
    client.post("/login", data={"key": make_key()})
    assert client.get("/jobs").status_code == 200
    with writing(app.state.sessions) as session:
        revoke_key(session, "somebody")

    assert client.get("/jobs").status_code == 401


def test_pages_of_other_sites_change_nothing_where_no_key_is_needed(client: TestClient) -> None:
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 404), ("none", 404)):
        answer = client.post("/v1/training-jobs/x/cancel", headers={"sec-fetch-site": site})
        assert answer.status_code == status, site
    assert client.get("/v1/training-jobs", headers={"sec-fetch-site": "cross-site"}).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://evil.example", 403),
        ("http://testserver:81", 403),
        ("null", 403),
        ("http://[", 403),
        ("http://testserver", 404),
        ("https://tools.example", 404),
    ],
)
def test_over_plain_http_the_origin_alone_tells_pages_of_other_sites(
    settings: Settings, origin: str, status: int
) -> None:
    listed = settings.model_copy(update={"cors_origins": ("https://tools.example",)})
    with TestClient(create_app(listed)) as client:
        for path in ("/jobs/x/cancel", "/v1/training-jobs/x/cancel"):
            assert client.post(path, headers={"origin": origin}, data={"a": "b"}).status_code == status
        if status == 403:
            assert client.post("/new/training-job", headers={"origin": origin}, data={"a": "b"}).status_code == 403


def test_a_password_that_a_browser_repeats_for_another_site_changes_nothing(
    client: TestClient, make_key: MakeKey
) -> None:
    credentials = base64.b64encode(f"assay:{make_key('admin')}".encode()).decode()
    for site, status in (("cross-site", 403), ("same-origin", 404), (None, 404)):
        headers = {"authorization": f"Basic {credentials}", **({"sec-fetch-site": site} if site else {})}
        assert client.delete("/v1/artifacts/a@1", headers=headers).status_code == status


def test_a_local_server_answers_to_no_other_name_until_a_key_exists(settings: Settings) -> None:
    app = create_app(settings, local_only=True)
    with TestClient(app, base_url="http://rebound.example") as stranger:
        assert stranger.get("/v1/training-jobs").status_code == 403
    for name in ("127.0.0.1:8000", "localhost:8000", "[::1]:8000"):
        with TestClient(create_app(settings, local_only=True), base_url=f"http://{name}") as neighbour:
            assert neighbour.get("/v1/training-jobs").status_code == 200


def test_no_other_origin_may_read_unless_listed(settings: Settings) -> None:
    asked = {"origin": "https://tools.example"}
    with TestClient(create_app(settings)) as closed:
        assert "access-control-allow-origin" not in closed.get("/livez", headers=asked).headers
    listed = settings.model_copy(update={"cors_origins": ("https://tools.example",)})
    with TestClient(create_app(listed)) as opened:
        allowed = opened.get("/livez", headers=asked).headers
        assert allowed["access-control-allow-origin"] == "https://tools.example"
        assert "access-control-allow-credentials" not in allowed
        assert "etag" in allowed["access-control-expose-headers"]
        preflight = {**asked, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "if-none-match"}
        assert opened.options("/v1/history", headers=preflight).status_code == 200
        other = opened.get("/livez", headers={"origin": "https://evil.example"}).headers
        assert "access-control-allow-origin" not in other
        for origin, status in (("https://tools.example", 404), ("https://evil.example", 403)):
            sent = {"origin": origin, "sec-fetch-site": "cross-site"}
            assert opened.delete("/v1/artifacts/a@1", headers=sent).status_code == status


def test_every_answer_tells_browsers_to_run_nothing(client: TestClient) -> None:
    for path in ("/livez", "/nowhere", "/v1/artifacts"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    page = client.get("/login").headers["content-security-policy"]
    assert "script-src 'self';" in page
    assert "unsafe-inline" not in page.partition("script-src")[2].partition(";")[0]


def test_a_key_may_be_the_password_of_an_address_for_trainers_that_send_no_headers(
    client: TestClient, make_key: MakeKey
) -> None:
    key, reading = make_key("score"), make_key("read")

    def reward(credentials: str) -> Any:
        return client.post(f"http://{credentials}testserver/get_reward", json={"query": []})

    assert reward(f"assay:{key}@").json() == {"rewards": [], "scores": [], "extra_logs": {}}
    for credentials, status in (("", 401), (f"{key}:@", 401), (f"assay:{key[:-1]}@", 401), (f"assay:{reading}@", 403)):
        refused = reward(credentials)
        assert refused.status_code == status
        assert refused.json().keys() == {"error"}
        assert key not in refused.text
    of_a_proxy = {"authorization": "Basic " + base64.b64encode(b"alice:secret").decode(), "x-api-key": key}
    assert client.post("/get_reward", json={"query": []}, headers=of_a_proxy).status_code == 200
    for credentials in ("Basic", "Basic ?", "Basic /w=="):  # no base64, no UTF-8
        assert client.post("/get_reward", json={"query": []}, headers={"authorization": credentials}).status_code == 401
