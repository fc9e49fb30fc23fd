"""AdamW, how its learning rate changes over a run, and a step of it."""

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from trainer.errors import RunFailed
from trainer.recipe import Model


class OptimizerSettings(Model):
    """AdamW and its schedule."""

    learning_rate: float = Field(5e-7, gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Decay after warm-up, to zero at the end."""
    warmup_fraction: float = Field(0.1, ge=0, lt=1)
    """Of the steps, rounded up. As is usual the rate rises from zero, so the first of them moves nothing."""
    weight_decay: float = Field(0.0, ge=0)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    """Decay of AdamW's two moments; a second of 0.98 suits short runs from scratch."""
    max_grad_norm: float = Field(1.0, gt=0)


def learning_rate(step: int, total: int, settings: OptimizerSettings) -> float:
    """The rate of ``step`` (from 0) of ``total``, as transformers' schedules with warm-up have it."""
    warmup = math.ceil(settings.warmup_fraction * total)
    if step < warmup:
        return settings.learning_rate * step / warmup
    progress = (step - warmup) / max(total - warmup, 1)
    match settings.schedule:
        case "cosine":
            factor = 0.5 * (1 + math.cos(math.pi * progress))
        case "linear":
            factor = 1 - progress
        case "constant":
            factor = 1.0
    return settings.learning_rate * factor


def make_adam(network: nn.Module, settings: OptimizerSettings) -> torch.optim.AdamW:
    """AdamW over what is trainable in ``network``, in one pass over the weights: on a CPU three times as fast."""
    return torch.optim.AdamW(
        [parameter for parameter in network.parameters() if parameter.requires_grad],
        lr=settings.learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def check_finite(values: Mapping[str, float], when: str, advice: str) -> None:
    """Raises RunFailed naming the first that is not finite: before a step, so that it never reaches the weights."""
    for what, value in values.items():
        if not math.isfinite(value):
            raise RunFailed(f"the {what} is {value} at {when}; lower {advice}")


def take_step(adam: torch.optim.Optimizer, rate: float) -> None:
    """Move the weights at ``rate`` and forget the gradients."""
    for group in adam.param_groups:
        group["lr"] = rate
    adam.step()
    adam.zero_grad(set_to_none=True)
