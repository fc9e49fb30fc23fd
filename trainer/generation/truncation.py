"""Cutting the tail of a distribution before a token is drawn from it. A stress test cuts nothing unless asked to."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Truncation:
    """Which tokens may be drawn; the default is all of them. The definitions are those of transformers."""

    top_k: int = 0
    """Only the k most probable tokens, and those as probable as the last of them; 0: all."""
    top_p: float = 1.0
    """Only the smallest set of most probable tokens with at least this share of what top_k left."""
    min_p: float = 0.0
    """Only tokens at least this share as probable as the most probable."""

    def apply(self, logits: Tensor, temperature: Tensor) -> Tensor:
        """Logits (lines, vocabulary) with minus infinity where softmax(logits / T) is cut, T (lines, 1).

        The most probable token always stays, so T = 0 loses nothing.
        """
        if self == WHOLE:
            return logits
        scaled = logits / temperature.clamp(min=torch.finfo(logits.dtype).tiny ** 0.5)
        kept = torch.ones_like(logits, dtype=torch.bool)
        if 0 < self.top_k < logits.shape[1]:
            kept = scaled >= scaled.topk(self.top_k, dim=1).values[:, -1:]
        if self.top_p < 1:
            values, order = scaled.masked_fill(~kept, -math.inf).sort(dim=1, descending=True, stable=True)
            share = torch.softmax(values, dim=1)
            before = share.cumsum(dim=1) - share
            kept &= torch.zeros_like(kept).scatter(
                1, order, (before < self.top_p).index_fill(1, order.new_zeros(1), True)
            )
        if self.min_p > 0:
            kept &= scaled >= scaled.max(dim=1, keepdim=True).values + math.log(self.min_p)
        return logits.masked_fill(~kept, -math.inf)


WHOLE = Truncation()
"""Nothing is cut."""
