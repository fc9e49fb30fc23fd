"""POST /v1/artifacts publishes a model from where the operator allows, and from nowhere else."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from trainer.artifacts import ArtifactStore
from trainer.manifest import Artifact

Publish = Callable[..., Artifact]


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    """Where the operator lets models be taken from."""
    directory = tmp_path / "incoming"
    directory.mkdir()
    return directory


@pytest.fixture
def client(settings: Settings, incoming: Path) -> Iterator[TestClient]:
    changed = settings.model_copy(update={"job_slots": 0, "allowed_roots": (incoming,)})
    with TestClient(create_app(changed)) as client:
        yield client


def test_a_published_directory_is_imported_and_scores(
    client: TestClient, incoming: Path, tmp_path: Path, publish: Publish
) -> None:
    elsewhere = publish(ArtifactStore(tmp_path / "theirs"), "mine", seed=1)
    shutil.copytree(elsewhere.path, incoming / "mine")

    answer = client.post("/v1/artifacts", json={"source": str(incoming / "mine"), "name": "ours"})

    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == "/v1/artifacts/ours@1"
    assert (answer.json()["name"], answer.json()["version"]) == ("ours", 1)
    pair = {"prompt": "product lamp", "response": "It is blue ."}
    scored = client.post("/v1/scores", json={"scorers": ["ours"], "items": [pair]}).json()
    assert scored["items"][0]["scores"][0]["ours"]["tokens"] > 4


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"source": "{theirs}/mine/1", "name": "ours"}, 403, "forbidden"),
        ({"source": "{incoming}/../theirs/mine/1", "name": "ours"}, 403, "forbidden"),
        ({"source": "owner/model", "name": "ours"}, 403, "forbidden"),
        ({"source": "/etc", "name": "ours"}, 403, "forbidden"),
        ({"source": "{incoming}/nothing", "name": "ours"}, 422, "invalid_input"),
        ({"source": "{incoming}", "name": "../ours"}, 422, "invalid_input"),
        ({"source": "{incoming}", "name": "ours", "kind": "oracle"}, 422, "invalid_input"),
        ({"source": "{incoming}", "name": "ours", "trust_remote_code": True}, 422, "invalid_input"),
        ({"source": "{incoming}", "name": "ours", "validation": "/etc/passwd"}, 403, "forbidden"),
        ({"source": "{incoming}", "name": "ours", "validation": "owner/rows"}, 403, "forbidden"),
    ],
)
def test_nothing_is_taken_from_where_the_operator_did_not_say(
    client: TestClient, incoming: Path, tmp_path: Path, publish: Publish, body: dict[str, Any], status: int, code: str
) -> None:
    publish(ArtifactStore(tmp_path / "theirs"), "mine", seed=1)
    places = {"theirs": tmp_path / "theirs", "incoming": incoming}
    body = {name: each.format(**places) if isinstance(each, str) else each for name, each in body.items()}

    answer = client.post("/v1/artifacts", json=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert client.get("/v1/artifacts").json()["data"] == []


def test_an_artifacts_name_is_no_place_to_import_from(client: TestClient, settings: Settings, publish: Publish) -> None:
    publish(ArtifactStore(settings.artifact_dir), "owner/model", seed=1)  # of a name that the hub could have too
    answer = client.post("/v1/artifacts", json={"source": "owner/model", "name": "ours", "kind": "policy"})
    assert answer.status_code == 403
