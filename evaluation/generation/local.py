"""Sampling from a transformers model in this process."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from evaluation.generation.sampler import Question
from trainer.data.text import Prompt
from trainer.errors import InvalidInput, OverlongInput
from trainer.generation.batches import ROWS_AT_ONCE, batches, decode_within_memory
from trainer.generation.decoding import Row
from trainer.generation.sampled import Cell, Sampled
from trainer.models.policy import Policy


class LocalSampler:
    """Samples with no truncation of the distribution: top_p = 1, top_k = 0, min_p = 0.

    A policy's own generation defaults often cut the tail, and with it what a high temperature is there to show.
    """

    def __init__(
        self, policy: Policy, *, seed: int, max_response_tokens: int, rows_at_once: int = ROWS_AT_ONCE
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
                yield [
                    sampled
                    for sampled in decode_within_memory(self._policy, batch, self._seed, self._max_response_tokens)
                    if missing(sampled.cell)
                ]

    def _rows(self, questions: Sequence[Question], cells: Sequence[Cell]) -> list[Row]:
        prompts = {question.prompt_id: self._encode(question.prompt_id, question.prompt) for question in questions}
        return [Row(cell, prompts[cell.prompt_id]) for cell in cells]

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
