"""Every page leads to what it shows as JSON, and every such link is answered."""

import re
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.app import create_app
from service.jobs.kinds import EVALUATION_KINDS, TRAINING_KINDS
from service.settings import Settings
from trainer.artifacts import Artifact

KINDS = (*EVALUATION_KINDS, *TRAINING_KINDS)
FORMS = ("/try", "/new/stress-test", "/new/training-job", "/login", "/docs")
"""They show nothing that is stored."""


@pytest.fixture
def client(settings: Settings, databases: Any, publisher: Callable[..., Artifact]) -> Iterator[TestClient]:
    """The whole server, without jobs."""
    app: FastAPI = create_app(settings.model_copy(update={"job_slots": 0}), owner=True)
    publisher(app.state.scoring.artifacts, "helpful", seed=1)
    with TestClient(app) as client:
        yield client


def json_links(page: str) -> list[str]:
    found = (unescape(href) for href in re.findall(r'href="([^"]+)"', page))
    return [href for href in found if href.startswith("/v1/") or ".json" in href]


def test_every_page_leads_to_its_json_and_every_link_is_answered(
    client: TestClient, add_job: Callable[..., str], measure: Callable[..., str], sample: Callable[..., str]
) -> None:
    scored = [{"prompt": p, "scores": {"reward": s}, "judge": s} for p, s in (("a", 0.1), ("b", 0.3))]
    runs = [measure({"reward": {0.5: 0.6, 1.5: 0.4}}, kind=kind) for kind in EVALUATION_KINDS]
    runs += [sample(scored), add_job("win_rate", "queued"), add_job("benchmark", "failed", error_code="run_failed")]
    jobs = [*runs, *(add_job(kind, status) for kind in TRAINING_KINDS for status in ("queued", "succeeded"))]
    pages = [
        *("/", "/runs", "/runs?kind=win_rate", "/runs?name=none", "/compare", "/history", "/monitoring"),
        *("/jobs", "/jobs?status=lost", "/artifacts", "/artifacts/helpful", "/artifacts/helpful@1"),
        *(f"/runs/{run}" for run in runs),
        *(f"/runs/{runs[-3]}/responses{more}" for more in ("", "/1")),
        f"/compare?a={runs[0]}&b={runs[0]}&scorer_a=reward&scorer_b=reward",
        *(f"/jobs/{job}" for job in jobs),
    ]
    links: dict[str, str] = {}
    for address in (*pages, *FORMS):
        page = client.get(address)
        assert page.status_code == 200, address
        found = json_links(page.text)
        assert found or address in FORMS, f"{address} leads to no JSON"
        links |= dict.fromkeys(found, address)

    answers = {href: client.get(href) for href in links}
    assert {href: answer.status_code for href, answer in answers.items() if answer.status_code != 200} == {}
    told = {href: answer.headers["content-type"].partition(";")[0] for href, answer in answers.items()}
    others = {href for href, media in told.items() if media != "application/json"}
    assert all(re.search(r"/logs$|/report\.html$|format=(csv|tar)", href) for href in others), others
    resources = {href.split("/")[2].partition("?")[0] for href in links if href.startswith("/v1/")}
    assert resources >= {"stress-tests", "audits", "win-rates", "benchmarks", "training-jobs", "history", "artifacts"}
    assert len(links) > 100
