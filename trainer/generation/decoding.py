"""Decoding rows, each at its own temperature, in a batch that is refilled as responses end."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.generation.lines import Lines
from trainer.generation.noise import Noise
from trainer.generation.sampled import Cell, Decoded
from trainer.generation.truncation import WHOLE, Truncation
from trainer.models.policy import Policy

_SECONDS_BETWEEN_YIELDS = 1.0
"""Storing costs a few milliseconds each time, and until the next time nobody can stop the run or lose more."""
_NOISE_AT_ONCE = 2**19
"""Draws made together on a CPU."""


@dataclass(frozen=True)
class Row:
    """A cell with its prompt's token ids."""

    cell: Cell
    prompt_ids: tuple[int, ...]


@dataclass(frozen=True)
class Decoding:
    """How tokens are drawn, besides each row's temperature."""

    seed: int
    max_response_tokens: int
    truncation: Truncation = WHOLE
    coupled: bool = True
    """Whether rows of one prompt and replicate meet the same noise at every temperature, and with every policy; where
    nothing is to be compared the draw is as exact and faster without."""


@torch.inference_mode()
def decode(policy: Policy, rows: Sequence[Row], decoding: Decoding, lines: int) -> Iterator[list[Decoded]]:
    """Sample a response for each row, on at most ``lines`` lines; yields those that have ended since, maybe none, every
    second, or after each step that takes longer.

    The next token is argmax(logits + T * gumbel): an exact draw from softmax(logits / T) for T > 0, and greedy for
    T = 0. Unless coupled it is the inverse distribution function of softmax(logits / T), T > 0, at one uniform draw.
    Log-probabilities are those of T = 1 over the whole vocabulary, whatever the row's temperature and truncation.

    Which rows meet in a batch, and so every rounding, is a function of the arguments.
    """
    noise = _Noise(policy, rows, decoding)
    batch = Lines(policy, [row.prompt_ids for row in rows], lines, decoding.max_response_tokens)
    found: list[Decoded] = []
    yielded = time.monotonic()
    while len(batch):
        logits = batch.read()
        token = noise.choose(logits, batch)
        # of what the policy says, not of what truncation leaves
        logprob = logits[batch.line, token] - logits.logsumexp(dim=1)[batch.line]
        found += [
            Decoded(
                cell=rows[row].cell,
                response=response,
                ids=tuple(each.ids),
                tokens=len(each.ids),
                finish_reason="stop" if each.stopped else "length",
                mean_logprob=each.logprob / len(each.ids),
            )
            for each in batch.take(token, logprob.double())
            for response in [str(policy.tokenizer.decode(each.ids, skip_special_tokens=True))]
            for row in each.rows
        ]
        batch.renew()
        if time.monotonic() - yielded >= _SECONDS_BETWEEN_YIELDS or not len(batch):
            yield found
            found = []
            yielded = time.monotonic()


class _Noise:
    """Each row's noise; rows that differ in temperature alone share it."""

    def __init__(self, policy: Policy, rows: Sequence[Row], decoding: Decoding) -> None:
        keys = [(row.cell.prompt_id, row.cell.replicate) for row in rows]
        streams = {key: index for index, key in enumerate(dict.fromkeys(keys))}
        self._stream = torch.tensor([streams[key] for key in keys], device=policy.device)
        self._temperature = torch.tensor([row.cell.temperature for row in rows], device=policy.device)[:, None]
        self._noise = Noise(decoding.seed, list(streams), policy.device)
        self._decoding = decoding

    def choose(self, logits: Tensor, batch: Lines) -> Tensor:
        """The next token of each row (rows,), of the logits (lines, vocabulary) of their lines."""
        # there can be many more rows than lines, and a CPU is twice as fast on noise that its cache holds
        most = batch.most
        if logits.device.type == "cpu":
            most = min(most, max(1, _NOISE_AT_ONCE // logits.shape[1]))
        parts = zip(*(torch.split(of, most) for of in (batch.row, batch.line, batch.step)), strict=True)
        return torch.cat([self._choose(logits.index_select(0, line), row, step) for row, line, step in parts])

    def _choose(self, logits: Tensor, row: Tensor, step: Tensor) -> Tensor:
        temperature, stream = self._temperature[row], self._stream[row]
        if not bool((temperature > 0).any()):
            return logits.argmax(dim=1)  # which no truncation takes away and no noise moves
        logits = self._decoding.truncation.apply(logits, temperature)
        if self._decoding.coupled:
            steps = self._decoding.max_response_tokens + 1
            met, line = torch.unique(stream * steps + step, return_inverse=True)
            gumbel = self._noise.gumbel(met // steps, met % steps, logits.shape[1])
            return gumbel.index_select(0, line).mul_(temperature).add_(logits).argmax(dim=1)
        cumulative = torch.softmax(logits / temperature, dim=1).double().cumsum(dim=1)
        # of the whole, which rounding keeps from being 1
        point = self._noise.uniform(stream, step)[:, None] * cumulative[:, -1:]
        return torch.searchsorted(cumulative, point)[:, 0]
