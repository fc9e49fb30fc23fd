"""Low-rank adapters (LoRA, arXiv 2106.09685): train B A beside a frozen W, publish W + alpha/rank B A as plain weights.

The policy without its adapters is the reference it started from, so a LoRA policy needs no second copy of the weights.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from trainer.errors import InvalidInput
from trainer.recipe import Model

if TYPE_CHECKING:
    from trainer.models.policy import Policy

ADAPTER = "default"


class LoRA(Model):
    """Adapters in place of all weights."""

    rank: int = Field(16, ge=1, le=65_536)
    alpha: float = Field(32, gt=0)
    """The adapters' output is scaled by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Of the adapters' input, while training."""
    target_modules: tuple[str, ...] | Literal["all-linear"] | None = None
    """Names (or ends of names) of the linear layers that get adapters; null: those peft knows for the architecture,
    mostly the attention's query and value."""


def add_adapters(model: PreTrainedModel, settings: LoRA, seed: int) -> None:
    """Freeze ``model`` and put adapters, which change nothing yet, beside its linear layers.

    Raises InvalidInput if no layer has the names asked for.
    """
    targets = settings.target_modules
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # a whole number by its annotation only
        lora_dropout=settings.dropout,
        target_modules=list(targets) if isinstance(targets, tuple) else targets,
        task_type="CAUSAL_LM",  # leaves the output layer alone under "all-linear"
    )
    torch.manual_seed(seed)
    try:
        inject_adapter_in_model(config, model, adapter_name=ADAPTER)
    except ValueError as error:
        names = sorted({name.rpartition(".")[2] for name, module in model.named_modules() if _is_linear(module)})
        raise InvalidInput(
            f"no adapters for {type(model).__name__}: lora.target_modules must name some of its linear layers,"
            f" which are {', '.join(names)}",
            pointer="/policy/lora/target_modules",
        ) from error


def has_adapters(model: torch.nn.Module) -> bool:
    """Whether ``add_adapters`` was here."""
    return any(isinstance(module, LoraLayer) for module in model.modules())


@contextmanager
def adapters_off(policy: "Policy") -> Iterator[None]:
    """Within, ``policy`` computes what it did before any training: it is its own reference, in evaluation mode."""
    layers = [module for module in policy.model.modules() if isinstance(module, LoraLayer)]
    assert layers, "a policy without adapters has no reference inside"
    training = policy.model.training
    policy.model.eval()
    for layer in layers:
        # not peft's enable_adapters(): it switches requires_grad as well, which FSDP reads only once
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False
        policy.model.train(training)


@torch.no_grad()
def merged_weights(model: PreTrainedModel) -> dict[str, Tensor]:
    """The state of the plain model that computes the same, W + alpha/rank B A under W's name; ``model`` stays as it is.

    Merging in place and back would leave rounding errors in W, and with them another reference.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    weights: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        owner, _, rest = name.partition(".base_layer.")
        if rest == "weight":
            weights[f"{owner}.weight"] = tensor + _delta(layers[owner]).to(tensor.dtype)
        elif rest:
            weights[f"{owner}.{rest}"] = tensor
        elif ".lora_" not in name:
            weights[name] = tensor
    return weights


def _is_linear(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Linear)


def _delta(layer: LoraLayer) -> Tensor:
    """alpha/rank B A, in W's shape."""
    delta: Tensor = layer.get_delta_weight(ADAPTER)  # type: ignore[attr-defined]  # each kind of layer has its own
    return delta
