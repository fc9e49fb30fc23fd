"""A query parameter that a route does not read is refused: a misspelt filter would be no filter, a dry run a run."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from service.db.keys import create_key
from service.db.session import writing
from service.routes import parameters


def test_a_misspelt_dry_run_queues_nothing(idle: TestClient) -> None:
    answer = idle.post("/v1/training-jobs?dryrun=true", json={"kind": "sft", "name": "mine"})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"detail": "no such parameter; did you mean dry_run?", "parameter": "dryrun"},
    ]
    assert idle.get("/v1/training-jobs").json()["data"] == []


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/v1/artifacts?knd=policy", "knd: no such parameter; did you mean kind?"),
        ("/v1/scorers?frobnicate=1", "frobnicate: no such parameter; there is kind, cursor, limit"),
        ("/v1/stress-tests/run_1?limit=1", "limit: no such parameter; there is none"),
        ("/v1/alerts?x=1&y=2", "x: no such parameter; there is active, cursor, limit (and 1 more)"),
        ("/v1/training-jobs?stat=queued", "stat: Extra inputs are not permitted"),  # as its model says
    ],
)
def test_a_misspelt_filter_is_named(address: str, words: str, idle: TestClient) -> None:
    answer = idle.get(address)
    assert (answer.status_code, answer.json()["detail"]) == (422, words)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/v1/history?oracle=a&oracle=b%00", "oracle"),
        ("/v1/history?where=scorer=='a%00'", "where"),
        ("/v1/aliases?name=%00", "name"),
        ("/v1/stress-tests?policy=a%00b", "policy"),
        ("/v1/monitoring/drift?scorer=%00", "scorer"),
        ("/v1/audits/audit_%00/report.html", "run_id"),
        ("/v1/alerts?x%00=1", "x\0"),
        ("/runs/%00", "run_id"),
        ("/compare?a=%00", "a"),
        ("/jobs?name=%00", "name"),
    ],
)
def test_nul_is_refused_in_every_address_whatever_the_database_makes_of_it(
    address: str, name: str, idle: TestClient
) -> None:
    answer = idle.get(address)
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        f"{name}: holds a NUL character (%00); leave it out",
    )


def test_of_thousands_only_those_that_are_told_are_compared_with_what_there_is(
    idle: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []  # on the event loop, where 15,000 took 0.3 s
    monkeypatch.setattr(parameters, "get_close_matches", lambda name, *_: compared.append(name) or [])
    answer = idle.get("/v1/artifacts?" + "&".join(f"p{number}=" for number in range(5000)))
    assert "(and 4999 more)" in answer.json()["detail"]
    assert len(compared) == len(answer.json()["errors"]) == 100


def test_probes_and_pages_take_any(idle: TestClient) -> None:
    assert idle.get("/livez?from=balancer").status_code == 200


def test_whoever_may_not_ask_is_told_that_first(make_app: Callable[..., FastAPI]) -> None:
    app = make_app()
    make_session: sessionmaker[Session] = app.state.sessions
    with writing(make_session) as session:
        create_key(session, "somebody", ["read"])
    with TestClient(app) as client:
        assert client.get("/v1/artifacts?knd=policy").status_code == 401
