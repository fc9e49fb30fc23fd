"""Win rates and benchmarks over HTTP are jobs like all others, each below its own address."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.client import AssayClient
from service.local_client import local_client
from service.settings import Settings

Wait = Callable[[TestClient, str], dict[str, Any]]

BATTLE = (
    '{{"instruction": "q{n}", "output_1": "a", "output_2": "bb", "generator_1": "base", "generator_2": "new",'
    ' "annotator": "judge", "preference": {preference}}}\n'
)


@pytest.fixture
def annotations(tmp_path: Path) -> str:
    """``new`` wins 6 of 8 battles against ``base``."""
    path = tmp_path / "annotations.jsonl"
    path.write_text("".join(BATTLE.format(n=n, preference=2 if n < 6 else 1) for n in range(8)))
    return str(path)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """A server that accepts real recipes and runs none."""
    with TestClient(create_app(settings.model_copy(update={"job_slots": 0}), owner=True)) as client:
        yield client


def test_a_win_rate_is_queued_carried_out_and_read(settings: Settings, wait: Wait, annotations: str) -> None:
    app = create_app(settings.model_copy(update={"job_slots": 1}), owner=True)
    with TestClient(app) as server:
        accepted = server.post("/v1/win-rates", json={"paths": [annotations], "bootstrap": {"draws": 100}})
        assert accepted.status_code == 202, accepted.text
        assert accepted.headers["location"] == f"/v1/win-rates/{accepted.json()['id']}"
        done = wait(server, accepted.headers["location"])
        run = done["id"]
        assert (done["status"], done["kind"]) == ("succeeded", "win_rate"), done
        rows = server.get(f"/v1/stress-tests/{run}/correlations", params={"scorer": "new"}).json()["data"]
        assert 0.75 in [row["estimate"] for row in rows if row["statistic"] == "win_rate"]
        for below in ("events", "metrics", "logs", "report.html"):
            assert server.get(f"/v1/win-rates/{run}/{below}").status_code == 200
        assert [job["id"] for job in server.get("/v1/win-rates").json()["data"]] == [run]
        assert server.get("/v1/benchmarks").json()["data"] == []
        for elsewhere in ("benchmarks", "audits", "stress-tests"):
            assert server.get(f"/v1/{elsewhere}/{run}").status_code == 404


def test_a_dry_run_writes_defaults_out_and_queues_nothing(client: TestClient, annotations: str) -> None:
    checked = client.post("/v1/win-rates?dry_run=true", json={"kind": "win_rate", "paths": [annotations]})
    assert (checked.status_code, checked.json()["recipe"]["length_buckets"]) == (200, 4)
    body = {"kind": "benchmark", "suite": "reward_bench", "path": annotations, "scorers": ["length"]}
    assert client.post("/v1/benchmarks?dry_run=true", json=body).json()["recipe"]["suite"] == "reward_bench"
    assert client.get("/v1/win-rates").json()["data"] == client.get("/v1/benchmarks").json()["data"] == []


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("win-rates", {"kind": "sft"}, "recipe at /kind: 'sft' is not accepted here, but by `assay train`"),
        ("benchmarks", {}, "recipe at /kind: is missing; use benchmark | downstream"),
        ("stress-tests", {"kind": "win_rate"}, "but by `assay winrate` and /v1/win-rates"),
        ("training-jobs", {"kind": "downstream"}, "but by `assay benchmark` and /v1/benchmarks"),
        ("training-jobs", {"kind": "audit"}, "but by `assay audit` and /v1/audits"),
    ],
)
def test_a_recipe_of_another_kind_is_told_where_it_belongs(
    client: TestClient, path: str, body: dict[str, Any], words: str
) -> None:
    refused = client.post(f"/v1/{path}", json=body)
    assert (refused.status_code, words in refused.json()["detail"]) == (422, True), refused.text


def test_the_client_submits_each_kind_to_its_address_and_finds_it_again(settings: Settings, annotations: str) -> None:
    with local_client(settings) as opened:
        client: AssayClient = opened
        first = client.submit({"kind": "win_rate", "paths": [annotations]})
        second = client.submit(
            {"kind": "benchmark", "suite": "reward_bench", "path": annotations, "scorers": ["length"]}
        )
        assert [job.id for job in client.jobs()] == [second.id, first.id]
        assert (client.job(first.id).kind, client.job(second.id).kind) == ("win_rate", "benchmark")
        assert client.cancel(first.id).status == "cancelled"
