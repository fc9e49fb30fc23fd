"""What a run that trained left behind."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from trainer.artifacts import ArtifactStore
from trainer.reporting import read_events


def metrics_of(directory: Path) -> list[dict[str, float]]:
    """Of each step or round; those of a run inside the run stand under a stage of their own."""
    events = [event for event in read_events(directory) if event["type"] == "metrics"]
    return [event["values"] for event in events if event["stage"] == "train"]


def weights(store: ArtifactStore, reference: str) -> dict[str, torch.Tensor]:
    return load_file(store.open(reference).path / "model.safetensors")


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
