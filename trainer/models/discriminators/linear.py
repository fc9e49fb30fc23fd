"""The simplest discriminator: a direction in latent space."""

from typing import Literal, cast

from torch import Tensor, nn

from trainer.models.discriminators.contract import Discriminator, masked_mean
from trainer.recipe import Model


class LinearDiscriminator(Model):
    """A linear probe of the mean latent; no spectral norm, which would fix the length of its one direction."""

    kind: Literal["linear"] = "linear"

    def build(self, hidden_size: int) -> Discriminator:
        """The network for hidden states of ``hidden_size`` features; seed torch before for seeded weights."""
        return _Network(hidden_size)


class _Network(Discriminator):
    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.direction = nn.Linear(hidden_size, 1)
        nn.init.xavier_uniform_(self.direction.weight)
        nn.init.zeros_(self.direction.bias)

    def logits(self, hidden_states: Tensor, mask: Tensor) -> Tensor:
        return cast(Tensor, self.direction(masked_mean(hidden_states, mask))[:, 0])
