"""/monitoring: what is watched, what was crossed, and how to switch it on."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from service.app import create_app
from service.dashboard.monitoring import monitored
from service.db.ids import new_id
from service.db.session import writing
from service.db.tables import ServedScore
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
    assert "2 bounds are crossed in what is scored here now." in text
    assert "r pooled with judge: lower end 0.18, at least 0.30 wanted" in text
    assert "a share of the scores moved by" in text
    assert f'href="/jobs/{run}"' in text
    assert "[0.18, 0.43]" in text
    assert "<b>rm" not in text, "a scorer's name is escaped"
    with make_session() as session:
        overview = monitored(session)
    assert [alert.kind for alert in overview.active] == ["drift", "trust"]
    assert [each.scorer for each in overview.scorers] == [SCORER]
