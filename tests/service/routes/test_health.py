"""Alive says the process answers; ready says it can do its work, or why not."""

from collections.abc import Callable
from types import ModuleType

import pytest
from fastapi import FastAPI
from sqlalchemy import text
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from trainer.errors import WrongSchema


def test_a_server_that_runs_jobs_is_ready(busy: TestClient) -> None:
    assert busy.get("/livez").json() == {"status": "alive"}
    assert busy.get("/readyz").json() == {"status": "ready", "checks": {"database": "ok", "dispatcher": "ok"}}


def test_a_server_that_runs_none_is_ready_and_says_so(idle: TestClient) -> None:
    assert idle.get("/readyz").json()["checks"]["dispatcher"] == "off: this server runs no jobs"


def test_a_stopped_dispatcher_is_not_ready(busy: TestClient) -> None:
    app = busy.app
    assert isinstance(app, FastAPI)
    app.state.dispatcher.stop()

    response = busy.get("/readyz")

    assert (response.status_code, response.json()["code"]) == (503, "not_ready")
    assert "dispatcher: has stopped" in response.json()["detail"]
    assert busy.get("/livez").status_code == 200


def test_a_database_that_moved_on_is_not_ready(make_app: Callable[..., FastAPI], settings: Settings) -> None:
    app = make_app()
    with TestClient(app) as client:
        with app.state.engine.begin() as connection:
            here = connection.scalar(text("SELECT version_num FROM alembic_version"))
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

        response = client.get("/readyz")

        with app.state.engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :here"), {"here": here})
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert "9999" in response.json()["detail"]


def test_a_database_at_another_migration_is_not_served(
    empty_database_url: str, settings: Settings, counting_module: ModuleType
) -> None:
    elsewhere = settings.model_copy(update={"database_url": empty_database_url, "job_slots": 0})

    with pytest.raises(WrongSchema, match="assay db upgrade"), TestClient(create_app(elsewhere)):
        pass
