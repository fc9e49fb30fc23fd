"""Latents to play with."""

from collections.abc import Callable

import pytest
import torch

from trainer.models.latents import Latents


def _latents(seed: int, batch: int = 4, length: int = 5) -> Latents:
    generator = torch.Generator().manual_seed(seed)
    return Latents(torch.randn(batch, length, 8, generator=generator), torch.ones(batch, length, dtype=torch.bool))


@pytest.fixture(scope="session")
def latents() -> Callable[..., Latents]:
    """Random latents of 8 features, unpadded, by seed, batch and length."""
    return _latents
