"""How many workers, of what size, and what is said where there can be none."""

import pickle
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from evaluation.recipes import parse_recipe
from evaluation.workers.settings import RaySettings, SharedLaunch, open_workers
from evaluation.workers.this_process import ThisProcess
from trainer.errors import InvalidInput
from trainer.shared_artifacts import SharedArtifactStore, open_artifacts


def test_without_workers_the_runs_own_process_does_the_work() -> None:
    with open_workers(SharedLaunch(), print) as workers:
        assert isinstance(workers, ThisProcess)


def test_a_worker_has_a_share_of_one_gpu_or_whole_ones() -> None:
    assert [RaySettings(gpus_per_worker=gpus).gpus_per_worker for gpus in (0.25, 1, 2)] == [0.25, 1, 2]
    with pytest.raises(ValidationError, match="a share of one GPU or a whole number"):
        RaySettings(gpus_per_worker=1.5)


def test_workers_without_ray_are_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    launch = SharedLaunch(executor=RaySettings(ray_workers=2))

    with (
        pytest.raises(InvalidInput, match=r"needs Ray: pip install 'reward-assay\[ray\]'") as refused,
        open_workers(launch, print),
    ):
        pass
    assert refused.value.pointer == "/launch/executor/ray_workers"


def test_a_recipe_whose_work_cannot_be_shared_has_no_such_setting() -> None:
    sft = {"kind": "sft", "name": "a", "policy": {"path": "p"}, "data": {"path": "d.jsonl"}}

    parse_recipe(sft)
    with pytest.raises(InvalidInput, match="/launch/executor/ray_workers"):
        parse_recipe({**sft, "launch": {"executor": {"ray_workers": 2}}})


def test_artifacts_of_an_object_store_travel_to_workers_and_are_opened_there_anew(tmp_path: Path) -> None:
    store = open_artifacts(tmp_path / "copies", f"file://{tmp_path}/bucket")

    opened = pickle.loads(pickle.dumps(store))

    assert isinstance(opened, SharedArtifactStore)
    assert (opened.root, opened.bucket.url) == (tmp_path / "copies", f"file://{tmp_path}/bucket")
