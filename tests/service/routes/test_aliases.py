"""Aliases: scored by name, moved without a request lost, refused where the version is not what was published."""

import io
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from trainer.artifacts import ArtifactStore
from trainer.manifest import Artifact, read_artifact

ClientOf = Callable[[ArtifactStore], TestClient]
Publish = Callable[..., Artifact]


@pytest.fixture
def store(tmp_path: Path, publish: Publish) -> ArtifactStore:
    """``mine@1`` and ``mine@2``, which score differently."""
    store = ArtifactStore(tmp_path / "artifacts")
    publish(store, "mine", seed=1)
    publish(store, "mine", seed=2)
    return store


@pytest.fixture
def client(store: ArtifactStore, client_of: ClientOf) -> TestClient:
    return client_of(store)


def score(client: TestClient, scorer: str) -> Any:
    item = {"prompt": "product lamp", "response": "The lamp is red ."}
    answer = client.post("/v1/scores", json={"scorers": [scorer], "items": [item]})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_alias_scores_as_the_version_it_means_and_follows_when_it_is_moved(client: TestClient) -> None:
    assert client.put("/v1/aliases/mine@champion", json={"version": 1}).status_code == 200
    first = score(client, "mine@champion")
    moved = client.put("/v1/aliases/mine@champion", json={"version": 2}).json()
    second = score(client, "mine@champion")

    assert (moved["name"], moved["alias"], moved["version"]) == ("mine", "champion", 2)
    assert [(a["scorers"][0]["scorer"], a["scorers"][0]["version"]) for a in (first, second)] == [
        ("mine@champion", 1),
        ("mine@champion", 2),
    ]
    for answer, version in ((first, "mine@1"), (second, "mine@2")):
        exact = score(client, version)["items"][0]["scores"][0][version]["score"]
        assert answer["items"][0]["scores"][0]["mine@champion"]["score"] == exact
    assert client.get("/v1/artifacts/mine@champion").json()["version"] == 2
    scorers = {s["version"]: s for s in client.get("/v1/scorers").json()["data"]}
    assert (scorers[1]["alias"], scorers[1]["aliases"]) == (None, [])
    assert (scorers[2]["alias"], scorers[2]["aliases"]) == ("champion", ["champion"])


def test_aliases_are_listed_and_removed(client: TestClient) -> None:
    for alias, version in (("challenger", 2), ("champion", 1)):
        client.put(f"/v1/aliases/mine@{alias}", json={"version": version})

    listed = client.get("/v1/aliases?name=mine").json()["data"]
    assert [(row["alias"], row["version"]) for row in listed] == [("challenger", 2), ("champion", 1)]
    assert client.get("/v1/aliases?name=other").json()["data"] == []

    assert client.delete("/v1/artifacts/mine@1").status_code == 409
    assert client.delete("/v1/aliases/mine@champion").status_code == 204
    assert client.delete("/v1/aliases/mine@champion").status_code == 404
    assert client.delete("/v1/artifacts/mine@1").status_code == 204


@pytest.mark.parametrize(
    ("aliased", "body", "status"),
    [
        ("mine", {"version": 1}, 422),
        ("mine@2", {"version": 1}, 422),
        ("mine@a b", {"version": 1}, 422),
        ("mine@champion", {"version": 3}, 404),
        ("mine@champion", {"version": 0}, 422),
        ("mine@champion", {"version": 10**30}, 422),
        ("nobody@champion", {"version": 1}, 404),
        ("../etc@champion", {"version": 1}, 422),
    ],
)
def test_what_cannot_be_an_alias_is_refused(client: TestClient, aliased: str, body: Any, status: int) -> None:
    assert client.put(f"/v1/aliases/{aliased.replace('/', '%2F')}", json=body).status_code == status
    assert client.get("/v1/aliases").json()["data"] == []


def test_an_unknown_alias_is_not_found_and_the_known_ones_are_named(client: TestClient) -> None:
    client.put("/v1/aliases/mine@champion", json={"version": 1})
    answer = client.post("/v1/scores", json={"scorers": ["mine@chmpion"], "items": [{"prompt": "p", "response": "r"}]})
    assert answer.status_code == 404
    assert "it has mine@champion" in answer.json()["detail"]


def test_a_version_whose_files_were_changed_does_not_become_champion(client: TestClient, store: ArtifactStore) -> None:
    client.put("/v1/aliases/mine@champion", json={"version": 1})
    weights = store.open("mine@2").path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")

    assert client.put("/v1/aliases/mine@champion", json={"version": 2}).status_code == 409
    assert score(client, "mine@champion")["scorers"][0]["version"] == 1


@pytest.fixture
def shared(store: ArtifactStore, settings: Settings) -> Iterator[TestClient]:
    """The whole application: threads that ask at once need a connection each."""
    app = create_app(settings.model_copy(update={"job_slots": 0, "artifact_dir": store.root}))
    with TestClient(app, base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_no_request_is_lost_while_an_alias_moves_under_load(shared: TestClient) -> None:
    client = shared
    client.put("/v1/aliases/mine@champion", json={"version": 1})
    expected = {version: self_score(score(client, f"mine@{version}")) for version in (1, 2)}
    answers: list[Any] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answers.append(score(client, "mine@champion"))

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    try:
        for turn in range(20):
            version, before = 1 + turn % 2, len(answers)
            assert client.put("/v1/aliases/mine@champion", json={"version": version}).status_code == 200
            client.post(f"/v1/artifacts/mine@{3 - version}/unload")
            while version not in {answer["scorers"][0]["version"] for answer in answers[before:]}:
                assert all(asker.is_alive() for asker in askers)
                time.sleep(0.001)
    finally:
        stop.set()
        for asker in askers:
            asker.join()

    assert {answer["scorers"][0]["version"] for answer in answers} == {1, 2}
    for answer in answers:  # the version that is named is the one that scored
        assert self_score(answer) == pytest.approx(expected[answer["scorers"][0]["version"]], abs=1e-4)


def self_score(answer: Any) -> float:
    (cell,) = answer["items"][0]["scores"][0].values()
    found: float = cell["score"]
    return found


def test_a_model_is_loaded_and_unloaded_by_hand(client: TestClient) -> None:
    def loaded() -> dict[int, bool]:
        return {s["version"]: s["loaded"] for s in client.get("/v1/scorers").json()["data"]}

    assert loaded() == {1: False, 2: False}
    assert client.post("/v1/artifacts/mine@2/load").json() == {"name": "mine", "version": 2, "loaded": True}
    assert loaded() == {1: False, 2: True}
    assert client.post("/v1/artifacts/mine@2/unload").json()["loaded"] is False
    assert loaded() == {1: False, 2: False}
    assert client.post("/v1/artifacts/mine@2/unload").status_code == 404
    assert client.post("/v1/artifacts/mine@9/load").status_code == 404


def test_a_downloaded_artifact_is_the_one_that_was_published(
    client: TestClient, store: ArtifactStore, tmp_path: Path
) -> None:
    answer = client.get("/v1/artifacts/mine@2?format=tar")
    assert answer.headers["content-disposition"] == 'attachment; filename="mine-2.tar"'
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")

    unpacked = read_artifact(tmp_path / "unpacked")
    unpacked.verify()
    assert unpacked.digest == store.open("mine@2").digest
