"""What every discriminator is: a network from masked hidden states to one logit, and the parts they share."""

from abc import ABC, abstractmethod
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize


class Discriminator(nn.Module, ABC):
    """Reads sequences of latents and gives each one logit, which padding does not change."""

    def forward(self, hidden_states: Tensor, mask: Tensor) -> Tensor:
        """Logits (batch,) from hidden states (batch, length, hidden) where ``mask`` (batch, length) is True.

        Computed in float32 under any autocast: relativistic losses live on differences of logits near one another.
        """
        with torch.autocast(hidden_states.device.type, enabled=False):
            return self.logits(hidden_states.float(), mask)

    @abstractmethod
    def logits(self, hidden_states: Tensor, mask: Tensor) -> Tensor:
        """As ``forward``, on float32."""

    def iterate_norms(self) -> None:
        """One power iteration in every spectral norm; due whenever the weights have moved."""
        for module in self.modules():
            if isinstance(module, SpectralLinear):
                module.iterate()


class SpectralLinear(nn.Linear):
    """A linear map divided by its largest singular value, hence 1-Lipschitz (arXiv 1802.05957).

    The singular value is estimated as left^T W right, whose vectors move only in ``iterate``: one network is one
    function however often it is called between two steps, which torch's own, moving at every call, is not.
    """

    left: Tensor
    right: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)
        self.register_buffer("left", normalize(torch.randn(out_features), dim=0))
        self.register_buffer("right", normalize(torch.randn(in_features), dim=0))
        for _ in range(30):  # a network whose norms had not converged would give logits in the thousands
            self.iterate()

    def forward(self, x: Tensor) -> Tensor:
        # the vectors are copied because a later iteration would change them under a backward still to come
        largest = torch.dot(self.left.clone(), self.weight @ self.right.clone())
        return linear(x, self.weight / largest, self.bias)

    @torch.no_grad()
    def iterate(self) -> None:
        """One power iteration."""
        self.left.copy_(normalize(self.weight @ self.right, dim=0))
        self.right.copy_(normalize(self.weight.T @ self.left, dim=0))


class PooledMLP(Discriminator):
    """One pooled latent through two hidden layers with GELU to a scalar, each map spectral-normed."""

    def __init__(self, hidden_size: int, width: int) -> None:
        super().__init__()
        self.head = nn.Sequential(
            SpectralLinear(hidden_size, width),
            nn.GELU(),
            SpectralLinear(width, width),
            nn.GELU(),
            SpectralLinear(width, 1),
        )

    def logits(self, hidden_states: Tensor, mask: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.pool(hidden_states, mask))[:, 0])

    @abstractmethod
    def pool(self, hidden_states: Tensor, mask: Tensor) -> Tensor:
        """One latent (batch, hidden) for each sequence."""


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean (batch, features) of x (batch, length, features) over positions where ``mask`` (batch, length) is True."""
    kept = x.masked_fill(~mask[..., None], 0.0)  # not multiplied: padding may hold anything
    return kept.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
