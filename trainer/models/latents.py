"""The latents discriminators read: last hidden states of the response's tokens, or of the whole text."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from trainer.models.policy import PairBatch

MaskChoice = Literal["response", "prompt_and_response"]
"""Whose tokens count; padding never does."""


@dataclass(frozen=True)
class Latents:
    """Hidden states (batch, length, hidden), first counted token at position 0, and their mask (batch, length).

    What stands where the mask is False means nothing and must change nothing.
    """

    hidden_states: Tensor
    mask: Tensor

    def rows(self, part: slice) -> "Latents":
        return Latents(self.hidden_states[part], self.mask[part])


def select_latents(hidden_states: Tensor, batch: PairBatch, mask: MaskChoice) -> Latents:
    """Slice hidden states (batch, length, hidden) of a padded batch to the tokens that ``mask`` names.

    Slicing makes discriminators cheaper than masking in place would, and their positions count from the slice's start.
    """
    counted = batch.response_mask if mask == "response" else batch.attention_mask.bool()
    lengths = counted.sum(dim=1)
    starts = counted.long().argmax(dim=1)
    offsets = torch.arange(int(lengths.max()), device=hidden_states.device)
    index = (starts[:, None] + offsets).clamp(max=hidden_states.shape[1] - 1)
    gathered = hidden_states.gather(1, index[..., None].expand(-1, -1, hidden_states.shape[2]))
    return Latents(gathered, offsets < lengths[:, None])
