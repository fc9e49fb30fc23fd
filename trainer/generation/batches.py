"""Which rows are decoded together: whole prompts, of like length, as many at a time as memory holds."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import torch

from trainer.generation.decoding import Decoding, Row, decode
from trainer.generation.sampled import Decoded
from trainer.models.policy import Policy

ROWS_AT_ONCE = 640
"""Lines in a batch: more no longer speed up a CPU, and their keys and values must fit a GPU's memory."""
_REFILLS = 2
"""How often a batch's lines are filled. A run that was killed samples a begun batch again from its start."""


def batches(rows: Iterable[Row], rows_at_once: int = ROWS_AT_ONCE) -> list[list[Row]]:
    """Sort ``rows`` by length and prompt and cut them into batches of whole prompts; one too large is divided.

    A batch holds ``_REFILLS`` times what is decoded at a time. Prompts of one length together need little padding; the
    sort keeps a prompt's rows together, and among them those that meet the same noise.
    """
    most = _REFILLS * rows_at_once
    cut: list[list[Row]] = []
    ordered = sorted(
        rows,
        key=lambda row: (len(row.prompt_ids), row.cell.prompt_id, row.cell.replicate, row.cell.temperature),
    )
    for _, group in itertools.groupby(ordered, key=lambda row: row.cell.prompt_id):
        own = list(group)
        if len(own) > most:
            parts = -(-len(own) // most)
            cut += [own[len(own) * i // parts : len(own) * (i + 1) // parts] for i in range(parts)]
        elif cut and len(cut[-1]) + len(own) <= most:
            cut[-1] += own
        else:
            cut.append(own)
    return cut


def decode_within_memory(
    policy: Policy, batch: Sequence[Row], decoding: Decoding, rows_at_once: int = ROWS_AT_ONCE
) -> Iterator[list[Decoded]]:
    """As ``decode``; where memory does not suffice, what is left of the batch begins again with half as many lines."""
    left = {row.cell: row for row in batch}
    try:
        for ended in decode(policy, batch, decoding, rows_at_once):
            for each in ended:
                del left[each.cell]
            yield ended
        return
    except torch.OutOfMemoryError:
        if rows_at_once == 1:
            raise
    yield from decode_within_memory(policy, list(left.values()), decoding, min(rows_at_once, len(left)) // 2 or 1)
