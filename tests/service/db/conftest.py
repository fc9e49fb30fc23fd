"""A small finished stress test whose numbers are known."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker

from service.db.ids import new_id
from service.db.session import writing
from service.db.tables import Job
from tests.correlation_lines import estimate
from tests.stored_runs import ingest_run

AddJob = Callable[..., str]


@pytest.fixture
def add_job(make_session: sessionmaker[Session]) -> AddJob:
    """Adds a job row, succeeded unless said otherwise; returns its id."""

    def add(kind: str = "stress_test", status: str = "succeeded", **fields: Any) -> str:
        id_ = new_id("run" if kind == "stress_test" else "job")
        job = Job(
            id=id_,
            kind=kind,
            status=status,
            **{
                "name": "demo",
                "recipe": {"kind": kind},
                "recipe_digest": "d" * 64,
                "labels": {},
                "executor": "local",
                "max_attempts": 3,
                "code_version": "0.1.0",
                "created_at": datetime.now(UTC),
                **fields,
            },
        )
        with writing(make_session) as session:
            session.add(job)
        return id_

    return add


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def stress_run(tmp_path: Path) -> Path:
    """Two prompts, at temperature 0 once and at 1.5 twice; scorer `helpful`, control `length`, oracle `judge`.

    ``helpful`` could not score the last response and the correlation at temperature 0 is undefined.
    """
    directory = tmp_path / "finished"
    directory.mkdir()
    prompts = [{"prompt_id": f"p{i}", "prompt": f"Describe product {i}.", "task": {"product": i}} for i in range(2)]
    cells = [(f"p{i}", t, r) for i in range(2) for t, r in ((0.0, 0), (1.5, 0), (1.5, 1))]
    responses = [
        {
            "prompt_id": prompt,
            "temperature": temperature,
            "replicate": replicate,
            "response": f"It is {prompt}\x00\ud800." if number == 5 else f"It is {prompt}.",
            "tokens": 4,
            "finish_reason": "stop",
            "mean_logprob": -0.5 * number,
            "sampler": {"top_p": 1.0},
        }
        for number, (prompt, temperature, replicate) in enumerate(cells)
    ]
    scores = [
        {
            "prompt_id": prompt,
            "temperature": temperature,
            "replicate": replicate,
            "scorer": scorer,
            "scorer_version": 2 if scorer == "helpful" else None,
            "role": role,
            "score": None if scorer == "helpful" and number == 5 else float(number),
            "tokens": 4,
            "truncated_tokens": 0,
            "error": {"code": "overlong_input", "detail": "too long"} if scorer == "helpful" and number == 5 else None,
        }
        for scorer, role in (("helpful", "scorer"), ("length", "control"), ("judge", "oracle"))
        for number, (prompt, temperature, replicate) in enumerate(cells)
    ]
    measured = {"scorer_version": 2, "policy": "my-policy@1", "n_responses": 3, "n_dropped": 1}
    correlations = [
        estimate("helpful", temperature, value, statistic=statistic, **measured)
        for statistic in ("pearson_pooled", "pearson_within")
        for temperature, value in ((0.0, None), (1.5, 0.5), (None, 0.25))
    ]
    write_jsonl(directory / "prompts.jsonl", prompts)
    write_jsonl(directory / "responses.jsonl", responses)
    write_jsonl(directory / "scores.jsonl", scores)
    write_jsonl(directory / "correlations.jsonl", correlations)
    result = {"status": "succeeded", "result": {"policy": "my-policy@1"}, "error": None}
    (directory / "result.json").write_text(json.dumps(result))
    return directory


@pytest.fixture
def store_run(make_session: sessionmaker[Session], add_job: AddJob, stress_run: Path) -> AddJob:
    """Adds a job and stores ``stress_run`` as what it left; returns its id."""

    def store(kind: str = "stress_test") -> str:
        run = add_job(kind)
        with writing(make_session) as session:
            ingest_run(session, run, stress_run)
        return run

    return store
