"""Stress tests over HTTP: from a recipe to correlations, in every form they are asked for."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.db.pages import encode_cursor

TESTS = "/v1/stress-tests"
RECIPE = {"kind": "stress_test", "name": "count", "steps": 3}

Wait = Callable[[TestClient, str], dict[str, Any]]


@pytest.fixture
def finished(busy: TestClient, wait: Wait) -> str:
    """The address of a stress test that has succeeded."""
    path = busy.post(TESTS, json=RECIPE).headers["location"]
    assert wait(busy, path)["status"] == "succeeded"
    return str(path)


def test_a_stress_test_becomes_correlations(busy: TestClient, wait: Wait) -> None:
    response = busy.post(TESTS, json=RECIPE)

    assert response.status_code == 202
    assert response.json()["id"].startswith("run_")
    assert response.json()["policy"] is None
    test = wait(busy, response.headers["location"])
    assert (test["status"], test["policy"], test["n_prompts"], test["n_responses"]) == (
        "succeeded",
        "my-policy@1",
        3,
        3,
    )
    assert (test["scorers"], test["oracles"], test["temperatures"]) == (["helpful"], ["judge"], [1.0])
    [row] = busy.get(f"{response.headers['location']}/correlations").json()["data"]
    assert row["run"] == test["id"]
    assert (row["scorer"], row["oracle"], row["statistic"]) == ("helpful", "judge", "pearson_within")
    assert (row["estimate"], row["lower"], row["upper"]) == (0.5, 0.25, 0.75)


def test_correlations_are_filtered(busy: TestClient, finished: str) -> None:
    def count(query: str) -> int:
        return len(busy.get(f"{finished}/correlations?{query}").json()["data"])

    assert count("temperature=1&temperature=0.5&scorer=helpful&statistic=pearson_within&stratum=all") == 1
    assert count("temperature=1.0&temperature=pooled&oracle=judge") == 1
    for query in ("temperature=pooled", "temperature=0.5", "scorer=x", "oracle=x", "statistic=x", "stratum=x"):
        assert count(query) == 0
    assert busy.get(f"{finished}/correlations?temperature=hot").status_code == 422
    for query in ("format=xml", "scorr=x", f"cursor={encode_cursor(2**63)}", "limit=1000"):
        assert busy.get(f"{finished}/correlations?{query}").status_code == 422


def test_correlations_come_as_csv_and_ndjson(busy: TestClient, finished: str) -> None:
    [expected] = busy.get(f"{finished}/correlations").json()["data"]

    table = busy.get(f"{finished}/correlations?format=csv")
    assert table.headers["content-type"].startswith("text/csv")
    [row] = csv.DictReader(io.StringIO(table.text))
    assert (row["estimate"], row["temperature"], row["undefined_reason"]) == ("0.5", "1.0", "")
    lines = busy.get(f"{finished}/correlations?format=ndjson").text.splitlines()
    assert [json.loads(line) for line in lines] == [expected]


def test_responses_and_scores(busy: TestClient, finished: str) -> None:
    responses = busy.get(f"{finished}/responses?prompt_id=p1&temperature=1").json()["data"]
    assert [(row["prompt"], row["response"], row["finish_reason"]) for row in responses] == [("Count!", "one", "stop")]

    first = busy.get(f"{finished}/scores?limit=4").json()
    second = busy.get(f"{finished}/scores?limit=4&cursor={first['next']}").json()
    rows = first["data"] + second["data"]
    assert [(row["scorer"], row["role"], row["prompt_id"]) for row in rows] == [
        *(("helpful", "scorer", f"p{i}") for i in range(3)),
        *(("judge", "oracle", f"p{i}") for i in range(3)),
    ]
    assert len(busy.get(f"{finished}/scores?scorer=judge&temperature=1.0").json()["data"]) == 3


def test_curves_and_comparisons(busy: TestClient, finished: str) -> None:
    points = busy.get(f"{finished}/curves?curve=best_of_n_oracle&scorer=helpful&temperature=1").json()["data"]
    assert [(point["x"], point["estimate"], point["n_total"]) for point in points] == [(1.0, 0.5, 3), (2.0, 0.5, 3)]
    first = busy.get(f"{finished}/curves?limit=1").json()
    assert busy.get(f"{finished}/curves?cursor={first['next']}").json() == {"data": points[1:], "next": None}
    assert busy.get(f"{finished}/curves?curve=reliability").json()["data"] == []

    [compared] = busy.get(f"{finished}/comparisons").json()["data"]
    assert (compared["scorer_a"], compared["scorer_b"], compared["verdict"]) == ("helpful", "other", "better")
    assert compared["run_a"] == compared["run_b"] == finished.rsplit("/", 1)[1]
    assert (compared["n_constant_prompts"], compared["n_truncated"]) == (1, None)


def test_stress_tests_are_listed_by_policy(busy: TestClient, finished: str) -> None:
    def found(query: str) -> int:
        return len(busy.get(f"{TESTS}?{query}").json()["data"])

    assert found("") == found("policy=my-policy@1") == found("status=succeeded") == 1
    assert found("policy=other@1") == found("status=failed") == 0


def test_results_that_contradict_each_other_are_not_shown(busy: TestClient, wait: Wait) -> None:
    path = busy.post(TESTS, json={**RECIPE, "torn": True}).headers["location"]

    test = wait(busy, path)

    assert (test["status"], test["error"]["code"], test["n_prompts"]) == ("failed", "run_failed", None)
    for part in ("correlations", "curves", "comparisons", "responses", "scores"):
        assert busy.get(f"{path}/{part}").json() == {"data": [], "next": None}


def test_what_is_no_stress_test_is_refused(idle: TestClient) -> None:
    response = idle.post(TESTS, json={**RECIPE, "kind": "sft"})
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/kind"
    for part in ("", "/correlations", "/curves", "/comparisons", "/responses", "/scores", "/events", "/logs"):
        assert idle.get(f"{TESTS}/run_0{part}").status_code == 404
