"""A discriminator that nobody trains: the control that says how much a trained one has learned."""

from typing import Literal

from trainer.models.discriminators.architectures import Architecture
from trainer.models.discriminators.contract import Discriminator
from trainer.models.discriminators.transformer import TransformerDiscriminator
from trainer.recipe import Model


class RandomDiscriminator(Model):
    """An architecture frozen at its random weights."""

    kind: Literal["random"] = "random"
    of: Architecture = TransformerDiscriminator()

    def build(self, hidden_size: int) -> Discriminator:
        """The network for hidden states of ``hidden_size`` features; seed torch before for seeded weights."""
        return self.of.build(hidden_size).requires_grad_(False)
