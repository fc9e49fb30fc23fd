"""Resumable states of a run: written beside the last good one and renamed, never over it; never published."""

import shutil
from pathlib import Path
from typing import Any

import torch

from trainer.files import storage_errors, sync, sync_tree
from trainer.staging import CHECKPOINT_STAGING

STATE_FILE = "state.pt"
KEPT = 2
REFERENCE, FEATURES = "reference", "features"
"""Folders of a run directory with what was computed once, before the first step."""


class Checkpoints:
    """The checkpoints of one run directory."""

    def __init__(self, run_directory: Path) -> None:
        self.directory = run_directory / "checkpoints"

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write ``state`` as the checkpoint of ``step``. Raises StorageFailure and keeps the previous one."""
        with storage_errors(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
            staging = self.directory.parent / CHECKPOINT_STAGING
            shutil.rmtree(staging, ignore_errors=True)
            try:
                staging.mkdir()
                try:
                    torch.save(state, staging / STATE_FILE)
                except RuntimeError as error:  # torch's zip writer reports a full disk as a RuntimeError
                    raise OSError(str(error).splitlines()[0]) from error
                sync_tree(staging)
                target = self.directory / f"step-{step:08d}"
                shutil.rmtree(target, ignore_errors=True)
                staging.rename(target)
                sync(self.directory)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
            for old in self._saved()[:-KEPT]:
                shutil.rmtree(old.parent)

    def latest(self) -> dict[str, Any] | None:
        """The newest state, or None. Tensors only: nothing in a checkpoint can run code."""
        saved = self._saved()
        if not saved:
            return None
        state: dict[str, Any] = torch.load(saved[-1], map_location="cpu", weights_only=True)
        return state

    def clear(self) -> None:
        """Drop all checkpoints of a run that has published what it made, and what it computed beforehand."""
        for name in (self.directory.name, REFERENCE, FEATURES):
            shutil.rmtree(self.directory.parent / name, ignore_errors=True)

    def _saved(self) -> list[Path]:
        """State files, oldest first; a directory without one is what a kill left of a removal."""
        return sorted(self.directory.glob(f"step-*/{STATE_FILE}"))
