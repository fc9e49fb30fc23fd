"""What drift was measured is kept, one look an hour, and answered in pages and drawn as a line."""

import csv
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from evaluation.statistics.drift import Counted
from service.app import create_app
from service.db.drifts import DriftFilter, forget_drifts, keep_drifts, list_drifts
from service.db.session import writing
from service.jobs.kinds import parse_any_recipe
from service.monitoring.watch import Watch
from service.settings import Settings

Sessions = sessionmaker[Session]
Keep = Callable[..., None]

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCORER = "rm@3:score"


def wave(number: int) -> float:
    return (number * 37 % 101) / 101


@pytest.fixture
def watched(settings: Settings, make_session: Sessions, keep: Keep) -> Settings:
    """At 12 nothing had moved, at 13 half of the scores had; looked at three times an hour."""
    changed = settings.model_copy(update={"monitor_share": 1.0, "monitor_max_drift": 0.2, "job_slots": 0})
    watching = Watch(changed, make_session, parse_any_recipe)
    keep(1000, at=NOON - 120 * HOUR, score=wave)
    keep(200, at=NOON - HOUR, score=wave)
    for minutes in (1, 2, 59):
        watching.look(NOON + timedelta(minutes=minutes))
    keep(1000, at=NOON + HOUR, score=lambda number: wave(number) + 0.5, truncated=1)
    watching.look(NOON + 1.5 * HOUR)
    return changed


def test_each_hour_has_one_measurement_with_its_interval_and_counts(watched: Settings) -> None:
    with TestClient(create_app(watched)) as client:
        everything = client.get("/v1/monitoring/drift").json()["data"]
        assert [each["created_at"] for each in everything] == ["2026-05-04T13:30:00Z"] * 5 + [
            "2026-05-04T12:01:00Z"
        ] * 5
        later, earlier = client.get("/v1/monitoring/drift", params={"measure": "score"}).json()["data"]
        assert (earlier["n_responses"], earlier["n_prompts"], earlier["lower"]) == (200, 200, 0.0)
        assert (later["n_responses"], later["n_reference"], later["reference_kind"]) == (1000, 1000, "first_scores")
        assert later["estimate"] == pytest.approx(0.5, abs=0.02)
        assert later["lower"] < 0.5 < later["upper"]
        [shift] = client.get("/v1/monitoring/drift?measure=score_shift&created_after=2026-05-04T13:00:00Z").json()[
            "data"
        ]
        assert shift["estimate"] == pytest.approx(0.5 * 12**0.5, abs=0.05), "of a uniform law's standard deviations"

        first = client.get("/v1/monitoring/drift?limit=7").json()
        second = client.get("/v1/monitoring/drift", params={"limit": 7, "cursor": first["next"]}).json()
        assert [*first["data"], *second["data"]] == everything
        assert second["next"] is None
        assert client.get("/v1/monitoring/drift?scorer=other@1:score").json()["data"] == []
        assert client.get("/v1/monitoring/drift?measure=mood").status_code == 422
        assert client.get("/v1/monitoring/drift?cursor=x").status_code == 422


def test_the_page_draws_it_with_the_numbers_behind_it(watched: Settings) -> None:
    with TestClient(create_app(watched)) as client:
        assert "/monitoring/figures/drift-over-time.json?scorer=rm%403%3Ascore" in client.get("/monitoring").text
        query = {"scorer": SCORER}
        [drawing] = client.get("/monitoring/figures/drift-over-time.json", params=query).json()["drawings"]
        [score] = [each for each in drawing["figure"]["data"] if each.get("name") == "score"]
        assert score["y"] == [pytest.approx(0.0, abs=0.02), pytest.approx(0.5, abs=0.02)]
        assert "beyond the dashed line, 0.20" in drawing["caption"]
        text = client.get("/monitoring/figures/drift-over-time.csv", params=query).text
        rows = list(csv.DictReader(text.splitlines()))
        assert [row["estimate"] for row in rows if row["measure"] == "truncated"] == ["0.0", "1.0"]


def test_it_is_forgotten_when_jobs_are_and_not_before(make_session: Sessions) -> None:
    measured = {"score": Counted(estimate=0.1, lower=0.0, upper=0.2, n_responses=100, n_prompts=50)}
    for days in (0, 3):
        with writing(make_session) as session:
            keep_drifts(session, SCORER, measured, compared=(1000, "validation"), now=NOON + timedelta(days=days))
    with writing(make_session) as session:
        forget_drifts(session, NOON + timedelta(days=1))
    with make_session() as session:
        [kept] = list_drifts(session, DriftFilter()).data
    assert (kept.created_at, kept.reference_kind) == (NOON + timedelta(days=3), "validation")
