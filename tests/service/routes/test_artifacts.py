"""Artifacts over HTTP: pages by name and version, manifests behind names with slashes, deletion that is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from evaluation.engine.scoring import ScoringEngine
from trainer.artifacts import ArtifactStore
from trainer.errors import StorageFailure
from trainer.manifest import Artifact

ClientOf = Callable[[ArtifactStore], TestClient]
Publish = Callable[..., Artifact]


def test_artifacts_come_in_pages_by_name_and_version(scoring_client: TestClient) -> None:
    first = scoring_client.get("/v1/artifacts?limit=2").json()
    second = scoring_client.get("/v1/artifacts", params={"limit": 2, "cursor": first["next"]}).json()

    assert [(a["name"], a["version"]) for a in first["data"]] == [("family/other", 1), ("tiny", 1)]
    assert [(a["name"], a["version"]) for a in second["data"]] == [("tiny", 2)]
    assert second["next"] is None
    assert first["data"][0]["kind"] == "reward_model"
    assert first["data"][0]["metrics"] == {"accuracy": 0.5}
    assert first["data"][0]["bytes"] > 10_000


def test_artifacts_are_found_by_kind_and_name(scoring_client: TestClient) -> None:
    assert len(scoring_client.get("/v1/artifacts?kind=reward_model&name=tiny").json()["data"]) == 2
    assert scoring_client.get("/v1/artifacts?kind=policy").json()["data"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "cursor=tiny@1", "cursor=ImEi", "kind=oracle"])
def test_a_bad_query_is_refused(scoring_client: TestClient, query: str) -> None:
    assert scoring_client.get(f"/v1/artifacts?{query}").status_code == 422


@pytest.mark.parametrize(
    ("reference", "name", "version"),
    [
        ("tiny", "tiny", 2),
        ("tiny@1", "tiny", 1),
        ("family/other", "family/other", 1),
        ("family/other@1", "family/other", 1),
    ],
)
def test_a_manifest_is_found_by_name_or_by_name_and_version(
    scoring_client: TestClient, reference: str, name: str, version: int
) -> None:
    manifest = scoring_client.get(f"/v1/artifacts/{reference}").json()

    assert (manifest["name"], manifest["version"]) == (name, version)
    assert "model.safetensors" in manifest["files"]


@pytest.mark.parametrize(
    ("reference", "status"),
    [
        ("nobody", 404),
        ("tiny@7", 404),
        ("tiny@one", 404),
        ("%2e%2e/%2e%2e/etc", 422),
        ("tiny/1", 422),
        ("a/b/c/d", 422),
    ],
)
def test_a_reference_to_nothing_is_refused(scoring_client: TestClient, reference: str, status: int) -> None:
    assert scoring_client.get(f"/v1/artifacts/{reference}").status_code == status


def test_a_version_is_deleted_unless_another_artifact_descends_from_it(
    tmp_path: Path, publish: Publish, client_of: ClientOf
) -> None:
    store = ArtifactStore(tmp_path)
    parent = publish(store, "parent", seed=1)
    publish(store, "child", seed=2, parents=[parent.as_parent("backbone")])
    client = client_of(store)

    assert client.delete("/v1/artifacts/parent").status_code == 422
    refused = client.delete("/v1/artifacts/parent@1")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert client.delete("/v1/artifacts/child@1").status_code == 204
    assert client.delete("/v1/artifacts/parent@1").status_code == 204
    assert client.get("/v1/artifacts").json() == {"data": [], "next": None}


def test_a_version_is_deleted_though_the_storage_fails_as_memory_is_cleared(
    tmp_path: Path, publish: Publish, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: ScoringEngine) -> None:
        raise StorageFailure("no storage today")

    store = ArtifactStore(tmp_path)
    publish(store, "tiny", seed=1)
    client = client_of(store)
    client.app.state.scoring.opened()  # type: ignore[attr-defined]
    monkeypatch.setattr(ScoringEngine, "drop_deleted", fail)
    assert client.delete("/v1/artifacts/tiny@1").status_code == 204
    assert client.delete("/v1/artifacts/tiny@1").status_code == 404
