"""A reward model whose encoder multiplies 8-bit integers, made of a published model's weights as it is loaded."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.data.text import Encoded
from trainer.models.int8_linear import quantise_linears
from trainer.models.readings import Readings
from trainer.models.reward_model import RewardModel


class QuantisedRewardModel(RewardModel):
    """Reads every pair alone: see ``int8_linear``. Head and pooler stay floats. A ``PairModel``, not to be trained."""

    layers: int
    """How many of its layers multiply integers."""

    @classmethod
    def load(cls, path: Path, details: dict[str, Any]) -> "QuantisedRewardModel":
        """Load a reward model in files of floats and quantise it. Raises BrokenArtifact."""
        model = super().load(path, details)
        assert isinstance(model, QuantisedRewardModel)
        model.layers = quantise_linears(model.network.backbone, but="pooler.")
        return model

    @cached_property
    def longest_packed(self) -> int:
        return 0

    def score(
        self, batch: Sequence[Encoded], outputs: Sequence[str] | None = None, readings: Readings | None = None
    ) -> Tensor:
        return torch.cat([super(QuantisedRewardModel, self).score([row], outputs) for row in batch])
