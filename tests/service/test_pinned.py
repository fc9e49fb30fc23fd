"""A server is ready once every scorer the operator pinned is in memory, and says meanwhile which are not."""

import threading
import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.pinned import Pinned
from service.scoring import ScoringService
from service.settings import Settings
from trainer.errors import NotFound


class Engine:
    """Loads what it is allowed to, when it is allowed to."""

    def __init__(self) -> None:
        self.published = {"good"}
        self.gate = threading.Event()
        self.loaded: list[tuple[str, bool]] = []

    def load(self, name: str, *, pin: bool) -> None:
        self.gate.wait(10)
        if name not in self.published:
            raise NotFound(f"no artifact {name}")
        self.loaded.append((name, pin))

    def close(self) -> None:
        pass


def until(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_ready_means_that_pinned_scorers_are_in_memory(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    monkeypatch.setattr(ScoringService, "start", lambda self: _done(engine))
    app = create_app(settings.model_copy(update={"job_slots": 0, "pinned": ("good", "late")}))
    app.state.pinned = Pinned(app.state.scoring, ["good", "late"], retry_seconds=0.05)
    with TestClient(app) as client:
        early = client.get("/readyz")
        assert (early.status_code, early.headers["retry-after"]) == (503, "5")
        assert "scorer good: loading; scorer late: loading" in early.json()["detail"]
        assert client.get("/livez").status_code == 200

        engine.gate.set()
        until(lambda: "good" not in app.state.pinned.missing)
        until(lambda: app.state.pinned.missing.get("late") != "loading")
        assert client.get("/readyz").json()["detail"] == "scorer late: no artifact late"

        engine.published.add("late")
        until(lambda: not app.state.pinned.missing)
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["checks"]["scorers"]) == (200, "2 pinned and loaded")
    assert engine.loaded == [("good", True), ("late", True)]


def _done(engine: Engine) -> Any:
    from concurrent.futures import Future

    future: Future[Any] = Future()
    future.set_result(engine)
    return future
