"""Stress tests with a few known numbers, and a browser without JavaScript to look at them."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker
from starlette.routing import BaseRoute

from service.access import Identify
from service.dashboard import artifacts, drawn, jobs, new_recipe, pages, try_it
from service.dashboard.drawn import Drawn
from service.db.ids import new_id
from service.db.session import writing
from service.db.tables import Job
from service.jobs.kinds import id_prefix
from service.keyring import Keyring
from service.metrics import Metrics
from service.problems import add_problem_handlers
from service.scoring import ScoringService
from service.sending import Exports
from service.settings import Settings
from tests.correlation_lines import estimate
from tests.stored_runs import ingest_run
from trainer.artifacts import ArtifactStore

AddJob = Callable[..., str]
Measure = Callable[..., str]


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Released by each who waits for what somebody else draws."""
    count = threading.Semaphore(0)

    class Heard(Future[bytes]):
        def result(self, timeout: float | None = None) -> bytes:
            count.release()
            return super().result(timeout)

    monkeypatch.setattr(drawn, "Future", Heard)
    return count


@pytest.fixture
def add_job(make_session: sessionmaker[Session]) -> AddJob:
    """Adds a job, a succeeded stress test of yesterday unless said otherwise; returns its id."""

    def add(kind: str = "stress_test", status: str = "succeeded", **fields: Any) -> str:
        yesterday = datetime.now(UTC) - timedelta(days=1)
        defaults: dict[str, Any] = {
            "name": "demo",
            "recipe": {"kind": kind, "policy": {"path": "demo/policy"}},
            "recipe_digest": "d" * 64,
            "labels": {},
            "executor": "local",
            "attempts": 1,
            "max_attempts": 3,
            "code_version": "0.1.0",
            "created_at": yesterday,
            "started_at": yesterday,
            "finished_at": yesterday + timedelta(seconds=90) if status == "succeeded" else None,
        }
        job = Job(id=new_id(id_prefix(kind)), kind=kind, status=status, **{**defaults, **fields})
        with writing(make_session) as session:
            session.add(job)
        return job.id

    return add


@pytest.fixture
def measure(make_session: sessionmaker[Session], add_job: AddJob, tmp_path: Path) -> Measure:
    """Stores a finished stress test; ``r`` is by scorer and temperature, and ``more`` are further rows."""

    def store(r: dict[str, dict[float, float | None]], more: list[dict[str, Any]] | None = None, **fields: Any) -> str:
        run = add_job(**fields)
        directory = tmp_path / run
        directory.mkdir()
        rows = [estimate(scorer, t, value) for scorer, path in r.items() for t, value in path.items()] + (more or [])
        (directory / "correlations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (directory / "result.json").write_text(json.dumps({"status": "succeeded", "result": {"policy": "demo/policy"}}))
        with writing(make_session) as session:
            ingest_run(session, run, directory)
        return run

    return store


@pytest.fixture
def sample(make_session: sessionmaker[Session], add_job: AddJob, tmp_path: Path) -> Measure:
    """Stores a finished stress test with responses: ``sample(rows)``, a dictionary for each response.

    A row has ``prompt``, which is its id too, and ``scores`` by scorer; ``T``, ``text``, ``judge``, ``finish_reason``
    and ``length`` as needed. ``correlations`` are lines as ``row`` makes them.
    """

    def store(rows: list[dict[str, Any]], correlations: list[dict[str, Any]] | None = None, **fields: Any) -> str:
        run = add_job(**fields)
        directory = tmp_path / run
        directory.mkdir()
        prompts = {
            row["prompt"]: {"prompt_id": row["prompt"], "prompt": row.get("asked", row["prompt"])} for row in rows
        }
        responses, scores = [], []
        for replicate, row in enumerate(rows):
            cell = {"prompt_id": row["prompt"], "temperature": row.get("T", 1.0), "replicate": replicate}
            known = {name: row[name] for name in ("finish_reason", "tokens") if name in row}
            responses.append({**cell, "response": row.get("text", "some text"), **known})
            said = {("scorer", name): value for name, value in row["scores"].items()}
            said |= {("oracle", "judge"): row["judge"], ("control", "length"): row.get("length", 1.0)}
            scores += [
                {
                    **cell,
                    "role": role,
                    "scorer": name,
                    "scorer_version": 3 if role == "scorer" else None,
                    "score": value,
                }
                for (role, name), value in said.items()
            ]
        lines = {
            "prompts": prompts.values(),
            "responses": responses,
            "scores": scores,
            "correlations": correlations or [],
        }
        for name, its in lines.items():
            (directory / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in its))
        (directory / "result.json").write_text(json.dumps({"status": "succeeded", "result": {"policy": "demo/policy"}}))
        with writing(make_session) as session:
            ingest_run(session, run, directory)
        return run

    return store


def text_of(page: str) -> str:
    """What a reader sees: no markup, entities read, white space folded."""
    seen = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", page.replace("<wbr>", ""), flags=re.DOTALL)
    return " ".join(unescape(seen).split())


@pytest.fixture
def read(browser: TestClient) -> Callable[..., str]:
    """``read(address)``: what somebody who opens a page sees."""

    def reader(address: str, status: int = 200) -> str:
        answer = browser.get(address)
        assert answer.status_code == status, answer.text
        return text_of(answer.text)

    return reader


@pytest.fixture
def row() -> Callable[..., dict[str, Any]]:
    """``row(scorer, temperature, r, **fields)``: a line of correlations.jsonl."""
    return estimate


@pytest.fixture(scope="session")
def page_routes() -> list[BaseRoute]:
    """As in ``service.app``: read once for all applications."""
    everything = APIRouter()
    for router in (pages.router, pages.files, *(each.router for each in (jobs, artifacts, try_it, new_recipe))):
        everything.include_router(router)
    return everything.routes


@pytest.fixture
def app(make_session: sessionmaker[Session], settings: Settings, page_routes: list[BaseRoute]) -> FastAPI:
    """The pages over a database."""
    app = FastAPI(docs_url=None, routes=page_routes)
    app.state.settings = settings
    app.state.sessions = make_session
    app.state.owner = True
    app.state.drawn = Drawn()
    app.state.exports = Exports(1)
    app.state.scoring = ScoringService(ArtifactStore(settings.artifact_dir))
    app.state.keyring = Keyring(make_session)
    app.state.metrics = Metrics(make_session)
    app.add_middleware(Identify)
    add_problem_handlers(app)
    return app


@pytest.fixture
def browser(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client
