"""Sampling from a transformers model in this process."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from evaluation.generation.decoding import Row, decode
from evaluation.generation.sampler import Cell, Question, Sampled
from trainer.data.text import Prompt
from trainer.errors import InvalidInput, OverlongInput
from trainer.models.policy import Policy

_ROWS_AT_ONCE = 320
"""Rows in a batch: more no longer speed up a CPU, and their keys and values must fit a GPU's memory."""


class LocalSampler:
    """Samples with no truncation of the distribution: top_p = 1, top_k = 0, min_p = 0.

    A policy's own generation defaults often cut the tail, and with it what a high temperature is there to show.
    """

    def __init__(
        self, policy: Policy, *, seed: int, max_response_tokens: int, rows_at_once: int = _ROWS_AT_ONCE
    ) -> None:
        self._policy = policy
        self._seed = seed
        self._max_response_tokens = max_response_tokens
        self._rows_at_once = rows_at_once

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "backend": "transformers",
            "dtype": str(self._policy.model.dtype).removeprefix("torch."),
            "noise": "philox4x32-10 gumbel-max",
            "seed": self._seed,
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "max_response_tokens": self._max_response_tokens,
        }

    def sample(
        self, questions: Sequence[Question], cells: Sequence[Cell], missing: Callable[[Cell], bool]
    ) -> Iterator[list[Sampled]]:
        """See ``Sampler``. Raises OverlongInput, before sampling anything, for a prompt that leaves too little room.

        Batches depend on ``cells`` alone: one with anything missing is sampled whole and the rest of it dropped, so
        that rounding too, which does depend on the batch, is the same after a resume.
        """
        for batch in batches(self._rows(questions, cells), self._rows_at_once):
            if any(missing(row.cell) for row in batch):
                yield [sampled for sampled in self._decode(batch) if missing(sampled.cell)]

    def _rows(self, questions: Sequence[Question], cells: Sequence[Cell]) -> list[Row]:
        prompts = {question.prompt_id: self._encode(question.prompt_id, question.prompt) for question in questions}
        rows = [Row(cell, prompts[cell.prompt_id]) for cell in cells]
        # prompts of one length together need no padding; the sort keeps a prompt's rows together and in order
        return sorted(rows, key=lambda row: (len(row.prompt_ids), row.cell.prompt_id))

    def _encode(self, prompt_id: str, prompt: Prompt) -> tuple[int, ...]:
        try:
            ids = self._policy.format.prompt_ids(prompt)
        except InvalidInput as error:
            raise InvalidInput(f"prompt {prompt_id}: {error}") from error
        room = self._policy.max_tokens - self._max_response_tokens
        if len(ids) > room:
            raise OverlongInput(
                f"prompt {prompt_id} has {len(ids)} tokens; with max_response_tokens={self._max_response_tokens} the "
                f"policy has room for {room}: shorten the prompt or the responses"
            )
        return tuple(ids)

    def _decode(self, batch: Sequence[Row]) -> list[Sampled]:
        try:
            return decode(self._policy, batch, self._seed, self._max_response_tokens)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise
        half = len(batch) // 2
        return [*self._decode(batch[:half]), *self._decode(batch[half:])]


def batches(rows: Sequence[Row], rows_at_once: int) -> list[list[Row]]:
    """Cut ``rows``, each prompt's standing together, into batches of whole prompts; a prompt too large is divided."""
    cut: list[list[Row]] = []
    for _, group in itertools.groupby(rows, key=lambda row: row.cell.prompt_id):
        own = list(group)
        if len(own) > rows_at_once:
            parts = -(-len(own) // rows_at_once)
            cut += [own[len(own) * i // parts : len(own) * (i + 1) // parts] for i in range(parts)]
        elif cut and len(cut[-1]) + len(own) <= rows_at_once:
            cut[-1] += own
        else:
            cut.append(own)
    return cut
