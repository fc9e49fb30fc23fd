"""Trying on short texts whether a network does what no list of architectures could say of all of them."""

import torch
from torch import Tensor

UNABLE = (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError)
"""What an architecture raises that is asked for something it cannot do."""


def alike(found: Tensor, expected: Tensor, dtype: torch.dtype, share: float) -> bool:
    """Whether ``found`` is ``expected`` but for rounding, computed in ``dtype``.

    In float32 that is ``share`` of the largest value, in lower precision a twentieth.
    """
    rounding = share if dtype == torch.float32 else 0.05
    return torch.allclose(found, expected, rtol=0.0, atol=rounding * float(expected.abs().max()))
