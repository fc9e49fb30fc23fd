"""Discriminators: networks that read a sequence of hidden states and give one logit."""

from trainer.models.discriminators.transformer import TransformerDiscriminator

__all__ = ["DiscriminatorConfig", "TransformerDiscriminator"]

DiscriminatorConfig = TransformerDiscriminator
"""The closed union of configurations; each has ``kind`` and ``build(hidden_size)``."""
