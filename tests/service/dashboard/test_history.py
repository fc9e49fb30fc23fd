"""The page of the history draws what was asked, says what it settled on, and leads on to the same for programs."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.routes import history as api

Correlate = Callable[..., str]
THURSDAY = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def browser(app: FastAPI) -> Iterator[TestClient]:
    app.include_router(api.router)
    with TestClient(app) as client:
        yield client


def text_of(page: str) -> str:
    seen = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(seen).split())


def drawn(page: str) -> dict[str, dict[str, Any]]:
    """The figure's lines by name."""
    found = re.search(r'<script type="application/json" id="history">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return {trace["name"]: trace for trace in json.loads(found[1])["data"]}


def two_runs(correlate: Correlate) -> tuple[str, str]:
    rows = [{"temperature": None}, {"temperature": 2.0, "estimate": 0.1, "lower": 0.0, "upper": 0.2}]
    control = {"scorer": "length", "scorer_version": None, "temperature": None, "estimate": 0.2}
    first = correlate([*rows, control], THURSDAY)
    second = correlate(
        [{**row, "scorer_version": 2, "policy": "p@2", "estimate": 0.55} for row in rows],
        THURSDAY + timedelta(days=1),
        name="weekly",
    )
    return first, second


def test_an_empty_history_says_which_command_to_run(browser: TestClient) -> None:
    page = browser.get("/history")

    assert page.status_code == 200
    assert "No history yet. " in text_of(page.text)
    assert "assay stress RECIPE.yaml" in text_of(page.text)
    assert "plotly" not in page.text


def test_a_part_of_the_responses_is_called_as_people_spell_it(browser: TestClient, correlate: Correlate) -> None:
    correlate([{"temperature": None}, {"temperature": None, "stratum": "non_degenerate"}], THURSDAY)

    assert "Responses all non-degenerate" in text_of(browser.get("/history").text)
    seen = text_of(browser.get("/history?stratum=non_degenerate").text)
    assert "r within prompts of rm with judge, over all T, non-degenerate responses" in seen


def test_it_begins_with_learned_scorers_over_all_temperatures(browser: TestClient, correlate: Correlate) -> None:
    first, second = two_runs(correlate)

    page = browser.get("/history").text
    seen = text_of(page)
    assert "r within prompts of rm with judge, over all T" in seen
    seen = text_of(browser.get("/history?by=oracle&every=year").text)
    assert "There is no line for each oracle, no point for each year; this is shown instead." in seen
    line = drawn(page)
    assert line.keys() == {"rm"}
    assert line["rm"]["y"] == [0.5, 0.55]
    assert line["rm"]["error_y"]["array"] == [pytest.approx(0.1), pytest.approx(0.05)]
    assert line["rm"]["x"] == ["2026-11-26T09:30:00+00:00", "2026-11-27T09:30:00+00:00"]
    # newest first beneath, with the version, the interval and what is behind it
    assert seen.index("weekly") < seen.index("nightly")
    assert re.search(r"weekly .{0,20}rm@2 p@2 0\.55 \[0\.40, 0\.60\] 10 40", seen)
    assert f'href="/runs/{first}"' in page
    assert f'href="/runs/{second}"' in page


@pytest.mark.parametrize(
    ("query", "lines"),
    [
        ("by=version", {"rm@1": [0.5], "rm@2": [0.55]}),
        ("by=policy", {"p@1": [0.5], "p@2": [0.55]}),
        ("scorer=length&scorer=rm", {"rm": [0.5, 0.55], "length": [0.2]}),
        ("temperature=2", {"rm": [0.1, 0.55]}),
        ("every=month&by=version", {"rm@1": [0.5], "rm@2": [0.55]}),
    ],
)
def test_the_address_says_what_is_drawn(
    browser: TestClient, correlate: Correlate, query: str, lines: dict[str, list[float]]
) -> None:
    two_runs(correlate)

    found = {name: trace["y"] for name, trace in drawn(browser.get(f"/history?{query}").text).items()}
    assert found == {name: [pytest.approx(each) for each in line] for name, line in lines.items()}


def test_a_point_for_each_week_combines_its_runs(browser: TestClient, correlate: Correlate) -> None:
    two_runs(correlate)

    page = browser.get("/history?every=week").text
    assert drawn(page)["rm"]["x"] == ["2026-11-23T00:00:00+00:00"]
    assert 0.5 < drawn(page)["rm"]["y"][0] < 0.55
    assert "Week of Scorer" in text_of(page)
    assert "2026-11-23 2 runs rm" in text_of(page)
    assert "Each stands at the beginning of its week." in text_of(page)


def test_a_week_of_runs_on_the_same_prompts_has_the_interval_of_one(browser: TestClient, correlate: Correlate) -> None:
    for day in range(4):
        correlate([{}], THURSDAY - timedelta(days=day), prompts=["a", "b"])

    page = browser.get("/history?every=week").text
    assert drawn(page)["rm"]["error_y"]["array"] == [pytest.approx(0.1)]
    assert "40 2 different 160" in text_of(page)  # what each run was asked, how many that are, and what was answered
    assert "as far as they share prompts, or may share some, their errors count as moving together" in text_of(page)


def test_what_is_not_there_is_said_and_replaced(browser: TestClient, correlate: Correlate) -> None:
    two_runs(correlate)

    seen = text_of(browser.get("/history?oracle=nobody&temperature=1.7&scorer=gone").text)
    assert "There is no oracle nobody, no temperature 1.7, no scorer gone; this is shown instead." in seen
    assert "r within prompts of rm with judge, over all T" in seen


def test_every_choice_leads_to_a_page_and_the_links_for_programs_to_the_same_numbers(
    browser: TestClient, correlate: Correlate
) -> None:
    two_runs(correlate)
    page = browser.get("/history?every=week&by=policy").text

    links = [unescape(link) for link in re.findall(r'href="(/history\?[^"]+)"', page)]
    assert len(links) > 8
    for link in links:
        assert browser.get(link).status_code == 200
    as_json, as_csv = (unescape(link) for link in re.findall(r'href="(/v1/history[^"]*)"', page))
    [one, other] = browser.get(as_json).json()["data"]
    assert sorted(each["y"] for each in drawn(page).values()) == sorted([[one["estimate"]], [other["estimate"]]])
    assert browser.get(as_csv).text.count("\n") == 3


def test_what_is_undefined_has_its_reason_and_no_figure(browser: TestClient, correlate: Correlate) -> None:
    correlate([{"undefined_reason": "every score is the same"}])

    page = browser.get("/history").text
    assert "Nothing is defined here" in text_of(page)
    assert "every score is the same" in text_of(page)
    assert "plotly" not in page


def test_names_are_escaped_and_no_script_but_the_pages_own_runs(browser: TestClient, correlate: Correlate) -> None:
    names = {"scorer": EVIL, "oracle": EVIL, "policy": EVIL, "statistic": EVIL, "stratum": EVIL}
    correlate([names], name=EVIL)

    for query in ("", "?by=policy", "?every=day"):
        page = browser.get(f"/history{query}")
        assert EVIL not in page.text
        assert "&lt;script&gt;alert(1)" in page.text
        assert "script-src 'self';" in page.headers["content-security-policy"]
        assert not re.search(r"<script(?![^>]*(src=|type=.application/json))", page.text)


def test_an_audit_leads_to_its_page_too(browser: TestClient, correlate: Correlate) -> None:
    audit = correlate([{"policy": None}], kind="audit", name="my audit")

    page = browser.get("/history?by=policy").text
    assert f'<a href="/runs/{audit}">my audit</a>' in page
    assert browser.get(f"/runs/{audit}").status_code == 200
    assert drawn(page).keys() == {"no policy"}


@pytest.mark.parametrize("name", ["rm@3", "rm@3:output"])
@pytest.mark.parametrize("every", ["run", "week"])
def test_a_version_is_told_once(browser: TestClient, correlate: Correlate, name: str, every: str) -> None:
    correlate([{"scorer": name, "scorer_version": 3}])

    page = browser.get(f"/history?by=version&every={every}").text
    assert drawn(page).keys() == {name}
    assert f'<td data-label="Scorer">{name}</td>' in page


def test_a_temperature_of_many_digits_is_found_by_the_link_to_it(browser: TestClient, correlate: Correlate) -> None:
    near = {0.7000000001: 0.2, 0.7000000002: 0.3}
    correlate([{"temperature": temperature, "estimate": r} for temperature, r in near.items()])

    page = browser.get("/history").text
    for temperature, r in near.items():
        link = re.search(rf'href="(/history\?[^"]+)"[^>]*>T = {temperature}</a>', page)
        assert link is not None
        assert drawn(browser.get(unescape(link[1])).text)["rm"]["y"] == [r]
