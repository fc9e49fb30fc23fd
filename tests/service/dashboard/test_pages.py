"""The pages show what is stored, escape what models wrote, and run no script but their own."""

import json
import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from service.db.session import writing
from service.db.tables import JobMetric

R = {"reward": {0.5: 0.6, 1.5: 0.4, 2.0: None}, "length": {0.5: 0.05, 1.5: 0.2, 2.0: 0.1}}
COMING = {"/runs", "/compare", "/history", "/artifacts", "/try"}
"""Pages that the navigation names and nobody has written yet: whoever writes one takes it off."""
EVIL = "<script>alert(1)</script>"


def text_of(page: str) -> str:
    """What a reader sees: no markup, entities read, white space folded."""
    seen = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(seen).split())


def test_an_empty_database_says_which_command_to_run(browser: TestClient) -> None:
    overview, jobs = browser.get("/"), browser.get("/jobs")

    assert (overview.status_code, jobs.status_code) == (200, 200)
    assert "make demo" in text_of(overview.text)
    assert "assay stress RECIPE.yaml" in text_of(overview.text)
    assert "plotly" not in overview.text
    assert "assay train RECIPE.yaml" in text_of(jobs.text)


def test_the_overview_tells_the_latest_verdict_and_every_run(
    browser: TestClient, measure: Callable[..., str], add_job: Callable[..., str]
) -> None:
    older = measure({"weak": {1.0: 0.15}}, name="older")
    latest = measure(R, name="latest")
    add_job(name="broken", status="failed", error_code="run_failed", error_detail="the judge does not answer")

    page = browser.get("/")
    seen = text_of(page.text)

    assert page.status_code == 200
    assert f'href="/runs/{latest}"' in page.text
    assert f'href="/runs/{older}"' in page.text
    # the leading scorer of the latest run is weakest at T = 1.5, where r = 0.40 [0.30, 0.50]
    assert "reward orders responses to the same prompt as judge does" in seen
    assert "reward 1.5 0.40 [0.30, 0.50]" in seen
    assert "weak 1 0.15 [0.05, 0.25]" in seen
    assert "the judge does not answer" in seen
    figure = re.search(r'<script type="application/json" id="agreement">(.*?)</script>', page.text, re.DOTALL)
    assert figure is not None
    assert {trace["name"] for trace in json.loads(figure[1])["data"] if "name" in trace} == {"reward", "length"}


def test_what_is_under_way_shows_how_far_it_is(browser: TestClient, add_job: Callable[..., str]) -> None:
    progress = {"stage": "sample", "done": 1200, "total": 4800, "unit": "response", "rate": 10.0, "eta_seconds": 360.0}
    running = add_job(name="big", status="running", progress=progress)
    add_job("reward_model", "queued", name="waiting")

    page = browser.get("/")
    seen = text_of(page.text)
    assert "sample 1,200 of 4,800 responses , about 6 min left" in seen
    assert "queued, 1 in line" in seen
    assert f'data-events="/v1/stress-tests/{running}/events' in page.text


def test_a_run_has_its_table_with_intervals_and_says_why_a_number_is_missing(
    browser: TestClient, measure: Callable[..., str]
) -> None:
    page = browser.get(f"/runs/{measure(R)}")
    seen = text_of(page.text)

    assert page.status_code == 200
    assert "Scorer T = 0.5 T = 1.5 T = 2" in seen
    assert "reward 0.60 [0.50, 0.70] 0.40 [0.30, 0.50] \N{EN DASH} undefined: every score is the same" in seen
    assert "Trivial controls length 0.05 [\N{MINUS SIGN}0.05, 0.15]" in seen
    # 0.05 with an interval that holds zero is pale, 0.60 is not
    assert page.text.count(' class="n unsure"') == 2
    assert "prompt-cluster bootstrap" in seen
    assert "demo/policy" in seen


def test_a_run_is_shown_by_another_statistic_and_oracle(
    browser: TestClient, measure: Callable[..., str], row: Callable[..., dict[str, Any]]
) -> None:
    run = measure(R, [row("reward", 0.5, 0.77, statistic="pearson_pooled", oracle="human & co")])

    chosen = text_of(browser.get(f"/runs/{run}", params={"statistic": "pearson_pooled", "oracle": "human & co"}).text)
    assert "Agreement with human & co" in chosen
    assert "0.77 [0.67, 0.87]" in chosen
    assert "0.40 [0.30, 0.50]" not in chosen
    assert browser.get(f"/runs/{run}?statistic=charm").status_code == 404


def test_a_run_shows_what_became_of_its_responses_where_means_were_recorded(
    browser: TestClient, measure: Callable[..., str], row: Callable[..., dict[str, Any]]
) -> None:
    means = [row(name, t, t, statistic="mean", oracle=name) for name in ("judge", "length") for t in (0.5, 1.5)]
    page = browser.get(f"/runs/{measure(R, means)}").text

    assert "What judge thinks of the responses" in text_of(page)
    assert re.findall(r'application/json" id="([\w-]+)"', page) == ["agreement", "judgement-judge", "texts"]
    # a mean is compared with nothing: what is averaged is no oracle
    assert "oracle=length" not in page
    assert "thinks of the responses" not in browser.get(f"/runs/{measure(R)}").text


def test_a_run_that_measured_nothing_yet_has_a_page(browser: TestClient, add_job: Callable[..., str]) -> None:
    running = browser.get(f"/runs/{add_job(status='running')}")
    failed = browser.get(f"/runs/{add_job(status='failed', error_code='run_failed', error_detail='no judge')}")

    assert "running" in text_of(running.text)
    assert "no judge" in text_of(failed.text)


def test_a_job_shows_its_metrics_and_what_failed(
    browser: TestClient, add_job: Callable[..., str], make_session: sessionmaker[Session]
) -> None:
    job = add_job("sft", "failed", error_code="run_failed", error_detail="the loss is not finite")
    with writing(make_session) as session:
        session.add_all(JobMetric(job=job, stage="train", name="loss", step=n, value=2.0 / n) for n in (1, 2, 4))

    page = browser.get(f"/jobs/{job}").text
    seen = text_of(page)
    assert "the loss is not finite" in seen
    assert f'action="/jobs/{job}/resume"' in page
    assert "loss train 4 0.5000" in seen
    assert "demo" in text_of(browser.get("/jobs").text)


@pytest.mark.parametrize("address", ["/runs/run_none", "/jobs/job_none", "/?cursor=made-up"])
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

    for address in ("/", f"/runs/{run}", f"/runs/{failed}", "/jobs", f"/jobs/{failed}"):
        page = browser.get(address).text
        assert EVIL not in page
        assert "&lt;script&gt;alert(1)" in page


def test_pages_allow_no_script_but_their_own(browser: TestClient, measure: Callable[..., str]) -> None:
    for address in ("/", f"/runs/{measure(R)}", "/jobs", "/runs/none"):
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
    measure(R)
    with TestClient(app, root_path="/assay") as browser:
        addresses = re.findall(r'(?:href|src|data-events)="([^"]+)"', browser.get("/").text)

    assert len(addresses) > 8
    assert [address for address in addresses if not address.startswith(("/assay/", "#"))] == []


def test_every_link_of_the_pages_leads_somewhere(browser: TestClient, measure: Callable[..., str]) -> None:
    run = measure(R)
    followed = set()
    for address in ("/", f"/runs/{run}", "/jobs", f"/jobs/{run}"):
        for link in re.findall(r'(?:href|src)="([^"#]+)', browser.get(address).text):
            if not link.startswith("/v1/") and link not in COMING:
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
