"""Which rows are decoded together: whole prompts, of like length, as many as memory holds."""

import itertools
from collections.abc import Iterable, Sequence

import torch

from trainer.generation.decoding import Row, decode
from trainer.generation.sampled import Sampled
from trainer.models.policy import Policy

ROWS_AT_ONCE = 320
"""Rows in a batch: more no longer speed up a CPU, and their keys and values must fit a GPU's memory."""


def batches(rows: Iterable[Row], rows_at_once: int = ROWS_AT_ONCE) -> list[list[Row]]:
    """Sort ``rows`` by length and prompt and cut them into batches of whole prompts; one too large is divided.

    Prompts of one length together need no padding; the sort keeps a prompt's rows together and in order.
    """
    cut: list[list[Row]] = []
    ordered = sorted(rows, key=lambda row: (len(row.prompt_ids), row.cell.prompt_id))
    for _, group in itertools.groupby(ordered, key=lambda row: row.cell.prompt_id):
        own = list(group)
        if len(own) > rows_at_once:
            parts = -(-len(own) // rows_at_once)
            cut += [own[len(own) * i // parts : len(own) * (i + 1) // parts] for i in range(parts)]
        elif cut and len(cut[-1]) + len(own) <= rows_at_once:
            cut[-1] += own
        else:
            cut.append(own)
    return cut


def decode_within_memory(
    policy: Policy, batch: Sequence[Row], seed: int, max_response_tokens: int, *, coupled: bool = True
) -> list[Sampled]:
    """As ``decode``; a batch for which memory does not suffice is divided."""
    try:
        return decode(policy, batch, seed, max_response_tokens, coupled=coupled)
    except torch.OutOfMemoryError:
        if len(batch) == 1:
            raise
    half = len(batch) // 2
    return [
        *decode_within_memory(policy, batch[:half], seed, max_response_tokens, coupled=coupled),
        *decode_within_memory(policy, batch[half:], seed, max_response_tokens, coupled=coupled),
    ]
