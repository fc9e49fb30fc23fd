"""/monitoring: what is watched, what was crossed, and how to switch it on."""

import csv
import html
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from service.app import create_app
from service.dashboard.monitoring import monitored
from service.db.ids import new_id
from service.db.session import writing
from service.db.tables import MonitoredScorer, ServedScore
from service.jobs.kinds import parse_any_recipe
from service.monitoring.watch import Watch
from service.settings import Settings

SCORER = "<b>rm</b>@3:score"


def page(settings: Settings) -> str:
    with TestClient(create_app(settings.model_copy(update={"job_slots": 0}))) as client:
        found = client.get("/monitoring")
    assert found.status_code == 200
    return found.text


def test_it_says_how_to_begin_and_that_nothing_was_scored(settings: Settings) -> None:
    assert "Production scoring is not monitored." in page(settings)
    started = page(settings.model_copy(update={"monitor_share": 0.25}))
    assert "Nothing was scored yet." in started
    assert "25 % of the prompts" in started


def test_it_shows_trust_drift_and_what_is_crossed(
    settings: Settings, make_session: sessionmaker[Session], correlate: Callable[..., str]
) -> None:
    now = datetime.now(UTC)
    with writing(make_session) as session:
        for number in range(1200):
            time = now - timedelta(days=2 if number < 1000 else 0, seconds=1200 - number)
            numbers: dict[str, Any] = {"response_characters": 5, "tokens": 5, "truncated_tokens": 0}
            score = float(number % 7) + (100 if number >= 1000 else 0)
            session.add(ServedScore(id=new_id("srv"), time=time, scorer=SCORER, score=score, **numbers))
    row = {"scorer": SCORER, "statistic": "pearson_pooled", "temperature": None}
    run = correlate(
        [{**row, "estimate": 0.31, "lower": 0.18, "upper": 0.43}], kind="audit", idempotency_key="monitoring:1"
    )
    watched = settings.model_copy(update={"monitor_share": 0.05, "monitor_min_lower": 0.3, "monitor_max_drift": 0.5})
    Watch(watched, make_session, parse_any_recipe).look(now)

    text = page(watched)
    assert "2 alerts are open about what is scored here now." in text
    assert "r pooled with judge: lower end 0.18, at least 0.30 wanted" in text
    assert "a share of the scores moved by" in text
    assert f'href="/jobs/{run}"' in text
    assert "[0.18, 0.43]" in text
    assert "<b>rm" not in text, "a scorer's name is escaped"
    with make_session() as session:
        overview = monitored(session)
    assert [alert.kind for alert in overview.active] == ["drift", "trust"]
    assert [each.scorer for each in overview.scorers] == [SCORER]


@pytest.fixture
def watched(settings: Settings, make_session: sessionmaker[Session], correlate: Callable[..., str]) -> Settings:
    """Two audits of a scorer, and enough of its scores; and a scorer of which there is next to nothing."""
    now = datetime.now(UTC)
    with writing(make_session) as session:
        for number in range(1201):
            time = now - timedelta(days=2 if number < 1000 else 0, seconds=1201 - number)
            numbers: dict[str, Any] = {
                "response_characters": number % 50,
                "tokens": 5,
                "truncated_tokens": number // 1000,
            }
            scorer = "young@1:score" if number == 1200 else SCORER
            session.add(ServedScore(id=new_id("srv"), time=time, scorer=scorer, score=float(number % 7), **numbers))
    row = {"scorer": SCORER, "statistic": "pearson_pooled", "temperature": None}
    for number, value in enumerate((0.5, 0.31)):
        found = {**row, "estimate": value, "lower": value - 0.1, "upper": value + 0.1}
        key = f"monitoring:{number}"
        correlate([found], at=now - timedelta(days=2 - number), kind="audit", idempotency_key=key)
    watched = settings.model_copy(update={"monitor_share": 0.05, "monitor_min_lower": 0.3, "job_slots": 0})
    Watch(watched, make_session, parse_any_recipe).look(now)
    return watched


def test_each_scorer_has_its_figures_with_the_numbers_behind_them(watched: Settings) -> None:
    with TestClient(create_app(watched)) as client:
        text = client.get("/monitoring").text
        addresses = re.findall(r'(?:data-figures|href)="(/monitoring/figures/[^"]+)"', text)
        assert len(addresses) == 9, "of the old scorer three figures, each to be drawn, as CSV and as JSON"
        told = {address: client.get(html.unescape(address)) for address in addresses}
        assert {each.status_code for each in told.values()} == {200}

        query = {"scorer": SCORER}
        (trust,) = client.get("/monitoring/figures/trust.json", params=query).json()["drawings"]
        (drift,) = client.get("/monitoring/figures/drift.json", params=query).json()["drawings"]
        assert "below the dashed line, 0.30" in trust["caption"]
        assert trust["figure"]["data"][-1]["y"] == [0.5, 0.31]
        assert [each.get("name") for each in drift["figure"]["data"][:2]] == ["the first kept", "the latest"]

        audits = list(csv.DictReader(client.get("/monitoring/figures/trust.csv", params=query).text.splitlines()))
        assert [each["lower"] for each in audits] == ["0.4", "0.21"]
        rows = list(csv.DictReader(client.get("/monitoring/figures/drift.csv", params=query).text.splitlines()))
        assert len(rows) == 101 + 101 + 1
        assert rows[100] == {"measure": "score", "percent": "100", "now": "6.0", "reference": "6.0"}
        assert rows[-1] == {"measure": "truncated", "percent": "", "now": "1.0", "reference": "0.0"}


@pytest.mark.parametrize(
    ("name", "scorer", "status"),
    [("trust", "young@1:score", 404), ("drift", "young@1:score", 404), ("drift", "nobody@1:score", 404)],
)
def test_what_cannot_be_drawn_yet_is_not_there(watched: Settings, name: str, scorer: str, status: int) -> None:
    with TestClient(create_app(watched)) as client:
        answer = client.get(f"/monitoring/figures/{name}.json", params={"scorer": scorer})
    assert answer.status_code == status


def test_a_state_that_an_older_version_stored_is_shown_without_its_figure(
    watched: Settings, make_session: sessionmaker[Session]
) -> None:
    with writing(make_session) as session:
        row = session.get_one(MonitoredScorer, SCORER)
        assert row.state is not None
        drift = {name: value for name, value in row.state["drift"].items() if not name.startswith("cut_")}
        for measure in ("score", "length"):
            drift[measure] = {name: drift[measure][name] for name in ("distance", "shift")}
        state = {name: value for name, value in row.state.items() if name != "reference_kind"}
        row.state = {**state, "drift": drift}
    text = page(watched)
    assert "figures/trust.json" in text
    assert "figures/drift.json" not in text
    assert "Share that moved" in text


def test_the_overview_has_the_alerts(watched: Settings) -> None:
    with TestClient(create_app(watched)) as client:
        text = client.get("/").text
    assert "1 alert in production scoring" in text
    assert ">monitoring</a>" not in text, "the schedule's audits are not its latest runs"
    assert "lower end 0.21, at least 0.30 wanted" in text
