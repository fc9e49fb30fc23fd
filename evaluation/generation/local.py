"""Sampling from a transformers model in this process."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch
import transformers

from evaluation.generation.sampler import Question
from trainer.data.text import Prompt
from trainer.errors import InvalidInput, OverlongInput
from trainer.generation.batches import ROWS_AT_ONCE, batches, decode_within_memory
from trainer.generation.decoding import Decoding, Row
from trainer.generation.sampled import Cell, Decoded
from trainer.generation.truncation import WHOLE, Truncation
from trainer.models.policy import Policy


class LocalSampler:
    """Samples from the whole distribution unless asked to truncate it.

    A policy's own generation defaults, which often cut the tail and with it what a high temperature is there to show,
    are not read.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        seed: int,
        max_response_tokens: int,
        truncation: Truncation = WHOLE,
        rows_at_once: int = ROWS_AT_ONCE,
    ) -> None:
        self._policy = policy
        self._decoding = Decoding(seed, max_response_tokens, truncation)
        self._rows_at_once = rows_at_once

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "backend": "transformers",
            "dtype": str(self._policy.model.dtype).removeprefix("torch."),
            "device": self._policy.device.type,
            "noise": "philox4x32-10 gumbel-max",
            "seed": self._decoding.seed,
            **asdict(self._decoding.truncation),
            "max_response_tokens": self._decoding.max_response_tokens,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def sample(
        self, questions: Sequence[Question], cells: Sequence[Cell], missing: Callable[[Cell], bool]
    ) -> Iterator[list[Decoded]]:
        """See ``Sampler``. Raises OverlongInput, before sampling anything, for a prompt that leaves too little room.

        Batches depend on ``cells`` alone: one with anything missing is sampled whole and the rest of it dropped, so
        that rounding too, which does depend on the batch, is the same after a resume.
        """
        for batch in batches(self._rows(questions, cells), self._rows_at_once):
            if any(missing(row.cell) for row in batch):
                for ended in decode_within_memory(self._policy, batch, self._decoding, self._rows_at_once):
                    yield [sampled for sampled in ended if missing(sampled.cell)]

    def _rows(self, questions: Sequence[Question], cells: Sequence[Cell]) -> list[Row]:
        prompts = {question.prompt_id: self._encode(question.prompt_id, question.prompt) for question in questions}
        return [Row(cell, prompts[cell.prompt_id]) for cell in cells]

    def _encode(self, prompt_id: str, prompt: Prompt) -> tuple[int, ...]:
        try:
            ids = self._policy.format.prompt_ids(prompt)
        except InvalidInput as error:
            raise InvalidInput(f"prompt {prompt_id}: {error}") from error
        most = self._decoding.max_response_tokens
        room = self._policy.max_tokens - most
        if len(ids) > room:
            raise OverlongInput(
                f"prompt {prompt_id} has {len(ids)} tokens; with max_response_tokens={most} the "
                f"policy has room for {room}: shorten the prompt or the responses"
            )
        return tuple(ids)
