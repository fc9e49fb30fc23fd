"""Metrics go to experiment trackers as well, under TRL's names."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from trainer.artifacts import ArtifactStore
from trainer.errors import InvalidInput
from trainer.recipes import parse_recipe
from trainer.reporting import read_events
from trainer.run import read_result, run_recipe
from trainer.trackers import start_trackers

SFT = {
    "kind": "sft",
    "name": "tracked",
    "policy": {"scratch": {"hidden_size": 16, "layers": 1, "heads": 2}},
    "data": {"kind": "product_world", "size": 16, "validation_size": 4},
    "batch": {"size": 8},
    "max_steps": 3,
}


def test_tensorboard_shows_what_the_events_say(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = parse_recipe({**SFT, "launch": {"trackers": ["tensorboard"]}})
    run_recipe(recipe, tmp_path / "run", ArtifactStore(tmp_path / "artifacts"), quiet=True)
    board = EventAccumulator(str(tmp_path / "run" / "tensorboard" / "assay")).Reload()
    recorded = [event for event in read_events(tmp_path / "run") if event["type"] == "metrics"]
    assert {"train/loss", "train/grad_norm", "train/learning_rate"} <= set(board.Tags()["scalars"])
    shown = [(point.step, point.value) for point in board.Scalars("train/loss")]
    assert shown == [(event["step"], pytest.approx(event["values"]["loss"], rel=1e-6)) for event in recorded]
    assert len(shown) == 3


def test_a_tracker_that_is_not_installed_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.trackers.find_spec", lambda name: None)
    recipe = parse_recipe({**SFT, "launch": {"trackers": ["wandb"]}})
    with pytest.raises(InvalidInput, match=r"wandb is not installed: run pip install 'reward-assay\[tracking\]'"):
        run_recipe(recipe, tmp_path, ArtifactStore(tmp_path / "artifacts"), quiet=True)
    result = read_result(tmp_path)
    assert result is not None
    assert result["error"]["code"] == "invalid_input"


def test_an_unknown_tracker_is_a_wrong_field() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_recipe({**SFT, "launch": {"trackers": ["abacus"]}})
    assert caught.value.pointer == "/launch/trackers/0"


def test_what_watches_a_run_does_not_change_its_digest() -> None:
    assert parse_recipe({**SFT, "launch": {"trackers": ["wandb"]}}).digest() == parse_recipe(SFT).digest()


def test_wandb_gets_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tracker,) = start_trackers(["wandb"], "run-1", tmp_path)
    tracker.log({"train/loss": 0.5}, step=1)
    tracker.finish()
    assert list(tmp_path.glob("wandb/offline-run-*/run-run-1.wandb"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mlflow_gets_them_too_and_a_run_that_continues_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    for step in (1, 2):
        (tracker,) = start_trackers(["mlflow"], "run-1", tmp_path)
        tracker.log({"train/loss": 0.5 * step}, step=step)
        tracker.finish()
    (found,) = mlflow.search_runs(experiment_names=["assay"], output_format="list")
    assert found.info.run_name == "run-1"
    curve = mlflow.MlflowClient().get_metric_history(found.info.run_id, "train/loss")
    assert [(point.step, point.value) for point in curve] == [(1, 0.5), (2, 1.0)]


def test_mlflow_is_told_what_it_called_the_run_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    class Tracker:
        name = "mlflow"
        tracker = SimpleNamespace(info=SimpleNamespace(run_id="53c592e6"))

        def __init__(self, project: str, *, run_id: str | None, run_name: str) -> None:
            asked.append(run_id)

        def start(self) -> None:
            pass

    monkeypatch.setattr("trainer.trackers.find_spec", lambda name: object())
    monkeypatch.setattr("accelerate.tracking.MLflowTracker", Tracker)
    for _ in range(2):
        start_trackers(["mlflow"], "run-1", tmp_path)
    assert asked == [None, "53c592e6"]
