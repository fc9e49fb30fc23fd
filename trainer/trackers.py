"""Experiment trackers that a run's metrics go to besides its events, through accelerate's interface to them."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trainer.errors import InvalidInput
from trainer.files import write_atomically

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

TrackerName = Literal["tensorboard", "wandb", "mlflow"]

PROJECT = "assay"
"""What the runs are filed under: wandb's project, mlflow's experiment, tensorboard's folder."""
MLFLOW_FILE = "mlflow-run"
"""In a run's directory: the identity that mlflow gave it."""


def start_trackers(names: Sequence[TrackerName], run_id: str, directory: Path) -> "list[GeneralTracker]":
    """Trackers for one process, which go on in the curves of a run that continues.

    Where they write is theirs to say (``WANDB_MODE``, ``MLFLOW_TRACKING_URI``); tensorboard's files are in the run's
    directory. Raises InvalidInput for a tracker that is not installed.
    """
    for name in names:
        if find_spec(name) is None:
            raise InvalidInput(
                f"{name} is not installed: run pip install 'reward-assay[tracking]', or leave it out",
                pointer="/launch/trackers",
            )
    if not names:
        return []
    from accelerate.tracking import MLflowTracker, TensorBoardTracker, WandBTracker

    from trainer.processes import this_process

    this_process()  # accelerate's trackers want to know it
    trackers: list[GeneralTracker] = []
    for name in dict.fromkeys(names):
        match name:
            case "tensorboard":
                trackers.append(TensorBoardTracker(PROJECT, str(directory / "tensorboard")))
            case "wandb":
                trackers.append(WandBTracker(PROJECT, id=run_id, name=run_id, resume="allow", dir=str(directory)))
            case "mlflow":
                trackers.append(MLflowTracker(PROJECT, run_id=_known_to_mlflow(directory), run_name=run_id))
    for tracker in trackers:
        tracker.start()
        if tracker.name == "mlflow":
            write_atomically(directory / MLFLOW_FILE, f"{tracker.tracker.info.run_id}\n")
    return trackers


def _known_to_mlflow(directory: Path) -> str | None:
    """What mlflow called this run when it first started."""
    path = directory / MLFLOW_FILE
    return path.read_text(encoding="utf-8").strip() if path.exists() else None
