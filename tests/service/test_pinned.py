"""A server is ready while every scorer the operator pinned is in memory, and says otherwise which are not."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from evaluation.engine.scoring import ScorerInfo, ScoringEngine
from service.app import create_app
from service.pinned import Pinned
from service.settings import Settings
from trainer.artifacts import ArtifactStore
from trainer.manifest import Artifact


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def pinning(settings: Settings, *names: str) -> FastAPI:
    """A server that looks after these all the time."""
    app = create_app(settings.model_copy(update={"job_slots": 0, "pinned": names}))
    app.state.pinned = Pinned(app.state.scoring, names, retry_seconds=0.05)
    return app


def ready(client: TestClient) -> bool:
    return client.get("/readyz").status_code == 200


def test_ready_means_that_pinned_scorers_are_in_memory(
    settings: Settings, publish: Callable[..., Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ArtifactStore(settings.artifact_dir)
    publish(store, "good", seed=1)
    gate, whole = threading.Event(), ScoringEngine.load

    def load(self: ScoringEngine, scorer: str, *, pin: bool = True) -> ScorerInfo:
        gate.wait(30)
        return whole(self, scorer, pin=pin)

    monkeypatch.setattr(ScoringEngine, "load", load)
    with TestClient(pinning(settings, "good", "late"), base_url="http://localhost") as client:
        early = client.get("/readyz")
        assert (early.status_code, early.headers["retry-after"]) == (503, "5")
        assert "scorer good: loading; scorer late: " in early.json()["detail"]
        assert client.get("/livez").status_code == 200
        assert not client.app.state.pinned.tried.is_set()

        gate.set()
        until(lambda: "good" not in client.get("/readyz").json()["detail"])
        assert client.get("/readyz").json()["detail"].startswith("scorer late: no artifact late")
        until(client.app.state.pinned.tried.is_set)

        publish(store, "late", seed=2)
        until(lambda: ready(client))
        checks = client.get("/readyz").json()["checks"]
        assert checks["scorers"] == "2 pinned and loaded: good, late"


def test_a_pinned_scorer_that_is_unloaded_is_missed_and_loaded_again(
    settings: Settings, publish: Callable[..., Artifact]
) -> None:
    publish(ArtifactStore(settings.artifact_dir), "good", seed=1)
    app = pinning(settings, "good@1")
    with TestClient(app, base_url="http://localhost") as client:
        until(lambda: ready(client))
        engine, came, gate = app.state.scoring.opened(), threading.Event(), threading.Event()
        whole = engine.load

        def load(scorer: str, *, pin: bool = True) -> ScorerInfo:
            came.set()
            gate.wait(60)
            return whole(scorer, pin=pin)

        engine.load = load
        assert came.wait(60)  # whoever had looked before is done

        assert client.post("/v1/artifacts/good@1/unload").status_code == 200
        missed = client.get("/readyz")
        assert (missed.status_code, missed.json()["detail"]) == (503, "scorer good@1: loading")

        gate.set()
        until(lambda: ready(client))


def test_what_a_pinned_name_stood_for_before_may_leave(settings: Settings, publish: Callable[..., Artifact]) -> None:
    store = ArtifactStore(settings.artifact_dir)
    publish(store, "good", seed=1)
    app = pinning(settings, "good")
    with TestClient(app, base_url="http://localhost") as client:
        until(lambda: ready(client))
        publish(store, "good", seed=2)
        until(lambda: ready(client) and app.state.pinned._kept["good"] == "good@2")

        pinned = app.state.scoring.opened()._models._pinned
        until(lambda: pinned == {store.open("good@2").digest})


@pytest.mark.parametrize("by_this_server", [True, False], ids=["by this server", "by another process"])
def test_a_pinned_version_that_is_deleted_leaves_memory(
    settings: Settings, publish: Callable[..., Artifact], by_this_server: bool
) -> None:
    store = ArtifactStore(settings.artifact_dir)
    publish(store, "good", seed=1)
    publish(store, "good", seed=2)
    app = pinning(settings, "good")
    with TestClient(app, base_url="http://localhost") as client:
        until(lambda: ready(client))
        models = app.state.scoring.opened()._models
        second = store.open("good@2").digest
        assert (set(models._models), models._pinned) == ({second}, {second})

        if by_this_server:
            assert client.delete("/v1/artifacts/good@2").status_code == 204
            assert second not in models._models
        else:
            store.delete("good@2")
        first = store.open("good").digest  # what the name means from now on
        until(lambda: (set(models._models), models._pinned) == ({first}, {first}))
        until(lambda: ready(client))


def test_without_pinned_scorers_too_what_others_deleted_leaves_memory(
    settings: Settings, publish: Callable[..., Artifact]
) -> None:
    store = ArtifactStore(settings.artifact_dir)
    publish(store, "good", seed=1)
    app = pinning(settings)
    with TestClient(app, base_url="http://localhost") as client:
        assert client.post("/v1/artifacts/good@1/load").status_code == 200
        models = app.state.scoring.opened()._models
        assert len(models._models) == 1
        store.delete("good@1")
        until(lambda: not models._models and not models._pinned)
