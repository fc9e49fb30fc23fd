"""The table of runs: its filters, order and columns are its address, and pages follow each other without a gap."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from service.db.pages import encode_cursor
from service.db.runs import SORTS, RunFilter, list_runs
from service.jobs.kinds import EVALUATION_KINDS

Measure = Callable[..., str]


@pytest.fixture
def runs(measure: Measure, add_job: Callable[..., str], row: Callable[..., dict[str, Any]]) -> dict[str, str]:
    """Five runs of five days, and how surely they agree where weakest: b 0.7, a 0.3, an audit 0.0, others nothing."""

    def day(number: int) -> datetime:
        return datetime(2026, 3, number, 12, tzinfo=UTC)

    return {
        "a": measure({"reward": {0.5: 0.6, 1.5: 0.4}, "length": {1.0: 0.9}}, name="Alpha", created_at=day(1)),
        "b": measure({"reward": {1.0: 0.8}, "other": {1.0: 0.2}}, name="beta", created_at=day(2)),
        "audit": measure({}, [row("other", None, 0.1, oracle="human")], kind="audit", name="gamma", created_at=day(3)),
        "failed": add_job(status="failed", name="alphabet", created_at=day(4), error_code="x", error_detail="no luck"),
        "win": add_job("win_rate", name="wins", created_at=day(5)),
    }


def ids(answer: dict[str, Any], runs: dict[str, str]) -> list[str]:
    """The runs of an answer, by their short names."""
    names = {run: name for name, run in runs.items()}
    return [names[each["run"]["id"]] for each in answer["data"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["win", "failed", "audit", "b", "a"]),
        ("name=ALPHA", ["failed", "a"]),
        ("kind=audit", ["audit"]),
        ("status=failed", ["failed"]),
        ("policy=demo/policy", ["b", "a"]),
        ("scorer=other", ["audit", "b"]),
        ("scorer=length", ["a"]),
        ("oracle=human", ["audit"]),
        ("scorer=other&oracle=judge", ["b"]),
        ("after=2026-03-02&before=2026-03-03", ["audit", "b"]),
        ("name=%25", []),
        ("sort=oldest", ["a", "b", "audit", "failed", "win"]),
        ("sort=name", ["a", "failed", "b", "audit", "win"]),
        ("sort=surest", ["b", "a", "audit", "win", "failed"]),
        ("sort=least_sure&status=succeeded", ["audit", "a", "b", "win"]),
    ],
)
def test_runs_are_filtered_and_ordered_as_the_address_says(
    browser: TestClient, runs: dict[str, str], query: str, found: list[str]
) -> None:
    assert ids(browser.get(f"/runs.json?{query}").json(), runs) == found
    page = browser.get(f"/runs?{query}")
    assert page.status_code == 200
    rows = re.findall(r'<th scope="row"><a href="/runs/(run_\w+)"', page.text)
    assert rows == [runs[name] for name in found]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        # the newest two are wins and failed, which have no interval: the others follow from the latest on, unweighed
        ("sort=surest", ["win", "failed", "audit", "b", "a"]),
        # the newest two of those that fit are weighed
        ("sort=surest&scorer=reward", ["b", "a"]),
        ("sort=least_sure&scorer=reward&status=succeeded&policy=demo/policy", ["a", "b"]),
        ("sort=surest&before=2026-03-02", ["b", "a"]),
        ("sort=least_sure&kind=stress_test&status=succeeded", ["a", "b"]),
    ],
)
def test_intervals_are_read_of_the_newest_runs_that_fit_alone(
    browser: TestClient, runs: dict[str, str], monkeypatch: pytest.MonkeyPatch, query: str, found: list[str]
) -> None:
    monkeypatch.setattr("service.db.runs.WEIGHED", 2)
    assert ids(browser.get(f"/runs.json?{query}").json(), runs) == found
    assert "surest agreement first, of the newest 1,000" in browser.get("/runs").text


def test_the_leading_scorer_is_surest_where_weakest_by_its_worst_oracle(
    browser: TestClient, measure: Measure, row: Callable[..., dict[str, Any]]
) -> None:
    # steady starts at 0.3 at worst, brilliant at 0.0 by the second oracle, length is a control
    rows = [
        row("brilliant", 1.0, 0.9),
        row("brilliant", 1.0, 0.1, oracle="second"),
        row("untrained:untrained", 1.0, 0.95),
    ]
    run = measure({"steady": {0.5: 0.8, 1.5: 0.4}, "length": {1.0: 0.95}}, rows)

    (found,) = browser.get("/runs.json").json()["data"]
    assert (found["run"]["id"], found["leading"]["scorer"], found["leading"]["temperature"]) == (run, "steady", 1.5)
    (found,) = browser.get("/runs.json?scorer=brilliant").json()["data"]
    assert (found["leading"]["oracle"], found["leading"]["estimate"]) == ("second", 0.1)
    (found,) = browser.get("/runs.json?scorer=length").json()["data"]
    assert found["leading"]["scorer"] == "length"


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", "For each the scorer whose agreement within prompts is surest where it is weakest: at its worst"),
        ("oracle=judge", "surest where it is weakest: at its worst temperature, by judge."),
        (
            "scorer=reward",
            "For each how reward agrees within prompts where it is weakest: at its worst temperature, by its worst",
        ),
    ],
)
def test_what_is_said_of_the_numbers_follows_the_filters(read: Callable[..., str], query: str, told: str) -> None:
    assert told in read(f"/runs?{query}")


@pytest.mark.parametrize("sort", SORTS)
def test_pages_follow_each_other_without_a_gap_in_every_order(
    make_session: sessionmaker[Session], runs: dict[str, str], sort: Any
) -> None:
    where = RunFilter(EVALUATION_KINDS)
    with make_session() as session:
        whole = [run.id for run in list_runs(session, where, sort=sort).data]
        pieces, cursor = [], None
        for _ in range(len(whole)):
            page = list_runs(session, where, sort=sort, cursor=cursor, limit=2)
            pieces += [run.id for run in page.data]
            cursor = page.next
            if cursor is None:
                break
    assert pieces == whole
    assert len(set(whole)) == 5


@pytest.mark.usefixtures("runs")
def test_columns_are_chosen_in_the_address_and_kept_by_its_links(browser: TestClient) -> None:
    page = browser.get("/runs?column=kind&column=id&name=alpha").text

    headings = re.findall(r"<th scope=\"col\"[^>]*>(\w+)</th>", page)
    assert headings == ["Run", "Kind", "Id"]
    assert 'href="/runs.json?name=alpha&amp;column=kind&amp;column=id"' in page
    assert re.findall(r'name="column" value="(\w+)" checked', page) == ["kind", "id"]


def test_what_nobody_can_choose_is_a_page_that_says_what_can_be(read: Callable[..., str]) -> None:
    assert "sort: 'best' is none of newest, oldest" in read("/runs?sort=best", 422)
    assert "after: 'May' is no day; write it as 2026-01-31" in read("/runs?after=May", 422)
    assert "before: '9999-12-31' is no day" in read("/runs?before=9999-12-31", 422)
    assert "cursor" in read("/runs?cursor=made-up", 422)


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("key", [["name", ["a"], "run_1"], ["name", 1, "run_1"], ["name", "\ud800", "run_1"]])
def test_a_cursor_that_somebody_made_is_refused(browser: TestClient, key: Any) -> None:
    answer = browser.get("/runs.json", params={"sort": "name", "cursor": encode_cursor(key)})
    assert (answer.status_code, answer.json()["detail"][:7]) == (422, "cursor:")


@pytest.mark.usefixtures("runs")
def test_no_run_like_this_and_no_run_at_all_are_told_apart(read: Callable[..., str]) -> None:
    assert "No run is like this" in read("/runs?name=nowhere")


def test_without_runs_the_page_says_what_to_type(read: Callable[..., str]) -> None:
    assert "assay stress RECIPE.yaml" in read("/runs")
    assert "assay audit JUDGED.jsonl" in read("/runs")


def test_an_audit_s_result_which_holds_all_its_numbers_is_not_read_for_a_list(
    make_session: sessionmaker[Session], add_job: Callable[..., str]
) -> None:
    add_job("audit", result={"estimates": [1] * 10})
    with make_session() as session:
        (found,) = list_runs(session, RunFilter(EVALUATION_KINDS)).data
    assert "estimates" not in found.model_dump_json()
