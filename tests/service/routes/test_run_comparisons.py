"""Two stored stress tests compared over HTTP and by `assay compare`, on a database whose numbers are known."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from sqlalchemy import create_engine, insert
from starlette.testclient import TestClient

from service.cli import main
from service.db.tables import Job, Prompt, Response, Score
from service.settings import Settings

AddRun = Callable[..., None]

JUDGED = [1.0, 2.0, 3.0]
GOOD, FAIR = [1.0, 3.0, 2.0], [2.0, 1.0, 3.0]
"""Deviations (-1, 1, 0) and (0, -1, 1) against (-1, 0, 1): r = 1 / 2 each, and 1 where scores are as judged."""


@pytest.fixture
def add_run(settings: Settings) -> AddRun:
    """Stores a stress test of 3 responses to each prompt; ``scores`` has by scorer 3 values for each prompt.

    ``judge`` is the version of its oracle.
    """

    def add(
        run: str, prompts: list[str], scores: dict[str, list[list[float | None]]], policy: str, judge: int = 1
    ) -> None:
        engine = create_engine(settings.database_url)
        with engine.begin() as connection:
            job = {
                **{"id": run, "kind": "stress_test", "name": run, "status": "succeeded", "recipe": {}, "labels": {}},
                **{"recipe_digest": "d" * 64, "executor": "local", "max_attempts": 1, "code_version": "1"},
                "created_at": datetime.now(UTC),
            }
            connection.execute(insert(Job), [job])
            for number, text in enumerate(prompts):
                prompt = {"run": run, "number": number, "prompt_id": f"{run}-{number}", "content": text}
                connection.execute(insert(Prompt), [prompt])
            columns = {("oracle", "judge"): [JUDGED] * len(prompts)} | {("scorer", s): v for s, v in scores.items()}
            for index in range(3 * len(prompts)):
                number, replicate = divmod(index, 3)
                response = {
                    **{"run": run, "number": index, "prompt": number, "temperature": 1.0, "replicate": replicate},
                    "response": f"{policy} {index}",
                }
                connection.execute(insert(Response), [response])
                for place, ((role, scorer), values) in enumerate(columns.items()):
                    score = {"run": run, "number": 100 * place + index, "response": index, "role": role}
                    version = judge if role == "oracle" else 1
                    score |= {"scorer": scorer, "scorer_version": version, "score": values[number][replicate]}
                    connection.execute(insert(Score), [score])
        engine.dispose()

    return add


@pytest.fixture
def two_runs(add_run: AddRun) -> None:
    """Run a has prompts 0 to 5, of which the scorer orders the odd ones well; run b 5 to 0, and is fair in all."""
    prompts = [f"Describe {number}." for number in range(6)]
    add_run("run_a", prompts, {"rm": [GOOD if n % 2 else JUDGED for n in range(6)], "other": [FAIR] * 6}, "p")
    add_run("run_b", [*reversed(prompts), "Elsewhere."], {"rm": [GOOD, FAIR] * 3 + [JUDGED]}, "q")


def differences(client: TestClient, query: str) -> list[dict[str, Any]]:
    response = client.get(f"/v1/comparisons/runs?{query}")
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["data"]
    return found


@pytest.mark.usefixtures("two_runs")
def test_two_runs_are_compared_on_the_prompts_that_both_answered(idle: TestClient) -> None:
    whole, at_one = differences(idle, "a=run_a&b=run_b&draws=200")
    assert (whole["temperature"], at_one["temperature"]) == (None, 1.0)
    # of run a: (1 + 2 + 1 + 2 + 1 + 2) / (6 * 2) = 0.75; of run b, without the prompt of its own: 0.5
    assert (whole["r_a"], whole["r_b"]) == pytest.approx((0.75, 0.5))
    assert whole["estimate"] == pytest.approx(np.arctanh(0.75) - np.arctanh(0.5))
    assert (whole["scorer_a"], whole["scorer_b"], whole["oracle"]) == ("rm", "rm", "judge@1")
    assert (whole["n_prompts"], whole["n_responses"], whole["n_dropped"]) == (6, 36, 3)
    assert "on common prompts" in whole["method"]
    assert whole["undefined_reason"] is None
    assert whole["lower"] < whole["estimate"] < whole["upper"]


@pytest.mark.usefixtures("two_runs")
def test_two_scorers_of_one_run_are_compared_on_the_same_responses(idle: TestClient) -> None:
    [whole, _] = differences(idle, "a=run_a&b=run_a&scorer_a=rm&scorer_b=other&draws=200")
    assert (whole["r_a"], whole["r_b"], whole["n_responses"]) == pytest.approx((0.75, 0.5, 18))
    assert "on common responses" in whole["method"]


@pytest.mark.usefixtures("two_runs")
@pytest.mark.parametrize(
    ("query", "status", "detail"),
    [
        ("a=run_a&b=run_x", 404, "no job run_x"),
        ("a=run_a&b=run_a", 422, "needs two scorers"),
        ("a=run_a&b=run_b&scorer_a=other", 422, "run_b has no scores of 'other'; it has rm"),
        ("a=run_a", 422, "b"),
    ],
)
def test_what_cannot_be_compared_is_told(idle: TestClient, query: str, status: int, detail: str) -> None:
    response = idle.get(f"/v1/comparisons/runs?{query}")
    assert response.status_code == status
    assert detail in response.text


@pytest.mark.usefixtures("two_runs")
def test_versions_of_an_oracle_are_not_taken_for_one(idle: TestClient, add_run: AddRun) -> None:
    add_run("run_c", [f"Describe {number}." for number in range(6)], {"rm": [GOOD] * 6}, "q", judge=2)
    response = idle.get("/v1/comparisons/runs?a=run_a&b=run_c")
    assert response.status_code == 422
    assert "no oracle judged both runs; the first has judge@1, the second judge@2" in response.text


@pytest.mark.usefixtures("two_runs")
def test_the_command_says_the_same(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    database = ["--database-url", settings.database_url]
    assert main(["compare", "run_a", "run_b", "--draws", "200", "--json", *database]) == 0
    found = json.loads(capsys.readouterr().out)["data"]
    assert [each["r_a"] for each in found] == pytest.approx([0.75, 0.75])
    assert main(["compare", "run_a", "run_b", "--draws", "200", *database]) == 0
    table = capsys.readouterr().out
    assert "0.750" in table
    assert "not resolved" in table or "better" in table
    assert main(["compare", "run_a", "run_b", "--confidence", "2", *database]) == 2
    assert main(["compare", "run_a", "run_a", *database]) == 2
