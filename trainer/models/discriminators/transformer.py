"""The Transformer discriminator of GANPO (arXiv 2601.22083, Figure 10)."""

from typing import Literal, Self, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import dropout, gelu, scaled_dot_product_attention

from trainer.models.discriminators.contract import Discriminator, SpectralLinear, masked_mean
from trainer.recipe import Model


class TransformerDiscriminator(Model):
    """Spectral-norm projection, learned positions, pre-norm encoder, masked mean, spectral-norm head."""

    kind: Literal["transformer"] = "transformer"
    width: int = Field(512, ge=8, le=65_536)
    layers: int = Field(2, ge=1, le=128)
    """2 for Gemma-2-2B and 4 for Llama-3-8B in the paper."""
    heads: int = Field(8, ge=1)
    positions: int = Field(2048, ge=1, le=1_048_576)
    """Tokens with a place of their own; those after them share the last one."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """While the discriminator trains. The paper's 0.1 costs time and blurs differences between policy and reference."""

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be shared out evenly among {self.heads} heads")
        return self

    def build(self, hidden_size: int) -> Discriminator:
        """The network for hidden states of ``hidden_size`` features; seed torch before for seeded weights."""
        return _Network(self, hidden_size)


class _Network(Discriminator):
    def __init__(self, config: TransformerDiscriminator, hidden_size: int) -> None:
        super().__init__()
        width = config.width
        self.project = SpectralLinear(hidden_size, width)
        self.positions = nn.Embedding(config.positions, width)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.layers = nn.ModuleList(_Layer(width, config.heads, config.dropout) for _ in range(config.layers))
        self.head = nn.Sequential(SpectralLinear(width, width), nn.GELU(), SpectralLinear(width, 1))

    def logits(self, hidden_states: Tensor, mask: Tensor) -> Tensor:
        position = torch.arange(hidden_states.shape[1], device=hidden_states.device)
        position = position.clamp(max=self.positions.num_embeddings - 1)
        x = self.project(hidden_states) + self.positions(position)
        for layer in self.layers:
            x = layer(x, mask)
        return cast(Tensor, self.head(masked_mean(x, mask))[:, 0])


class _Layer(nn.Module):
    """Pre-norm self-attention and feed-forward of width 4x, dropout where ``nn.TransformerEncoderLayer`` has it."""

    def __init__(self, width: int, heads: int, rate: float) -> None:
        super().__init__()
        self.heads = heads
        self.rate = rate
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_feed = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        for matrix in (self.qkv, self.out, self.up, self.down):
            nn.init.xavier_uniform_(matrix.weight)
            nn.init.zeros_(matrix.bias)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(self.norm_attention(x)).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        rate = self.rate if self.training else 0.0
        attended = scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :], dropout_p=rate)
        x = x + dropout(self.out(attended.transpose(1, 2).reshape(batch, length, width)), rate)
        feed = self.down(dropout(gelu(self.up(self.norm_feed(x))), rate))
        return x + dropout(feed, rate)
