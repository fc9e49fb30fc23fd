"""GET /v1/monitoring and /v1/alerts, and the sample as real requests fill it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from service.app import create_app
from service.db.monitored import Crossed, settle_alerts
from service.db.session import writing
from service.db.tables import ServedScore
from service.settings import Settings
from trainer.artifacts import ArtifactStore
from trainer.errors import InvalidInput

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def test_nothing_is_there_at_first(idle: TestClient) -> None:
    assert idle.get("/v1/monitoring").json() == {"data": [], "next": None}
    assert idle.get("/v1/alerts").json() == {"data": [], "next": None}


def test_alerts_are_listed_the_newest_first_in_pages_and_by_state(
    idle: TestClient, make_session: sessionmaker[Session]
) -> None:
    crossed = [Crossed("trust", f"rm@{n}:score", "judge", 0.1, 0.3, "r") for n in range(3)]
    for number, each in enumerate(crossed):
        with writing(make_session) as session:
            settle_alerts(session, [each], [], NOW + timedelta(hours=number))
    with writing(make_session) as session:
        settle_alerts(session, [], [crossed[0].key], NOW + timedelta(days=1))

    first = idle.get("/v1/alerts?limit=2").json()
    assert [each["scorer"] for each in first["data"]] == ["rm@2:score", "rm@1:score"]
    [last] = idle.get(f"/v1/alerts?cursor={first['next']}").json()["data"]
    assert (last["scorer"], last["state"], last["cleared_at"]) == ("rm@0:score", "cleared", "2026-05-05T00:00:00Z")
    assert len(idle.get("/v1/alerts?active=true").json()["data"]) == 2
    assert [each["state"] for each in idle.get("/v1/alerts?active=false").json()["data"]] == ["cleared"]
    assert idle.get("/v1/alerts?cursor=x").status_code == 422


def test_an_alert_that_somebody_has_seen_says_so_stays_open_and_leaves_the_overview(
    idle: TestClient, make_session: sessionmaker[Session]
) -> None:
    with writing(make_session) as session:
        settle_alerts(session, [Crossed("trust", "rm@1:score", "judge", 0.1, 0.3, "it fell")], [], NOW)
    [raised] = idle.get("/v1/alerts").json()["data"]
    assert raised["acknowledged_at"] is None
    assert "it fell" in idle.get("/").text
    address = f"/monitoring/alerts/{raised['id']}/acknowledge"
    assert f'action="{address}"' in idle.get("/monitoring").text
    assert idle.post(address, follow_redirects=False).headers["location"] == "/monitoring"
    seen = idle.post(f"/v1/alerts/{raised['id']}/acknowledge").json()
    assert (seen["state"], seen["acknowledged_at"] is None) == ("raised", False)
    [open_still] = idle.get("/v1/alerts?active=true").json()["data"]
    assert open_still == seen, "the second to say so changes nothing"
    assert "it fell" not in idle.get("/").text
    shown = idle.get("/monitoring").text
    assert "it fell" in shown
    assert address not in shown

    with writing(make_session) as session:
        settle_alerts(session, [], ["trust rm@1:score judge"], NOW + timedelta(days=1))
    assert idle.post(f"/v1/alerts/{raised['id']}/acknowledge").status_code == 409
    assert idle.post("/v1/alerts/alt_none/acknowledge").status_code == 404
    assert idle.post("/monitoring/alerts/alt_none/acknowledge").status_code == 404


def test_scores_and_compatible_routes_fill_the_sample_and_made_up_prompts_and_pages_do_not(
    settings: Settings, published: ArtifactStore, make_session: sessionmaker[Session]
) -> None:
    changed = {"artifact_dir": published.root, "job_slots": 0, "monitor_share": 1.0, "monitor_keep": "text"}
    with TestClient(create_app(settings.model_copy(update=changed))) as client:
        item = {"prompt": "product lamp", "responses": ["The lamp is red .", ""]}
        assert client.post("/v1/scores", json={"scorers": ["tiny@1", "tiny"], "items": [item]}).status_code == 200
        predict = {"inputs": ["product lamp", "The lamp is blue ."]}
        assert client.post("/compat/tei/predict?scorer=tiny@1", json=predict).status_code == 200
        compare = {"scorer": "tiny", "prompt": "product lamp", "chosen": "A lamp .", "rejected": "A cup ."}
        assert client.post("/v1/comparisons", json=compare).status_code == 200
        tried = {"prompt": "product lamp", "response": ["A cup of tea ."], "scorer": ["tiny"]}
        assert "A cup of tea" in client.post("/try", data=tried).text
        assert client.post("/artifacts/tiny@1/parity").status_code == 200
    with make_session() as session:
        rows = session.execute(select(ServedScore.scorer, ServedScore.response).order_by(ServedScore.id)).all()
    assert [tuple(row) for row in rows] == [
        ("tiny@1:score", "The lamp is red ."),
        ("tiny@2:score", "The lamp is red ."),
        ("tiny@1:score", "The lamp is blue ."),
    ]


def test_a_schedule_without_texts_stops_the_server_at_its_start(make_app: Callable[..., FastAPI]) -> None:
    with pytest.raises(InvalidInput, match="ASSAY_MONITOR_KEEP=text"):
        make_app(monitor_share=1.0, monitor_audit_hours=24.0)
