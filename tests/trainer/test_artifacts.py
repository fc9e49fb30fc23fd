"""Artifacts appear whole or not at all, prove what they hold, and refuse what could run code."""

import json
import resource
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from trainer.artifacts import ArtifactStore, Contents, check_name
from trainer.errors import BrokenArtifact, Conflict, InvalidInput, NotFound, StorageFailure
from trainer.manifest import Probe


def contents(job: str | None = None) -> Contents:
    return Contents(kind="policy", recipe={}, recipe_digest="0", metrics={}, details={}, probes=[], parents=[], job=job)


def write(path: Path) -> None:
    (path / "model.safetensors").write_bytes(b"weights")
    (path / "config.json").write_text("{}")


def test_versions_count_up_and_the_highest_is_meant_without_one(store: ArtifactStore) -> None:
    assert [store.publish("a/b", contents(), write).reference for _ in range(2)] == ["a/b@1", "a/b@2"]
    assert store.open("a/b").version == 2
    assert store.open("a/b@1").version == 1
    assert [artifact.reference for artifact in store.all()] == ["a/b@1", "a/b@2"]


def test_a_resumed_job_gets_the_version_it_already_published(store: ArtifactStore) -> None:
    assert store.publish("a", contents("job_1"), write).version == 1
    assert store.publish("a", contents("job_1"), write).version == 1
    assert store.publish("a", contents("job_2"), write).version == 2


def test_a_number_taken_by_a_broken_artifact_is_not_given_again(store: ArtifactStore) -> None:
    store.publish("a", contents(), write)
    (store.root / "a/1/manifest.json").unlink()
    assert store.publish("a", contents(), write).version == 2


def test_concurrent_publishers_never_share_a_version(store: ArtifactStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(lambda _: store.publish("a", contents(), write).version, range(16)))
    assert sorted(versions) == list(range(1, 17))


def test_a_producer_that_fails_leaves_nothing_behind(store: ArtifactStore) -> None:
    def fail(path: Path) -> None:
        write(path)
        raise RuntimeError("killed half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        store.publish("a", contents(), fail)
    assert store.all() == []
    assert list((store.root / ".staging").iterdir()) == []


def test_a_changed_missing_or_added_file_is_found(store: ArtifactStore) -> None:
    artifact = store.publish("a", contents(), write)
    artifact.verify()
    (artifact.path / "config.json").write_text("{ }")
    with pytest.raises(BrokenArtifact, match=r"a@1: config\.json was changed"):
        artifact.verify()
    (artifact.path / "config.json").unlink()
    with pytest.raises(BrokenArtifact, match=r"config\.json is missing"):
        artifact.verify()
    (artifact.path / "config.json").write_text("{}")
    (artifact.path / "extra.txt").write_text("?")
    with pytest.raises(BrokenArtifact, match=r"extra\.txt is not in its manifest"):
        artifact.verify()


def test_a_half_written_directory_is_not_an_artifact(store: ArtifactStore) -> None:
    (store.root / "a" / "1").mkdir(parents=True)
    (store.root / "a" / "1" / "config.json").write_text("{}")
    with pytest.raises(BrokenArtifact, match="was never published"):
        store.open("a@1")
    (store.root / "a" / "1" / "manifest.json").write_text('{"format": 1, "name"')
    with pytest.raises(BrokenArtifact, match="not a manifest of this format"):
        store.open("a@1")


def test_a_pickle_is_refused(store: ArtifactStore) -> None:
    with pytest.raises(BrokenArtifact, match=r"pytorch_model\.bin is a pickle"):
        store.publish("a", contents(), lambda path: (path / "pytorch_model.bin").write_bytes(b"\x80") and None)
    assert store.all() == []


@pytest.mark.parametrize(
    "name", ["", "..", "../x", "/etc", "a//b", "a/1", "a/1/b", "1/a", "12", "a b", "a/b/c/d", "-x", "x" * 65, "a\n"]
)
def test_names_that_could_be_paths_are_refused(name: str, store: ArtifactStore) -> None:
    with pytest.raises(ValueError, match="a name is"):
        check_name(name)
    with pytest.raises(InvalidInput):
        store.open(name)


@pytest.mark.parametrize("reference", ["a@0", "a@-1", "a@x", "a@", "a@1@2", "a@99999999999"])
def test_versions_are_positive_numbers(reference: str, store: ArtifactStore) -> None:
    with pytest.raises(InvalidInput, match="a version is a positive number"):
        store.open(reference)


def test_an_unknown_artifact_is_not_found(store: ArtifactStore) -> None:
    with pytest.raises(NotFound, match="assay artifacts list"):
        store.open("nobody")


def test_a_parent_cannot_be_deleted_before_its_children(store: ArtifactStore) -> None:
    parent = store.publish("parent", contents(), write)
    child = contents()
    store.publish("child", Contents(**{**child.__dict__, "parents": [parent.as_parent("reference")]}), write)
    with pytest.raises(Conflict, match="parent of child@1"):
        store.delete("parent@1")
    store.delete("child@1")
    store.delete("parent@1")
    assert store.all() == []


def test_numbers_that_json_cannot_hold_publish_nothing(store: ArtifactStore) -> None:
    probe = Probe(prompt="a", response="b", scores={"score": float("nan")})
    with pytest.raises(BrokenArtifact, match="probe pair"):
        store.publish("a", replace(contents(), probes=[probe]), write)
    with pytest.raises(BrokenArtifact, match="accuracy is inf"):
        store.publish("a", replace(contents(), metrics={"accuracy": float("inf")}), write)
    assert store.all() == []


def test_a_version_that_cannot_be_read_can_be_deleted(store: ArtifactStore) -> None:
    store.publish("a", contents(), write)
    (store.root / "a/1/manifest.json").write_text("{")
    store.delete("a@1")
    assert store.unreadable() == []
    with pytest.raises(NotFound):
        store.delete("a@1")


def test_an_unwritable_root_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageFailure, match="cannot write"):
        ArtifactStore(tmp_path / "file").publish("a", contents(), write)
    with pytest.raises(StorageFailure, match="cannot write"):
        ArtifactStore(tmp_path / "file").check_writable()


def test_checking_a_writable_root_leaves_nothing_behind(store: ArtifactStore) -> None:
    store.check_writable()
    assert list((store.root / ".staging").iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full to stand in for a full disk")
def test_a_full_disk_publishes_nothing(store: ArtifactStore) -> None:
    def fill(path: Path) -> None:
        write(path)
        with Path("/dev/full").open("wb", buffering=0) as disk:
            disk.write(b"x")

    with pytest.raises(StorageFailure, match="No space left on device"):
        store.publish("a", contents(), fill)
    assert store.all() == []


def test_weights_that_do_not_fit_on_the_disk_publish_nothing(store: ArtifactStore) -> None:
    def fill(path: Path) -> None:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # the disk holds no larger file
        try:
            save_file({"weight": torch.zeros(1000)}, path / "model.safetensors")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    with pytest.raises(StorageFailure, match="File too large"):
        store.publish("a", contents(), fill)
    assert store.all() == []


def test_what_is_published_in_the_place_of_a_deleted_version_is_read_anew(store: ArtifactStore) -> None:
    first = store.publish("a", contents(), write).digest
    assert store.open("a@1") is store.open("a@1")  # unchanged, it is read once
    store.delete("a@1")
    with pytest.raises(NotFound):
        store.open("a@1")
    second = store.publish("a", contents("job_2"), write)

    assert store.open("a@1").digest == second.digest != first


def test_the_manifest_holds_digests_of_all_files(store: ArtifactStore) -> None:
    artifact = store.publish("a", contents(), write)
    manifest = json.loads((artifact.path / "manifest.json").read_text())
    assert manifest["files"].keys() == {"config.json", "model.safetensors"}
    assert len(artifact.digest) == 64
