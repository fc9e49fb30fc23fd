"""What all training recipes share: rows, schedule, batches, checkpoints, and publishing."""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import nn
from transformers import PreTrainedModel

from trainer.data.sources import AnySource
from trainer.errors import InvalidInput
from trainer.loop import BatchSettings, CheckpointSettings, Learner, Row, Schedule, optimise
from trainer.recipe import Run
from trainer.recipes.publishing import PublishingRecipe
from trainer.schedule import OptimizerSettings


class TrainingRecipe(PublishingRecipe):
    """Base of recipes that train a network on rows and publish it."""

    data: AnySource
    optimizer: OptimizerSettings = OptimizerSettings()
    batch: BatchSettings = BatchSettings()
    epochs: float = Field(1.0, gt=0)
    max_steps: int | None = Field(None, ge=1)
    checkpoint: CheckpointSettings = CheckpointSettings()
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, a third more time."""

    @property
    def compute_dtype(self) -> torch.dtype:
        """What the trained network multiplies in, as the origin of its weights says."""
        chosen = [value.compute_dtype for _, value in self if hasattr(value, "compute_dtype")]
        return chosen[0] if chosen else torch.float32

    def train(self, learner: Learner[Row], rows: Sequence[Row], lengths: Sequence[int], run: Run) -> int:
        """Run the loop with this recipe's settings; return the number of steps."""
        run.artifacts.check_writable()
        if self.gradient_checkpointing:
            _checkpoint_gradients(learner.trained)
        return optimise(
            learner,
            rows,
            lengths,
            optimizer=self.optimizer,
            batch=self.batch,
            duration=Schedule(epochs=self.epochs, max_steps=self.max_steps),
            checkpoint=self.checkpoint,
            seed=self.seed,
            run=run,
            compute_dtype=self.compute_dtype,
        )


def _checkpoint_gradients(network: nn.Module) -> None:
    """Raises InvalidInput for an architecture that cannot."""
    models = [module for module in network.modules() if isinstance(module, PreTrainedModel)]
    try:
        # by its new name where transformers has it and warns of the old one
        enable = getattr(models[0], "activation_checkpointing_enable", None) or models[0].gradient_checkpointing_enable
        enable({"use_reentrant": False})
    except ValueError as error:
        raise InvalidInput(
            f"{type(models[0]).__name__} cannot recompute activations; set gradient_checkpointing to false",
            pointer="/gradient_checkpointing",
        ) from error
