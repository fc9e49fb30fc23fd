"""`assay artifacts` lists, verifies, imports and deletes what is published."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from service.cli import main
from trainer.artifacts import Artifact, ArtifactStore

Publish = Callable[..., Artifact]


@pytest.fixture
def store(tmp_path: Path, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    """One artifact, ``mine@1``, in a directory that the command works on."""
    monkeypatch.setenv("ASSAY_ARTIFACT_DIR", str(tmp_path / "artifacts"))
    store = ArtifactStore(tmp_path / "artifacts")
    publish(store, "mine", seed=1)
    return store


def test_a_list_names_every_artifact_and_its_manifest_can_be_shown(
    store: ArtifactStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["artifacts", "list"]) == 0
    assert "mine@1" in capsys.readouterr().out

    assert main(["artifacts", "list", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)["data"]
    assert (listed["name"], listed["version"], listed["kind"]) == ("mine", 1, "reward_model")

    assert main(["artifacts", "list", "--kind", "policy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"data": []}

    assert main(["artifacts", "show", "mine"]) == 0
    assert json.loads(capsys.readouterr().out)["details"]["architecture"] == "encoder"


def test_a_changed_file_is_found_and_named(store: ArtifactStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["artifacts", "verify"]) == 0
    assert capsys.readouterr().out == "mine@1 is as published\n"

    (store.open("mine").path / "config.json").write_text("{}")

    assert main(["artifacts", "verify", "mine@1"]) == 2
    assert "mine@1: config.json was changed" in capsys.readouterr().out


def test_an_artifact_whose_manifest_cannot_be_read_is_not_passed_over(
    store: ArtifactStore, capsys: pytest.CaptureFixture[str]
) -> None:
    (store.open("mine").path / "manifest.json").write_text("{")

    assert main(["artifacts", "verify"]) == 2
    said = capsys.readouterr()
    assert "mine/1/manifest.json is not a manifest" in said.out
    assert said.err.startswith("assay: 1 of these artifacts")


def test_a_published_directory_is_imported_with_all_its_manifest_says(
    store: ArtifactStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = shutil.copytree(store.open("mine").path, tmp_path / "elsewhere")

    assert main(["artifacts", "import", str(elsewhere), "theirs"]) == 0
    assert capsys.readouterr() == ("theirs@1\n", "")
    original, imported = store.open("mine").manifest, store.open("theirs").manifest
    assert imported.files == original.files
    assert imported.probes == original.probes
    assert imported.details == original.details


def test_hugging_face_files_are_imported_once_it_is_said_what_they_are(
    store: ArtifactStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = shutil.copytree(store.open("mine").path, tmp_path / "plain")
    (plain / "manifest.json").unlink()

    assert main(["artifacts", "import", str(plain), "theirs"]) == 2
    assert "--kind reward_model --architecture encoder|decoder" in capsys.readouterr().err
    assert (
        main(["artifacts", "import", str(plain), "theirs", "--kind", "reward_model", "--architecture", "encoder"]) == 0
    )
    assert store.open("theirs").manifest.kind == "reward_model"
    assert main(["artifacts", "verify", "theirs"]) == 0


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: (path / "model.safetensors").rename(path / "pytorch_model.bin"), "is a pickle"),
        (lambda path: (path / "model.safetensors").unlink(), "no .safetensors weights"),
        (shutil.rmtree, "no such directory"),
    ],
    ids=["pickle", "no weights", "no directory"],
)
def test_what_cannot_be_served_is_not_imported(
    store: ArtifactStore,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], object],
    words: str,
) -> None:
    plain = shutil.copytree(store.open("mine").path, tmp_path / "plain")
    (plain / "manifest.json").unlink()
    spoil(plain)

    assert main(["artifacts", "import", str(plain), "theirs", "--kind", "policy"]) == 2
    assert words in capsys.readouterr().err
    assert [artifact.reference for artifact in store.all()] == ["mine@1"]


def test_a_version_is_deleted_and_only_a_version(store: ArtifactStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["artifacts", "delete", "mine"]) == 2
    assert main(["artifacts", "delete", "mine@1"]) == 0
    assert store.all() == []
    capsys.readouterr()

    assert main(["artifacts", "list"]) == 0
    assert "nothing is published" in capsys.readouterr().err
