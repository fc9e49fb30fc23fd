"""Every page leads to what it shows as JSON, and every such link is answered."""

import re
from collections.abc import Callable, Iterable, Iterator
from html import unescape
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.app import create_app
from service.jobs.kinds import EVALUATION_KINDS, TRAINING_KINDS
from service.settings import Settings
from trainer.manifest import Artifact

KINDS = (*EVALUATION_KINDS, *TRAINING_KINDS)
ALWAYS = (
    *("/", "/runs", "/compare", "/history", "/monitoring", "/jobs", "/artifacts", "/try", "/docs"),
    *("/new/stress-test", "/new/training-job"),
)
"""Pages that are there whatever is stored. Who logs in is shown nothing yet."""

STATES = ("queued", "running", "succeeded", "failed", "cancelled", "lost")


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


def linked(client: TestClient, pages: Iterable[str]) -> set[str]:
    """What ``pages`` link as JSON. Every one of them has such a link, and every link is answered."""
    links: dict[str, str] = {}
    for address in pages:
        page = client.get(address)
        assert page.status_code == 200, address
        found = json_links(page.text)
        assert found, f"{address} leads to no JSON"
        links |= dict.fromkeys(found, address)
    answers = {href: client.get(href) for href in links}
    assert {href: answer.status_code for href, answer in answers.items() if answer.status_code != 200} == {}
    told = {href: answer.headers["content-type"].partition(";")[0] for href, answer in answers.items()}
    others = {href for href, media in told.items() if media != "application/json"}
    assert all(re.search(r"/logs$|/report\.html$|format=(csv|tar)", href) for href in others), others
    return set(links)


def test_every_page_leads_to_its_json_and_every_link_is_answered(
    client: TestClient, add_job: Callable[..., str], measure: Callable[..., str], sample: Callable[..., str]
) -> None:
    scored = [{"prompt": p, "scores": {"reward": s}, "judge": s} for p, s in (("a", 0.1), ("b", 0.3))]
    runs = [measure({"reward": {0.5: 0.6, 1.5: 0.4}}, kind=kind) for kind in EVALUATION_KINDS]
    runs.append(sampled := sample(scored))
    jobs = [add_job(kind, status) for kind in TRAINING_KINDS for status in ("queued", "succeeded")]
    states = [add_job(kind, status) for kind in ("stress_test", "audit", "ganpo") for status in STATES]
    runs += [job for job in states if job.startswith("run_")]
    links = linked(
        client,
        [
            *ALWAYS,
            *("/runs?kind=win_rate", "/runs?name=none", "/jobs?status=lost", "/jobs?label=a%3Db"),
            *("/artifacts?kind=policy", "/artifacts/helpful", "/artifacts/helpful@1"),
            *(f"/runs/{run}" for run in runs),
            *(f"/runs/{sampled}/responses{more}" for more in ("", "/1", "?order=disagreement", "?only=truncated")),
            *(f"/runs/{run}/responses" for run in (runs[0], states[0])),
            f"/compare?a={runs[0]}&b={runs[0]}&scorer_a=reward&scorer_b=reward",
            *(f"/jobs/{job}" for job in {*runs, *jobs, *states}),
        ],
    )

    resources = {href.split("/")[2].partition("?")[0] for href in links if href.startswith("/v1/")}
    assert resources >= {"stress-tests", "audits", "win-rates", "benchmarks", "training-jobs", "history", "artifacts"}
    assert len(links) > 100


def test_pages_that_have_nothing_to_show_lead_to_their_json_too(settings: Settings, databases: Any) -> None:
    with TestClient(create_app(settings.model_copy(update={"job_slots": 0}), owner=True)) as client:
        assert "/v1/history" in linked(client, ALWAYS)
