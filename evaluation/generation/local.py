"""Sampling from a transformers model, in batches that are a function of the grid alone: whoever samples one, wherever
and whenever, gets the same responses."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch
import transformers

from evaluation.generation.sampler import Question
from trainer.data.text import ChatFormat
from trainer.errors import InvalidInput, OverlongInput
from trainer.generation.batches import ROWS_AT_ONCE, batches, decode_within_memory
from trainer.generation.decoding import Decoding, Row
from trainer.generation.sampled import Cell, Decoded
from trainer.models.policy import Policy


def cut_grid(
    questions: Sequence[Question],
    cells: Sequence[Cell],
    chat: ChatFormat,
    max_tokens: int,
    decoding: Decoding,
    rows_at_once: int = ROWS_AT_ONCE,
) -> list[list[Row]]:
    """The batches of a grid for a policy with a window of ``max_tokens``. One with anything missing is sampled whole,
    for rounding depends on the batch.

    Raises OverlongInput for a prompt that leaves too little room for responses, InvalidInput for one without tokens.
    """
    prompts = {each.prompt_id: _encode(each, chat, max_tokens, decoding.max_response_tokens) for each in questions}
    return batches([Row(cell, prompts[cell.prompt_id]) for cell in cells], rows_at_once)


class LocalSampler:
    """Samples from the whole distribution unless asked to truncate it.

    A policy's own generation defaults, which often cut the tail and with it what a high temperature is there to show,
    are not read.
    """

    def __init__(self, policy: Policy, decoding: Decoding, rows_at_once: int = ROWS_AT_ONCE) -> None:
        self._policy = policy
        self._decoding = decoding
        self._rows_at_once = rows_at_once

    @property
    def facts(self) -> dict[str, Any]:
        """What determines the responses besides policy, prompt and cell: recorded with each of them."""
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

    def sample(self, batch: Sequence[Row]) -> Iterator[list[Decoded]]:
        """A response for each row of a batch of ``cut_grid``, some at a time, or none yet, in no particular order."""
        yield from decode_within_memory(self._policy, batch, self._decoding, self._rows_at_once)


def _encode(question: Question, chat: ChatFormat, max_tokens: int, max_response_tokens: int) -> tuple[int, ...]:
    try:
        ids = chat.prompt_ids(question.prompt)
    except InvalidInput as error:
        raise InvalidInput(f"prompt {question.prompt_id}: {error}") from error
    room = max_tokens - max_response_tokens
    if len(ids) > room:
        raise OverlongInput(
            f"prompt {question.prompt_id} has {len(ids)} tokens; with max_response_tokens={max_response_tokens} the "
            f"policy has room for {room}: shorten the prompt or the responses"
        )
    return tuple(ids)
