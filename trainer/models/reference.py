"""The reference policy that training compares with: a frozen copy, or the policy itself without its adapters.

A third, read from a file, is ``trainer.models.precomputed_reference``.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from trainer.data.text import Encoded
from trainer.models.latents import Latents, MaskChoice, select_latents
from trainer.models.lora import adapters_off
from trainer.models.policy import PairBatch, Policy


@dataclass(frozen=True)
class ReferenceView:
    """What was asked of the reference; None for what was not."""

    logps: Tensor | None
    """Log-probability of each response, (batch,), float32."""
    latents: Latents | None


class Reference(ABC):
    """Says what the initial policy makes of prompt-response pairs; never carries a gradient."""

    @abstractmethod
    def __call__(
        self, rows: Sequence[Encoded], batch: PairBatch, *, logps: bool, latents: MaskChoice | None
    ) -> ReferenceView:
        """The view of ``rows``, of which ``batch`` is the collation.

        ``latents`` names the tokens whose hidden states are wanted. Nothing is computed that was not asked for.
        """


class FrozenPolicy(Reference):
    """A policy that nobody trains, itself and not a copy."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    @torch.no_grad()
    def __call__(
        self, rows: Sequence[Encoded], batch: PairBatch, *, logps: bool, latents: MaskChoice | None
    ) -> ReferenceView:
        hidden_states = self.policy.hidden_states(batch)
        return ReferenceView(
            self.policy.logps(batch, hidden_states).sum(dim=1) if logps else None,
            select_latents(hidden_states, batch, latents) if latents else None,
        )


class FrozenCopy(FrozenPolicy):
    """A second set of the policy's weights, in ``dtype``."""

    def __init__(self, policy: Policy, dtype: torch.dtype = torch.float32) -> None:
        model = copy.deepcopy(policy.model).eval().requires_grad_(False)
        for parameter in model.parameters():
            # not model.to(dtype): rotary frequencies are buffers, and rounded ones turn distant tokens by whole radians
            parameter.data = parameter.data.to(dtype)
        super().__init__(Policy(model, policy.tokenizer))


class AdaptersOff(Reference):
    """The policy itself with its LoRA adapters switched off: no second copy of the weights."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.trained: Callable[[], nn.Module] = lambda: policy.network
        """The network as a launcher has wrapped it by now: sharded weights are gathered by calling it."""

    @torch.no_grad()
    def __call__(
        self, rows: Sequence[Encoded], batch: PairBatch, *, logps: bool, latents: MaskChoice | None
    ) -> ReferenceView:
        # an empty response needs no logits
        asked = batch if logps else replace(batch, response_mask=torch.zeros_like(batch.response_mask))
        with adapters_off(self.policy):
            hidden_states, token_logps = self.trained()(asked)
        return ReferenceView(
            token_logps.sum(dim=1) if logps else None,
            select_latents(hidden_states, batch, latents) if latents else None,
        )


class AdaptersOffPolicy(Policy):
    """What a LoRA policy was before training, for whatever scores or encodes with a policy."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy.model, policy.tokenizer)

    def hidden_states(self, batch: PairBatch) -> Tensor:
        with adapters_off(self):
            return super().hidden_states(batch)
