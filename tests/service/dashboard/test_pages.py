"""The pages show what is stored, escape what models wrote, and run no script but their own."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from service.dashboard import jobs
from service.db.session import writing
from service.db.tables import JobMetric

R = {"reward": {0.5: 0.6, 1.5: 0.4, 2.0: None}, "length": {0.5: 0.05, 1.5: 0.2, 2.0: 0.1}}
EVIL = "<script>alert(1)</script>"


def test_an_empty_database_says_which_command_to_run(browser: TestClient, read: Callable[..., str]) -> None:
    assert "make demo" in read("/")
    assert "assay stress RECIPE.yaml" in read("/")
    assert "plotly" not in browser.get("/").text
    assert "assay train RECIPE.yaml" in read("/jobs")


def test_no_connection_is_held_while_a_log_is_fetched(
    app: FastAPI, read: Callable[..., str], add_job: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, held = add_job("sft"), []

    def log_tail(*_: object) -> str:
        held.append(app.state.sessions.kw["bind"].pool.checkedout())
        return "step 1\n"

    monkeypatch.setattr(jobs, "log_tail", log_tail)
    assert "step 1" in read(f"/jobs/{job}")
    assert held == [0]


def test_a_job_shows_its_metrics_and_what_failed(
    browser: TestClient, read: Callable[..., str], add_job: Callable[..., str], make_session: sessionmaker[Session]
) -> None:
    job = add_job("sft", "failed", error_code="run_failed", error_detail="the loss is not finite")
    with writing(make_session) as session:
        session.add_all(JobMetric(job=job, stage="train", name="loss", step=n, value=2.0 / n) for n in (1, 2, 4))

    seen = read(f"/jobs/{job}")
    assert "the loss is not finite" in seen
    assert f'action="/jobs/{job}/resume"' in browser.get(f"/jobs/{job}").text
    assert "loss train 4 0.5000" in seen
    assert "demo" in read("/jobs")


@pytest.mark.parametrize(
    "address",
    ["/runs/run_none", "/jobs/job_none", "/runs?cursor=made-up", "/runs/run_none/responses", "/compare?a=run_none"],
)
def test_what_is_not_there_is_a_page_too(browser: TestClient, address: str) -> None:
    page = browser.get(address)

    assert page.status_code in {404, 422}
    assert page.headers["content-type"].startswith("text/html")
    assert "Back to the overview" in page.text


def test_whatever_was_stored_is_escaped(
    browser: TestClient, measure: Callable[..., str], row: Callable[..., dict[str, Any]], add_job: Callable[..., str]
) -> None:
    recipe = {"kind": "stress_test", "policy": {"path": EVIL}}
    run = measure(R, [row(EVIL, 0.5, 0.9)], name=EVIL, recipe=recipe)
    failed = add_job(name=EVIL, status="failed", error_code="run_failed", error_detail=EVIL, recipe=recipe)

    for address in ("/", "/runs", f"/runs/{run}", f"/runs/{failed}", f"/compare?a={run}", "/jobs", f"/jobs/{failed}"):
        page = browser.get(address).text
        assert EVIL not in page
        assert "&lt;script&gt;alert(1)" in page


def test_pages_allow_no_script_but_their_own(browser: TestClient, measure: Callable[..., str]) -> None:
    run = measure(R)
    for address in ("/", "/runs", f"/runs/{run}", f"/runs/{run}/responses", "/compare", "/jobs", "/runs/none"):
        page = browser.get(address)
        policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
        assert policy["script-src"] == "'self'"
        assert policy["default-src"] == "'none'"
        assert policy["frame-ancestors"] == "'none'"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"<script(?![^>]*(src=|type=.application/json))", page.text)
        assert not re.search(r"\son\w+=", page.text)
        assert "http://" not in page.text.replace("http://www.w3.org/", "")
        assert "https://" not in page.text


def test_links_and_files_stay_below_the_prefix_a_proxy_serves_under(app: FastAPI, measure: Callable[..., str]) -> None:
    run = measure(R)
    with TestClient(app, root_path="/assay") as browser:
        pages = [browser.get(page).text for page in ("/", "/runs", f"/runs/{run}", f"/compare?a={run}", "/runs/none")]
    found = [re.findall(r'(?:href|src|action|data-events|data-figures)="([^"]+)"', page) for page in pages]
    addresses = [address for its in found for address in its]

    assert min(map(len, found)) > 8
    assert [address for address in addresses if not address.startswith(("/assay/", "#"))] == []


def test_every_link_of_the_pages_leads_somewhere(browser: TestClient, measure: Callable[..., str]) -> None:
    run = measure(R)
    followed = set()
    for address in (
        "/",
        "/runs",
        f"/runs/{run}",
        f"/runs/{run}/responses",
        f"/compare?a={run}",
        "/jobs",
        f"/jobs/{run}",
    ):
        for link in re.findall(r'(?:href|src|data-figures)="([^"#]+)', browser.get(address).text):
            if not link.startswith("/v1/"):
                assert browser.get(link.replace("&amp;", "&")).status_code == 200, link
                followed.add(link)

    assert {"/", "/jobs", "/docs", f"/runs/{run}"} <= followed


def test_plotly_and_style_come_from_here_and_may_be_kept(browser: TestClient, measure: Callable[..., str]) -> None:
    measure(R)
    files = re.findall(r'"(/static/[^"]+)"', browser.get("/").text)

    assert {file.split("?")[0] for file in files} == {
        f"/static/{name}" for name in ("mark.svg", "style.css", "plotly.min.js", "figures.js", "live.js")
    }
    for file in files:
        answer = browser.get(file)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert browser.get("/static/..%2Fpages.py").status_code == 404
    assert browser.get("/static/pages.py").status_code == 404


def test_a_training_job_shows_its_curves(
    browser: TestClient, add_job: Callable[..., str], make_session: sessionmaker[Session]
) -> None:
    job = add_job("ganpo")
    assert "plotly" not in browser.get(f"/jobs/{job}").text
    values = {"loss": 0.5, "rewards/margins": 0.25}
    with writing(make_session) as session:
        session.add_all(
            JobMetric(job=job, stage="train", name=name, step=step, value=value * step)
            for name, value in values.items()
            for step in (1, 2)
        )
    page = browser.get(f"/jobs/{job}").text
    figure = re.search(r'<script type="application/json" id="training-train">(.*?)</script>', page, re.DOTALL)
    assert figure is not None
    assert {trace["name"]: trace["y"] for trace in json.loads(figure[1])["data"]} == {
        "loss": [0.5, 1.0],
        "rewards/margins": [0.25, 0.5],
    }
    assert "plotly.min.js" in page
