"""Audits over HTTP: judged responses in the body become the statistics that `assay audit` gives."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings

AUDITS = "/v1/audits"

Wait = Callable[[TestClient, str], dict[str, Any]]


def rows() -> list[dict[str, Any]]:
    return [
        {"prompt_id": prompt, "scores": {"rm": float(reply)}, "oracles": {"judge": reply + 0.1 * prompt * reply}}
        for prompt in range(5)
        for reply in range(3)
    ]


def body(**fields: Any) -> dict[str, Any]:
    return {
        "scorers": ["recorded:rm"],
        "oracles": ["recorded:judge"],
        "bootstrap": {"draws": 100},
        "rows": rows(),
        **fields,
    }


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """A server that accepts real recipes and runs none."""
    app: FastAPI = create_app(settings.model_copy(update={"job_slots": 0}))
    with TestClient(app) as client:
        yield client


def test_rows_in_the_body_are_audited(settings: Settings, wait: Wait) -> None:
    with TestClient(create_app(settings.model_copy(update={"job_slots": 1}))) as server:
        accepted = server.post(AUDITS, json=body())
        assert accepted.status_code == 202
        assert accepted.headers["location"] == f"{AUDITS}/{accepted.json()['id']}"
        done = wait(server, accepted.headers["location"])

    assert (done["status"], done["kind"]) == ("succeeded", "audit")
    within = [each for each in done["result"]["estimates"] if each["statistic"] == "pearson_within"]
    assert [each["scorer"] for each in within] == ["recorded:rm"]
    assert within[0]["estimate"] == pytest.approx(0.99, abs=0.02)
    assert (within[0]["n_prompts"], within[0]["n_responses"]) == (5, 15)


def test_the_same_rows_are_kept_once_and_make_the_same_job_under_one_key(
    client: TestClient, settings: Settings
) -> None:
    key = {"Idempotency-Key": "audit-1"}
    first, second = (client.post(AUDITS, json=body(), headers=key).json() for _ in range(2))

    assert first["id"] == second["id"]
    assert "rows" not in first["recipe"]
    assert [Path(first["recipe"]["path"])] == list(settings.uploads_dir.absolute().iterdir())


@pytest.mark.parametrize("key", ["monitoring:tiny@1:score:2026-05-04", "Monitoring:1"])
def test_nobody_queues_an_audit_that_monitoring_would_take_for_its_own(client: TestClient, key: str) -> None:
    refused = client.post(AUDITS, json=body(), headers={"Idempotency-Key": key})

    assert refused.status_code == 422
    assert "choose another" in refused.json()["detail"]
    assert client.get(AUDITS).json()["data"] == []


@pytest.mark.parametrize(
    ("fields", "pointer", "words"),
    [
        ({"rows": []}, "/rows", "at least one"),
        ({"rows": "many"}, "/rows", "expected a list"),
        ({"path": "judged.jsonl"}, "/rows", "either path or rows"),
        ({"rows": [{"prompt_id": 1}]}, "/rows/0/oracles", "Field required"),
        ({"rows": [*rows(), {"prompt_id": 1, "oracles": {"judge": "good"}}]}, "/rows/15/oracles/judge", "number"),
        ({"scorers": []}, "/scorers", "at least 1"),
        ({"kind": "sft"}, "/kind", "'sft' is not accepted here"),
    ],
)
def test_what_makes_no_audit_is_pointed_at(
    client: TestClient, fields: dict[str, Any], pointer: str, words: str
) -> None:
    refused = client.post(AUDITS, json=body(**fields))

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == pointer
    assert words in refused.json()["detail"]


def test_a_dry_run_stores_no_job_and_no_rows(client: TestClient, settings: Settings) -> None:
    checked = client.post(f"{AUDITS}?dry_run=true", json=body())

    assert checked.status_code == 200
    assert checked.json()["recipe"]["bootstrap"] == {"draws": 100, "confidence": 0.95}
    assert client.get(AUDITS).json()["data"] == []
    assert not list(settings.runs_dir.rglob("*.jsonl"))
