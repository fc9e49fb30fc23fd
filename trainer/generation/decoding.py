"""Decoding one batch of rows, each at its own temperature, from one prefill of each distinct prompt."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from trainer.generation.noise import Noise
from trainer.generation.sampled import Cell, Sampled
from trainer.models.policy import Policy

_NOISE_AT_ONCE = 2**20
"""How many draws are made in one go: many steps' for a small vocabulary, one step's for a large one."""
_COMPACT_BELOW = 0.8
"""Ended rows leave the batch once only this share still goes on: leaving copies the whole cache."""


@dataclass(frozen=True)
class Row:
    """A cell with its prompt's token ids."""

    cell: Cell
    prompt_ids: tuple[int, ...]


@torch.inference_mode()
def decode(
    policy: Policy, rows: Sequence[Row], seed: int, max_response_tokens: int, *, coupled: bool = True
) -> list[Sampled]:
    """Sample a response for each row.

    The next token is argmax(logits + T * gumbel): an exact draw from softmax(logits / T) for T > 0, and greedy for
    T = 0. Unless ``coupled`` it is the inverse distribution function of softmax(logits / T), T > 0, at one uniform
    draw: as exact and faster, where nothing is to be compared across temperatures or policies.
    Log-probabilities are those of T = 1, whatever the row's temperature.
    """
    device = policy.device
    temperature = torch.tensor([row.cell.temperature for row in rows], device=device)[:, None]
    eos = torch.tensor(policy.eos_ids, dtype=torch.long, device=device)
    ids = torch.zeros(len(rows), max_response_tokens, dtype=torch.long, device=device)
    lengths = torch.zeros(len(rows), dtype=torch.long, device=device)
    logprobs = torch.zeros(len(rows), dtype=torch.float64, device=device)
    ended = torch.zeros(len(rows), dtype=torch.bool, device=device)
    lines = torch.arange(len(rows), device=device)  # lines[i] is the row that line i of the batch belongs to
    batch = _Batch(policy, rows)
    noise = (_StepNoise if coupled else _StepUniform)(rows, seed, batch.logits.shape[1], max_response_tokens, device)
    for step in range(max_response_tokens):
        logits = batch.logits
        token = noise.choose(logits, temperature[lines], step, lines)
        logprob = torch.log_softmax(logits, dim=1).gather(1, token[:, None])[:, 0]
        going = ~ended[lines]
        ids[lines[going], step] = token[going]
        lengths[lines[going]] += 1
        logprobs[lines[going]] += logprob[going]
        ended[lines] |= torch.isin(token, eos)
        going = ~ended[lines]
        remaining = int(going.sum())
        if remaining == 0 or step + 1 == max_response_tokens:
            break
        if remaining <= _COMPACT_BELOW * len(lines):
            lines, token = lines[going], token[going]
            batch.keep(going)
        batch.append(token)
    means = (logprobs / lengths).tolist()
    return [
        Sampled(
            cell=row.cell,
            response=str(policy.tokenizer.decode(own, skip_special_tokens=True)),
            ids=tuple(own),
            finish_reason="stop" if stopped else "length",
            mean_logprob=mean,
        )
        for row, own, stopped, mean in zip(rows, _cut(ids, lengths), ended.tolist(), means, strict=True)
    ]


def _cut(ids: Tensor, lengths: Tensor) -> list[list[int]]:
    return [row[:length] for row, length in zip(ids.tolist(), lengths.tolist(), strict=True)]


class _Batch:
    """The rows still decoding: their cache, and the logits (lines, vocabulary) of each one's next token."""

    def __init__(self, policy: Policy, rows: Sequence[Row]) -> None:
        self._model = policy.model
        self._cache = DynamicCache(config=policy.model.config)
        prompts = list(dict.fromkeys(row.prompt_ids for row in rows))
        width = max(map(len, prompts))
        # padding on the left, so that every line's next token is at the same place
        ids = torch.tensor([[policy.pad_id] * (width - len(p)) + list(p) for p in prompts], device=policy.device)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=policy.device)[:, None]
        mask = torch.arange(width, device=policy.device) >= width - lengths
        self._mask = None if bool(mask.all()) else mask.long()
        self._position = torch.arange(width, device=policy.device).expand_as(ids) - (width - lengths)
        self._forward(ids, self._position.clamp(min=0))
        place = {prompt: index for index, prompt in enumerate(prompts)}
        self._select(torch.tensor([place[row.prompt_ids] for row in rows], device=policy.device))

    def append(self, token: Tensor) -> None:
        """Add one token (lines,) to each line and predict the next."""
        if self._mask is not None:
            self._mask = torch.cat([self._mask, self._mask.new_ones(len(token), 1)], dim=1)
        self._position = self._position[:, -1:] + 1
        self._forward(token[:, None], self._position)

    def keep(self, going: Tensor) -> None:
        """Drop the lines where ``going`` (lines,) is False."""
        self._select(going.nonzero()[:, 0])

    def _forward(self, ids: Tensor, position: Tensor) -> None:
        output = self._model(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=position,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self.logits: Tensor = output.logits[:, -1].float()

    def _select(self, lines: Tensor) -> None:
        self._cache.batch_select_indices(lines)
        self.logits = self.logits[lines]
        self._position = self._position[lines]
        if self._mask is not None:
            self._mask = self._mask[lines]


class _StepNoise:
    """Each row's noise, step by step; rows that differ in temperature alone share it."""

    def __init__(
        self, rows: Sequence[Row], seed: int, vocabulary: int, max_response_tokens: int, device: torch.device
    ) -> None:
        keys = [(row.cell.prompt_id, row.cell.replicate) for row in rows]
        streams = {key: index for index, key in enumerate(dict.fromkeys(keys))}
        self._noise = Noise(seed, list(streams), vocabulary, device)
        self._stream = torch.tensor([streams[key] for key in keys], device=device)
        self._steps = min(max_response_tokens, max(1, _NOISE_AT_ONCE // (len(streams) * vocabulary)))
        self._first = 0
        self._drawn = self._noise.gumbel(0, self._steps)

    def choose(self, logits: Tensor, temperature: Tensor, step: int, lines: Tensor) -> Tensor:
        """The next token of each line; steps are asked for in order."""
        if step >= self._first + self._steps:
            self._first = step
            self._drawn = self._noise.gumbel(step, self._steps)
        return (logits + temperature * self._drawn[self._stream, step - self._first][lines]).argmax(dim=1)


class _StepUniform:
    """One uniform draw for each row and step."""

    def __init__(
        self, rows: Sequence[Row], seed: int, vocabulary: int, max_response_tokens: int, device: torch.device
    ) -> None:
        streams = [(row.cell.prompt_id, row.cell.replicate) for row in rows]
        self._drawn = Noise(seed, streams, vocabulary, device).uniform(0, max_response_tokens)

    def choose(self, logits: Tensor, temperature: Tensor, step: int, lines: Tensor) -> Tensor:
        """The next token of each line."""
        cumulative = torch.softmax(logits / temperature, dim=1).double().cumsum(dim=1)
        # of the whole, which rounding keeps from being 1
        point = self._drawn[lines, step][:, None] * cumulative[:, -1:]
        return torch.searchsorted(cumulative, point)[:, 0]
