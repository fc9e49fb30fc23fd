"""Prometheus is told what happened, in labels that do not grow with what is asked."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from evaluation.engine.meter import BatchReading, Waiting
from evaluation.engine.terms import Priority
from service.app import create_app
from service.db.job_counts import job_counts, oldest_queued_seconds
from service.db.session import writing
from service.db.tables import Job
from service.metrics import Metrics
from service.score_schema import AnsweringScorer, NoScore, Reason, Score, ScoreAnswer, ScoredItem, UnusableScorer
from service.settings import Settings
from trainer.artifacts import ArtifactStore
from trainer.manifest import Artifact

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
Values = dict[tuple[str, ...], float]


def read(text: str) -> Values:
    """Samples by name and label values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def add(session: Session, number: int, kind: str, status: str, seconds: float | None) -> None:
    session.add(
        Job(
            id=f"job_{number}",
            kind=kind,
            name="j",
            status=status,
            recipe={},
            recipe_digest="",
            labels={},
            executor="local",
            max_attempts=1,
            code_version="",
            created_at=NOW,
            started_at=None if seconds is None else NOW,
            finished_at=None if seconds is None else NOW + timedelta(seconds=seconds),
        )
    )


def test_jobs_are_counted_and_timed_by_the_database(make_session: sessionmaker[Session]) -> None:
    with writing(make_session) as session:
        add(session, 1, "sft", "succeeded", 1.5)
        add(session, 2, "sft", "succeeded", 2.25)
        add(session, 3, "sft", "failed", 86_400.0)
        add(session, 4, "audit", "queued", None)
        add(session, 5, "audit", "succeeded", -3600.0)  # the clock was put back meanwhile

    with make_session() as session:
        found = {(row.kind, row.status): (row.jobs, row.finished, row.seconds) for row in job_counts(session)}
        waiting = oldest_queued_seconds(session)
    assert found["sft", "succeeded"] == (2, 2, pytest.approx(3.75, abs=0.002))
    assert found["sft", "failed"] == (1, 1, pytest.approx(86_400, abs=0.002))
    assert found["audit", "queued"] == (1, 0, 0.0)
    assert found["audit", "succeeded"] == (1, 1, 0.0)
    assert waiting == 0.0  # queued in a year to come


def test_requests_are_counted_by_the_template_of_their_route(settings: Settings) -> None:
    app: FastAPI = create_app(settings.model_copy(update={"job_slots": 0}))
    with writing(app.state.sessions) as session:
        add(session, 1, "sft", "succeeded", 10.0)
    with TestClient(app) as client:
        for job in ("one", "two", "three"):
            client.get(f"/v1/training-jobs/{job}/events")
        client.get("/no/such/page")
        client.request("BREW", "/livez")
        answer = client.get("/metrics")

    found = read(answer.text)
    assert answer.headers["content-type"].startswith("text/plain")
    assert found["assay_http_requests_total", "GET", "/v1/training-jobs/{job_id}/events", "404"] == 3
    assert found["assay_http_requests_total", "GET", "unmatched", "404"] == 1
    assert found["assay_http_requests_total", "other", "/livez", "405"] == 1
    assert found["assay_http_request_seconds_count", "GET", "/v1/training-jobs/{job_id}/events"] == 3
    assert found["assay_jobs", "sft", "succeeded"] == 1
    assert found["assay_job_seconds_total", "sft", "succeeded"] == pytest.approx(10.0, abs=0.002)
    assert found["assay_jobs_finished_total", "sft", "succeeded"] == 1


def scorer(asked: str, version: int) -> AnsweringScorer:
    return AnsweringScorer(
        scorer=asked,
        name="helpful",
        version=version,
        output="score",
        kind="reward_model",
        orientation="higher is better",
        template_hash="",
        calibration=None,
        pointwise=True,
        contrasts=["responses"],
        prefer=None,
    )


def test_scores_are_counted_by_exact_version_with_what_was_cut_and_what_went_wrong(
    make_session: sessionmaker[Session],
) -> None:
    metrics = Metrics(make_session)
    broken = UnusableScorer(scorer="b", error=Reason(code="broken_artifact", detail="digest"))
    cells = [
        {"a": Score(score=0.4, probability=None, tokens=10, truncated_tokens=0), "b": NoScore(error=broken.error)},
        {"a": Score(score=4.0, probability=None, tokens=20, truncated_tokens=7), "b": NoScore(error=broken.error)},
        {"a": NoScore(error=Reason(code="overlong_input", detail="")), "b": NoScore(error=broken.error)},
    ]
    metrics.scores.observe(
        ScoreAnswer(scorers=[scorer("a", 3), broken], items=[ScoredItem(id=None, scores=[row]) for row in cells])
    )

    sample: Callable[..., float | None] = metrics.registry.get_sample_value
    of = {"scorer": "helpful@3:score"}
    assert sample("assay_score_count", of) == 2
    assert sample("assay_score_bucket", {**of, "le": "0.5"}) == 1
    assert sample("assay_scored_tokens_total", of) == 30
    assert sample("assay_truncated_pairs_total", of) == 1
    assert sample("assay_truncated_tokens_total", of) == 7
    assert sample("assay_score_errors_total", {**of, "code": "overlong_input"}) == 1
    assert sample("assay_score_errors_total", {"scorer": "unusable", "code": "broken_artifact"}) == 3


def test_batches_and_the_line_are_told_by_the_engine(make_session: sessionmaker[Session]) -> None:
    metrics = Metrics(make_session)
    sample = metrics.registry.get_sample_value
    assert sample("assay_queue_depth") is None  # no engine yet
    metrics.engine.watch_line(lambda: Waiting(pairs=5, held_pairs=2, oldest_seconds=0.25))
    metrics.engine.batch(BatchReading(rows=9, tokens=900, padding=100, prefix_hits=3, seconds=0.5))
    metrics.engine.batch(BatchReading(rows=3, tokens=300, padding=0, prefix_hits=0, seconds=0.25))
    metrics.engine.halved(out_of_memory=True)
    metrics.engine.waited(Priority.TRAINER, 0.125)

    assert (sample("assay_batch_tokens_sum"), sample("assay_padding_tokens_total")) == (1200, 100)
    assert (sample("assay_batch_seconds_sum"), sample("assay_batch_tokens_count")) == (0.75, 2)
    assert (sample("assay_batch_rows_total"), sample("assay_prefix_hits_total")) == (12, 3)
    assert sample("assay_batches_halved_total", {"reason": "memory"}) == 1
    assert sample("assay_queue_wait_seconds_sum", {"priority": "trainer"}) == 0.125
    assert (sample("assay_queue_depth"), sample("assay_queue_held")) == (5, 2)
    assert sample("assay_queue_age_seconds") == 0.25


def test_what_a_server_scores_is_in_its_metrics(settings: Settings, publish: Callable[..., Artifact]) -> None:
    publish(ArtifactStore(settings.artifact_dir), "mine", seed=1)
    pairs = [{"prompt": "product lamp", "response": text} for text in ("It is blue .", "It is red .", " ")]
    with TestClient(create_app(settings.model_copy(update={"job_slots": 0})), base_url="http://localhost") as client:
        assert client.post("/v1/scores", json={"scorers": ["mine"], "items": pairs}).status_code == 200
        told = read(client.get("/metrics").text)
        while told["assay_queue_depth",]:  # a pair's place is free a moment after its score is there
            told = read(client.get("/metrics").text)

    assert told["assay_batch_rows_total",] == 2
    assert told["assay_batch_tokens_sum",] == told["assay_scored_tokens_total", "mine@1:score"] > 8
    assert told["assay_score_errors_total", "invalid_input", "mine@1:score"] == 1
    assert told["assay_queue_wait_seconds_count", "interactive"] == 2


def test_without_its_database_a_server_still_tells_all_else(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"job_slots": 0}))
    with TestClient(app) as client:
        assert read(client.get("/metrics").text)["assay_database_up",] == 1
        with app.state.engine.begin() as connection:
            connection.execute(text("ALTER TABLE jobs RENAME TO gone"))
        answer = client.get("/metrics")
        with app.state.engine.begin() as connection:
            connection.execute(text("ALTER TABLE gone RENAME TO jobs"))

    assert answer.status_code == 200
    found = read(answer.text)
    assert found["assay_database_up",] == 0
    assert found["assay_http_requests_total", "GET", "/metrics", "200"] == 1
    assert ("assay_jobs_oldest_queued_seconds",) not in found
