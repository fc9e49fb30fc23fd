"""Sums over the processes that train together; alone, nothing happens."""

from collections.abc import Sequence

import torch
from torch import Tensor, distributed


def sum_over_ranks(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over all processes, in one exchange. Every process must call it."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return
    together = torch.cat([tensor.flatten() for tensor in tensors])
    distributed.all_reduce(together)
    sums = torch.split(together, [tensor.numel() for tensor in tensors])
    for tensor, total in zip(tensors, sums, strict=True):
        tensor.copy_(total.view_as(tensor))
