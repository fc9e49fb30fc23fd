"""The closed union of networks that can be trained to discriminate: adding one is a file and a line here."""

from typing import Annotated

from pydantic import Field

from trainer.models.discriminators.last_token import LastTokenDiscriminator
from trainer.models.discriminators.linear import LinearDiscriminator
from trainer.models.discriminators.mlp import MLPDiscriminator
from trainer.models.discriminators.transformer import TransformerDiscriminator

Architecture = Annotated[
    TransformerDiscriminator | MLPDiscriminator | LinearDiscriminator | LastTokenDiscriminator,
    Field(discriminator="kind"),
]
"""Each has ``kind`` and ``build(hidden_size)``."""
