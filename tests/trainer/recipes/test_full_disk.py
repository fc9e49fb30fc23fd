"""A disk that refuses a write costs a run its next checkpoint or artifact, never the ones before."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import trainer.run
from trainer.artifacts import ArtifactStore
from trainer.checkpoints import Checkpoints
from trainer.errors import StorageFailure
from trainer.recipes import parse_recipe
from trainer.reporting import read_events
from trainer.run import read_result, run_recipe

SMALL = 50_000
"""Bytes: more than a line of events, less than the weights."""


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The operating system itself refuses to write more into any file."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def recipe() -> Any:
    return parse_recipe(
        {
            "kind": "sft",
            "name": "full",
            "policy": {"scratch": {"hidden_size": 32, "layers": 2, "heads": 2}},
            "data": {"kind": "product_world", "size": 24, "validation_size": 4},
            "batch": {"size": 8},
            "max_steps": 6,
            "checkpoint": {"every_steps": 2},
            "optimizer": {"learning_rate": 1e-3},
        }
    )


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Weights of a run that had room."""
    root = tmp_path_factory.mktemp("room")
    run_recipe(recipe(), root / "run", ArtifactStore(root / "artifacts"), quiet=True)
    return weights(ArtifactStore(root / "artifacts"))


def weights(store: ArtifactStore) -> dict[str, torch.Tensor]:
    return load_file(store.open("full@1").path / "model.safetensors")


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_checkpoint_that_does_not_fit_keeps_the_one_before(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"step": 1})
    with files_of_at_most(SMALL), pytest.raises(StorageFailure, match=r"cannot write .*free space or choose another"):
        checkpoints.save(2, {"step": 2, "weights": torch.ones(SMALL)})
    assert checkpoints.latest() == {"step": 1}
    assert [path.name for path in checkpoints.directory.iterdir()] == ["step-00000001"]


def test_a_run_whose_checkpoint_does_not_fit_continues_from_the_last(
    tmp_path: Path, straight: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, directory = ArtifactStore(tmp_path / "artifacts"), tmp_path / "run"
    save = Checkpoints.save

    def full(self: Checkpoints, step: int, state: dict[str, Any]) -> None:
        with files_of_at_most(SMALL if step == 4 else resource.getrlimit(resource.RLIMIT_FSIZE)[0]):
            save(self, step, state)

    monkeypatch.setattr(Checkpoints, "save", full)
    with pytest.raises(StorageFailure):
        run_recipe(recipe(), directory, store, quiet=True)
    monkeypatch.undo()
    assert [path.name for path in (directory / "checkpoints").iterdir()] == ["step-00000002"]
    result = read_result(directory)
    assert result is not None
    assert result["error"]["code"] == "storage_failure"
    run_recipe(recipe(), directory, store, quiet=True)
    assert same(weights(store), straight)


def test_a_model_that_does_not_fit_is_published_once_it_does(
    tmp_path: Path, straight: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, directory = ArtifactStore(tmp_path / "artifacts"), tmp_path / "run"
    publish = ArtifactStore.publish

    def full(self: ArtifactStore, *arguments: Any) -> Any:
        with files_of_at_most(SMALL):
            return publish(self, *arguments)

    monkeypatch.setattr(ArtifactStore, "publish", full)
    with pytest.raises(StorageFailure, match="cannot write"):
        run_recipe(recipe(), directory, store, quiet=True)
    monkeypatch.undo()
    assert store.all() == []
    assert not list(store.root.rglob("*.safetensors"))
    assert sorted(path.name for path in (directory / "checkpoints").iterdir()) == ["step-00000004", "step-00000006"]
    run_recipe(recipe(), directory, store, quiet=True)
    assert same(weights(store), straight)
    steps = [event["step"] for event in read_events(directory) if event["type"] == "metrics"]
    assert steps == [1, 2, 3, 4, 5, 6]  # nothing was trained again


def test_a_run_whose_result_does_not_fit_tells_it_once_it_does_and_trains_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, directory = ArtifactStore(tmp_path / "artifacts"), tmp_path / "run"
    finish = trainer.run._finish

    def full(*arguments: Any) -> None:
        with files_of_at_most(10):
            finish(*arguments)

    monkeypatch.setattr(trainer.run, "_finish", full)
    with pytest.raises(StorageFailure, match=r"cannot write .*result\.json"):
        run_recipe(recipe(), directory, store, quiet=True)
    monkeypatch.undo()
    assert [artifact.reference for artifact in store.all()] == ["full@1"]
    assert run_recipe(recipe(), directory, store, quiet=True)["artifacts"] == {"policy": "full@1"}
    steps = [event["step"] for event in read_events(directory) if event["type"] == "metrics"]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert not (directory / "checkpoints").exists(), "nobody continues from them any more"
