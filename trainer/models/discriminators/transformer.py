"""The Transformer discriminator of GANPO (arXiv 2601.22083, Figure 10)."""

from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention
from torch.nn.utils.parametrizations import spectral_norm

from trainer.recipe import Model


class TransformerDiscriminator(Model):
    """Spectral-norm projection, learned positions, pre-norm encoder, masked mean, spectral-norm head."""

    kind: Literal["transformer"] = "transformer"
    width: int = Field(512, ge=8)
    layers: int = Field(2, ge=1)
    heads: int = Field(8, ge=1)
    positions: int = Field(2048, ge=1)
    """Response tokens with a place of their own; those after them share the last one."""

    def build(self, hidden_size: int) -> nn.Module:
        """The network for hidden states of ``hidden_size`` features; seed torch before for seeded weights."""
        return _Network(self, hidden_size)


class _Network(nn.Module):
    def __init__(self, config: TransformerDiscriminator, hidden_size: int) -> None:
        super().__init__()
        width = config.width
        self.project = spectral_norm(nn.Linear(hidden_size, width))
        self.positions = nn.Embedding(config.positions, width)
        self.layers = nn.ModuleList(_Layer(width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Sequential(spectral_norm(nn.Linear(width, width)), nn.GELU(), spectral_norm(nn.Linear(width, 1)))
        for name, weight in self.named_parameters():
            if weight.dim() > 1 and "positions" not in name:
                nn.init.xavier_uniform_(weight)
        nn.init.normal_(self.positions.weight, std=0.02)
        self._warm_spectral_norm()

    def forward(self, hidden_states: Tensor, mask: Tensor) -> Tensor:
        """Logits (batch,) from hidden states (batch, length, hidden) where ``mask`` (batch, length) is True."""
        position = torch.arange(hidden_states.shape[1], device=hidden_states.device)
        position = position.clamp(max=self.positions.num_embeddings - 1)
        x = self.project(hidden_states) + self.positions(position)
        for layer in self.layers:
            x = layer(x, mask)
        weights = mask[..., None].to(x.dtype)
        pooled = (self.norm(x) * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        return cast(Tensor, self.head(pooled)[:, 0].float())

    def _warm_spectral_norm(self) -> None:
        """Converge the power iterations: a fresh network in eval mode would give logits in the thousands."""
        self.train()
        with torch.no_grad():
            for module in self.modules():
                if hasattr(module, "parametrizations"):
                    for _ in range(30):
                        _ = module.weight


class _Layer(nn.Module):
    """Pre-norm self-attention and feed-forward, no dropout."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_feed = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(self.norm_attention(x)).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return cast(Tensor, x + self.down(gelu(self.up(self.norm_feed(x)))))
