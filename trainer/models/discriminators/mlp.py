"""The shallow discriminator of GANPO's Table 3."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from trainer.models.discriminators.contract import Discriminator, PooledMLP, masked_mean
from trainer.recipe import Model


class MLPDiscriminator(Model):
    """The mean latent through two spectral-norm layers with GELU: blind to order."""

    kind: Literal["mlp"] = "mlp"
    width: int = Field(512, ge=1, le=65_536)

    def build(self, hidden_size: int) -> Discriminator:
        """The network for hidden states of ``hidden_size`` features; seed torch before for seeded weights."""
        return _Network(hidden_size, self.width)


class _Network(PooledMLP):
    def pool(self, hidden_states: Tensor, mask: Tensor) -> Tensor:
        return masked_mean(hidden_states, mask)
