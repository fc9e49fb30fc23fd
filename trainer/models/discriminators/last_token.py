"""A discriminator that reads where reward models read: at the last token."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from trainer.models.discriminators.contract import Discriminator, PooledMLP
from trainer.recipe import Model


class LastTokenDiscriminator(Model):
    """The last latent under the mask through the head of ``mlp``, so that the two differ by their pooling alone."""

    kind: Literal["last_token"] = "last_token"
    width: int = Field(512, ge=1, le=65_536)

    def build(self, hidden_size: int) -> Discriminator:
        """The network for hidden states of ``hidden_size`` features; seed torch before for seeded weights."""
        return _Network(hidden_size, self.width)


class _Network(PooledMLP):
    def pool(self, hidden_states: Tensor, mask: Tensor) -> Tensor:
        last = (mask.sum(dim=1) - 1).clamp(min=0)
        return hidden_states[torch.arange(len(last), device=last.device), last]
