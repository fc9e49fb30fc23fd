"""Real recipes over a real server: train a policy, stress-test it, read what it was worth."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.settings import Settings

POLICY = {
    "kind": "sft",
    "name": "tiny",
    "policy": {"scratch": {"hidden_size": 16, "layers": 1, "heads": 2, "max_tokens": 96}},
    "data": {"kind": "product_world", "size": 64, "validation_size": 8},
    "batch": {"size": 16},
    "max_steps": 3,
}
STRESS_TEST = {
    "kind": "stress_test",
    "name": "tiny-stress",
    "policy": {"path": "tiny"},
    "prompts": {"kind": "product_world", "split": "test", "limit": 4},
    "temperatures": [0, 1.5],
    "responses_per_prompt": 4,
    "max_response_tokens": 8,
    "scorers": ["tiny"],
    "oracles": [{"kind": "product_world"}],
    "bootstrap": {"draws": 200},
}


@pytest.fixture
def server(settings: Settings) -> Iterator[httpx.Client]:
    """``assay serve`` in a process of its own, on a port of its own."""
    environment = {
        **os.environ,
        **{f"ASSAY_{name.upper()}": str(value) for name, value in settings.model_dump(exclude_defaults=True).items()},
        "ASSAY_PORT": "0",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-c", "from service.cli import main; main()", "serve"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://[\d.]+:\d+", process.stdout.readline())
        assert found is not None
        with httpx.Client(base_url=found[0], timeout=60) as client:
            yield client
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def run(server: httpx.Client, path: str, recipe: dict[str, Any]) -> dict[str, Any]:
    response = server.post(path, json=recipe)
    assert response.status_code == 202, response.text
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        job: dict[str, Any] = server.get(response.headers["location"]).json()
        if job["status"] not in {"queued", "running"}:
            assert job["status"] == "succeeded", server.get(f"{response.headers['location']}/logs").text
            return job
        time.sleep(0.2)
    raise TimeoutError(job)


@pytest.mark.parametrize("databases", ["postgres"], indirect=True)  # `make demo` does the same on SQLite
def test_a_policy_is_trained_served_and_stress_tested(server: httpx.Client) -> None:
    assert server.get("/readyz").status_code == 200

    job = run(server, "/v1/training-jobs", POLICY)
    assert job["artifacts"] == [{"name": "tiny", "version": 1, "kind": "policy"}]
    assert [scorer["name"] for scorer in server.get("/v1/scorers").json()["data"]] == ["tiny"]

    test = run(server, "/v1/stress-tests", STRESS_TEST)
    assert (test["policy"], test["n_prompts"], test["n_responses"]) == ("tiny@1", 4, 4 + 4 * 4)
    rows = server.get(f"/v1/stress-tests/{test['id']}/correlations?limit=500").json()["data"]
    judged = [row for row in rows if row["oracle"] == "product_world" and row["statistic"] == "pearson_within"]
    assert {row["temperature"] for row in judged} == {0.0, 1.5, None}
    assert {"tiny:mean_logprob", "length", "zlib_ratio"} < {row["scorer"] for row in judged}
    for row in rows:
        assert (row["estimate"] is None) <= (row["undefined_reason"] is not None)
    responses = server.get(f"/v1/stress-tests/{test['id']}/responses?temperature=0").json()["data"]
    assert len(responses) == 4
    page = server.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert test["id"] in page.text
