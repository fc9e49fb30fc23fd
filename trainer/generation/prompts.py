"""Prompts whose keys and values are kept once, and attended to by all lines that go on from them.

A line then keeps no more than what it said itself. With the prompt copied to each line, reading it again for each is
most of the time of decoding behind a long prompt; for all lines of a prompt together it is one matrix product. Of
products is made what else there is to attention here: on a CPU PyTorch's fused kernel takes far longer for one query.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from trainer.generation.slots import SlotCache
from trainer.models.policy import Policy
from trainer.models.trial import UNABLE, alike

_NAME = "prompts_and_lines"
_OTHER_KINDS = ("softcap", "s_aux", "position_bias", "sliding_window")
"""What attention is given where it is not the softmax of products over all that came before."""


class Prompts:
    """Keys and values of some prompts, and which of these each line goes on from."""

    def __init__(self, longest: int, device: torch.device) -> None:
        """Room for prompts of at most ``longest`` tokens."""
        self._longest = longest
        self._layers: list[list[Tensor]] = []
        """Keys and values (prompts, key heads, longest, width) of each layer; prompts end at the last column."""
        self.lengths = torch.zeros(0, dtype=torch.long, device=device)
        """Tokens of each prompt (prompts,)."""
        self.others: Tensor | None = None
        """True (lines, 1, 1, columns) where a line's column is not its own; None where all are."""

    def add(self, read: SlotCache, lengths: Tensor) -> Tensor:
        """Keep the prompts of these ``lengths`` that ``read`` holds; returns their numbers (prompts,)."""
        first = len(self.lengths)
        self.lengths = torch.cat([self.lengths, lengths])
        left = self._longest - read.end
        new = [[nn.functional.pad(buffer, (0, 0, left, 0)) for buffer in layer.buffers] for layer in read.layers]
        pairs = zip(self._layers, new, strict=True)
        self._layers = [[torch.cat(both) for both in zip(*pair, strict=True)] for pair in pairs] if first else new
        return torch.arange(first, len(self.lengths), device=lengths.device)

    def assign(self, prompt: Tensor) -> Tensor:
        """Say which ``prompt`` each line (lines,) goes on from, and forget the others; returns the new numbers."""
        used, prompt = torch.unique(prompt, return_inverse=True)
        if len(used) < len(self.lengths):
            self.lengths = self.lengths[used]
            self._layers = [[kept.index_select(0, used) for kept in layer] for layer in self._layers]
        before = torch.arange(self._longest, device=prompt.device) < (self._longest - self.lengths)[:, None]
        self._padding = before[:, None, None] if bool(before.any()) else None
        # a table of the lines of each prompt, as wide as the most that one has; an empty place repeats the first line
        lines = torch.bincount(prompt, minlength=len(used))
        order = prompt.argsort(stable=True)
        rank = torch.arange(len(prompt), device=prompt.device) - (lines.cumsum(0) - lines)[prompt[order]]
        self._most = int(lines.max()) if len(prompt) else 0
        place = prompt[order] * self._most + rank
        self._lines = place.new_zeros(len(used) * self._most).index_put((place,), order)
        self._place = torch.empty_like(place).index_put((order,), place)
        return prompt

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of scaled queries to a line's prompt and to what the line keeps itself.

        ``query`` is (lines, key heads, heads of each, width), ``key`` and ``value`` (lines, key heads, columns, width);
        returns (lines, key heads, heads of each, width of values).
        """
        keys, values = self._layers[layer]
        said = query @ key.transpose(2, 3)
        if self.others is not None:
            said = said.masked_fill(self.others, -torch.inf)
        read = self._by_prompt(query) @ keys.transpose(2, 3)
        if self._padding is not None:
            read = read.masked_fill(self._padding, -torch.inf)
        scores = torch.cat([self._by_line(read, query.shape[2]), said], dim=3)
        weights = scores.softmax(dim=3, dtype=torch.float32).to(value.dtype)
        read, said = weights[..., : self._longest], weights[..., self._longest :]
        attended: Tensor = self._by_line(self._by_prompt(read) @ values, query.shape[2]) + said @ value
        return attended

    def _by_prompt(self, of: Tensor) -> Tensor:
        """(lines, key heads, heads of each, n) as (prompts, key heads, places * heads of each, n)."""
        table = of.index_select(0, self._lines).view(-1, self._most, *of.shape[1:])
        return table.transpose(1, 2).reshape(table.shape[0], table.shape[2], -1, table.shape[4])

    def _by_line(self, of: Tensor, heads: int) -> Tensor:
        """The way back, for as many ``heads`` of each key head."""
        table = of.view(*of.shape[:2], self._most, heads, of.shape[3]).transpose(1, 2)
        return table.reshape(-1, *table.shape[2:]).index_select(0, self._place)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    line_prompts: Prompts,
    **asked: Any,  # noqa: ANN401 - whatever else models say to attention
) -> tuple[Tensor, None]:
    """As transformers calls attention; ``query`` is (lines, heads, 1, width)."""
    if any(asked.get(other) is not None for other in _OTHER_KINDS):
        raise NotImplementedError
    lines, heads, _, width = query.shape
    queries = (query * scaling).view(lines, key.shape[1], -1, width)
    attended = line_prompts.attend(cast(int, module.layer_idx), queries, key, value)
    return attended.reshape(lines, 1, heads, value.shape[3]), None


@contextmanager
def attending(model: PreTrainedModel) -> Iterator[None]:
    """Within, ``model`` attends to the ``line_prompts`` that it is given besides what it finds in its cache."""
    AttentionInterface.register(_NAME, _attend)
    usual = model.config._attn_implementation
    model.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(usual)


@torch.no_grad()
def can_share(policy: Policy) -> bool:
    """Whether lines may attend to prompts kept once: on a CPU, where a short text comes out as it should.

    Tried because no list of architectures could be complete. Where a window limits attention prompts are copied.
    """
    model, backbone = policy.model, policy.backbone
    if policy.device.type != "cpu" or not model._supports_attention_backend or model.config.sub_configs:
        return False
    read, cache = SlotCache(model.config, 2, 2), SlotCache(model.config, 2, 1)
    if not (read.unlimited and policy.max_tokens > 3):
        return False
    try:
        ids = torch.tensor([[1, 2, 3], [2, 1, 3]])
        alone = backbone(input_ids=ids, use_cache=False).last_hidden_state[:, -1]
        backbone(input_ids=ids[:, :2], past_key_values=read, use_cache=True)
        prompts = Prompts(2, policy.device)
        prompts.assign(prompts.add(read, torch.tensor([2, 2])))
        with attending(model):
            together = backbone(
                input_ids=ids[:, 2:],
                position_ids=torch.tensor([[2], [2]]),
                past_key_values=cache,
                use_cache=True,
                line_prompts=prompts,
            ).last_hidden_state[:, 0]
    except UNABLE:
        return False
    return alike(together, alone, alone.dtype, 1e-3)
