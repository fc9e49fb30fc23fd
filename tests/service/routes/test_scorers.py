"""GET /v1/scorers tells what can be named in a score request."""

from collections.abc import Callable

from fastapi.testclient import TestClient

from service.db.pages import encode_cursor
from trainer.artifacts import ArtifactStore


def test_scorers_are_listed_with_what_their_scores_mean(scoring_client: TestClient) -> None:
    data = scoring_client.get("/v1/scorers").json()["data"]

    assert [(s["name"], s["version"]) for s in data] == [("family/other", 1), ("tiny", 1), ("tiny", 2)]
    assert data[2]["calibration"] == {"temperature": 2.0}
    assert data[2]["outputs"] == ["score"]
    assert data[2]["max_tokens"] == 48
    assert data[2]["orientation"] == "higher_is_better"


def test_scorers_come_in_pages_which_the_client_puts_together(
    published: ArtifactStore, client_of: Callable[[ArtifactStore], TestClient]
) -> None:
    client = client_of(published)
    whole = client.get("/v1/scorers").json()
    assert whole["next"] is None
    first = client.get("/v1/scorers?limit=2").json()
    assert first["data"] == whole["data"][:2]
    second = client.get("/v1/scorers", params={"limit": 2, "cursor": first["next"]}).json()
    assert second == {"data": whole["data"][2:], "next": None}
    assert client.get("/v1/artifacts", params={"cursor": first["next"]}).json()["data"][0]["version"] == 2
    assert client.get("/v1/scorers", params={"cursor": encode_cursor("rm")}).status_code == 422


def test_scorers_are_found_by_kind(scoring_client: TestClient) -> None:
    assert len(scoring_client.get("/v1/scorers?kind=reward_model").json()["data"]) == 3
    assert scoring_client.get("/v1/scorers?kind=policy").json() == {"data": [], "next": None}
    assert scoring_client.get("/v1/scorers?kind=oracle").status_code == 422


def test_a_scorer_is_loaded_once_it_was_asked(
    published: ArtifactStore, client_of: Callable[[ArtifactStore], TestClient]
) -> None:
    client = client_of(published)
    before = {s["name"]: s["loaded"] for s in client.get("/v1/scorers").json()["data"]}
    client.post("/v1/scores", json={"scorers": ["family/other"], "items": [{"prompt": "p", "response": "r"}]})
    after = {s["name"]: s["loaded"] for s in client.get("/v1/scorers").json()["data"]}

    assert not any(before.values())
    assert after == {"family/other": True, "tiny": False}
