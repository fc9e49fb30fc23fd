"""A request that waits too long is told so in its own server's words."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.scoring import ScoringService, open_engine
from service.settings import Settings
from trainer.artifacts import ArtifactStore
from trainer.manifest import Artifact

PROBLEM = "the answer did not begin in time"


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        (
            "/v1/scores",
            {"scorers": ["judge"], "items": [{"prompt": "p", "response": "r"}]},
            lambda answer: answer["detail"],
        ),
        ("/compat/tei/predict", {"inputs": ["p", "r"]}, lambda answer: answer["error"]),
        (
            "/compat/vllm/score",
            {"model": "judge", "queries": "p", "documents": "r"},
            lambda answer: answer["error"]["message"],
        ),
        ("/compat/cohere/rerank", {"query": "p", "documents": ["r"]}, lambda answer: answer["message"]),
    ],
)
def test_it_is_504_with_the_reason_where_the_client_looks_for_it(
    tmp_path: Path,
    settings: Settings,
    publisher: Callable[..., Artifact],
    path: str,
    body: object,
    words: Callable[..., str],
) -> None:
    store = ArtifactStore(tmp_path)
    publisher(store, "judge", seed=1)
    # the owner needs no key, so that no database is being asked when the time is up
    app = create_app(settings.model_copy(update={"job_slots": 0, "request_timeout_seconds": 0.2}), owner=True)
    open_now = threading.Event()

    def open_late(artifacts: ArtifactStore) -> object:
        assert open_now.wait(60)
        return open_engine(artifacts)

    app.state.scoring = ScoringService(store, open_late)  # type: ignore[arg-type]
    with TestClient(app, base_url="http://localhost") as client:
        answer = client.post(path, json=body)
        open_now.set()
    assert (answer.status_code, answer.headers.get("retry-after")) == (504, "5"), answer.text
    assert PROBLEM in words(answer.json())
