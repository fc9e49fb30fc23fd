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
    """Compute activations again in the backward pass instead of keeping them: less memory, one more forward."""

    @property
    def compute_dtype(self) -> torch.dtype:
        """What the trained network multiplies in, as the origin of its weights says."""
        chosen = [value.compute_dtype for _, value in self if hasattr(value, "compute_dtype")]
        return chosen[0] if chosen else torch.float32

    def train(self, learner: Learner[Row], rows: Sequence[Row], lengths: Sequence[int], run: Run) -> int:
        """Run the loop with this recipe's settings; return the number of steps."""
        run.artifacts.check_writable()
        if self.gradient_checkpointing:
            recompute_activations(learner.trained)
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


def recompute_activations(network: nn.Module) -> None:
    """Keep no activations inside the layers of ``network``'s model. Raises InvalidInput for one that cannot."""
    model = next((module for module in network.modules() if isinstance(module, PreTrainedModel)), network)
    if not getattr(model, "supports_gradient_checkpointing", False):
        raise InvalidInput(
            f"{type(model).__name__} cannot recompute activations; set gradient_checkpointing to false",
            pointer="/gradient_checkpointing",
        )
    # by its new name where transformers has it and warns of the old one
    name = "activation_checkpointing_enable"
    getattr(model, name if hasattr(model, name) else "gradient_checkpointing_enable")({"use_reentrant": False})
