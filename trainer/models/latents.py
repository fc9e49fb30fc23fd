"""The latents discriminators read: last hidden states of the response's tokens alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.models.policy import PairBatch


@dataclass(frozen=True)
class Latents:
    """Hidden states (batch, response length, hidden), first response token at position 0, and their mask."""

    hidden_states: Tensor
    mask: Tensor

    def rows(self, part: slice) -> "Latents":
        return Latents(self.hidden_states[part], self.mask[part])


def response_latents(hidden_states: Tensor, batch: PairBatch) -> Latents:
    """Slice hidden states (batch, length, hidden) to the response: cheaper, and blind to prompt and padding."""
    lengths = batch.response_mask.sum(dim=1)
    starts = batch.response_mask.long().argmax(dim=1)
    offsets = torch.arange(int(lengths.max()), device=hidden_states.device)
    mask = offsets < lengths[:, None]
    index = (starts[:, None] + offsets).clamp(max=hidden_states.shape[1] - 1)
    gathered = hidden_states.gather(1, index[..., None].expand(-1, -1, hidden_states.shape[2]))
    return Latents(gathered * mask[..., None].to(gathered.dtype), mask)
