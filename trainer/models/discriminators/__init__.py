"""Discriminators: networks that read a sequence of hidden states and give one logit."""

from typing import Annotated

from pydantic import Field

from trainer.models.discriminators.architectures import Architecture
from trainer.models.discriminators.contract import Discriminator
from trainer.models.discriminators.last_token import LastTokenDiscriminator
from trainer.models.discriminators.linear import LinearDiscriminator
from trainer.models.discriminators.mlp import MLPDiscriminator
from trainer.models.discriminators.mse import MSE, latent_distance
from trainer.models.discriminators.random import RandomDiscriminator
from trainer.models.discriminators.transformer import TransformerDiscriminator

__all__ = [
    "MSE",
    "AnyDiscriminator",
    "Architecture",
    "Discriminator",
    "DiscriminatorConfig",
    "LastTokenDiscriminator",
    "LinearDiscriminator",
    "MLPDiscriminator",
    "RandomDiscriminator",
    "TransformerDiscriminator",
    "latent_distance",
]

DiscriminatorConfig = Annotated[Architecture | RandomDiscriminator, Field(discriminator="kind")]
"""Whatever has ``build(hidden_size)`` and can therefore score, trained or not."""

AnyDiscriminator = Annotated[Architecture | RandomDiscriminator | MSE, Field(discriminator="kind")]
"""What can stand in GANPO's regulariser, the distance without a network included."""
