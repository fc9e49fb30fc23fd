"""Rows of text to rows of tokens, counting what had to be cut and refusing what cannot be."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from accelerate import PartialState

from trainer.data.rows import Pair, Preference
from trainer.data.sources import DataSource
from trainer.data.text import Encoded, OnOverlong, Prompt
from trainer.errors import InvalidInput, OverlongInput
from trainer.recipe import DataPart, Run


class Encodes(Protocol):
    """Anything that turns a prompt and a response into tokens."""

    def encode(self, prompt: Prompt, response: str, on_overlong: OnOverlong = "error") -> Encoded: ...


@dataclass(frozen=True)
class EncodedPreference:
    """A preference as tokens; unpaired rows have one side only."""

    chosen: Encoded | None
    rejected: Encoded | None
    kind: str
    margin: float | None = None
    mismatched: Encoded | None = None
    """This row's prompt with another row's response, where that was asked for (the KL term of KTO)."""
    source: Preference | None = None
    """The texts, where it was made of some."""

    @property
    def sides(self) -> list[Encoded]:
        """The sides there are, chosen first."""
        return [side for side in (self.chosen, self.rejected) if side is not None]

    @property
    def pair(self) -> tuple[Encoded, Encoded]:
        """Chosen and rejected of a row that has both, as ``encode_preferences(..., paired=True)`` ensures."""
        assert self.chosen is not None
        assert self.rejected is not None
        return self.chosen, self.rejected

    @property
    def tokens(self) -> int:
        """Of the longest text, which decides how much is padded."""
        return max(side.tokens for side in (*self.sides, self.mismatched) if side is not None)


def training_device() -> torch.device:
    """The device accelerate gives this process."""
    device: torch.device = PartialState().device
    return device


def encode_pairs(
    model: Encodes, pairs: Sequence[Pair], data: DataSource, run: Run, part: DataPart | None = "training"
) -> list[Encoded]:
    """Tokenise; says how many rows were left out for too long a response, and how many texts lost prompt tokens.

    That is counted for ``part`` of the data; None: these rows were counted before. Raises InvalidInput if none is left.
    """
    encoded = [_encode(model, pair, data) for pair in pairs]
    kept = [row for row in encoded if row is not None]
    _report(run, len(encoded), len(kept), kept, part)
    return kept


def encode_preferences(
    model: Encodes,
    rows: Sequence[Preference],
    data: DataSource,
    run: Run,
    part: DataPart | None = "training",
    *,
    paired: bool = True,
    mismatched: bool = False,
) -> list[EncodedPreference]:
    """As ``encode_pairs``; a preference is left out if a response of it is too long.

    ``mismatched`` gives every row, besides its own, the response of the next row whose prompt differs (the last rows
    continue with the first), alternating between chosen and rejected where that row has both. Raises InvalidInput
    also if ``paired`` and a row has one side only, or if ``mismatched`` and all prompts are the same.
    """
    if paired and not all(row.paired for row in rows):
        first = next(position for position, row in enumerate(rows, start=1) if not row.paired)
        raise InvalidInput(
            f"row {first} of the data is one judged response, and this recipe compares two: give rows with chosen and"
            " rejected, or use objective kto"
        )
    kept: list[tuple[Preference, EncodedPreference]] = []
    for row in rows:
        chosen = None if row.chosen is None else _encode(model, row.chosen, data)
        rejected = None if row.rejected is None else _encode(model, row.rejected, data)
        if (chosen is None) == (row.chosen is None) and (rejected is None) == (row.rejected is None):
            kept.append((row, EncodedPreference(chosen, rejected, row.kind, row.margin, source=row)))
    encoded = [each for _, each in kept]
    _report(run, len(rows), len(kept), [side for row in encoded for side in row.sides], part)
    if not mismatched:
        return encoded
    others = _mismatched([row for row, _ in kept])
    return [
        # its response was kept with its own prompt, so it fits with this one
        replace(each, mismatched=_encode(model, pair, data))
        for each, pair in zip(encoded, others, strict=True)
    ]


def _mismatched(rows: Sequence[Preference]) -> list[Pair]:
    """Each row's prompt with the response of the next row that has another prompt."""
    prompts = [row.sides[0].prompt for row in rows]
    following = 0
    partners = [0] * len(rows)
    for position in reversed(range(2 * len(rows))):  # twice around, so that the end knows the beginning
        here, after = position % len(rows), (position + 1) % len(rows)
        following = after if prompts[here] != prompts[after] else following
        partners[here] = following
    if any(prompts[here] == prompts[other] for here, other in enumerate(partners)):
        raise InvalidInput("all rows have the same prompt; mismatched responses need at least two prompts")
    sides = [row.sides[position % len(row.sides)] for position, row in enumerate(rows)]
    return [Pair(prompt, sides[other].response) for prompt, other in zip(prompts, partners, strict=True)]


def _encode(model: Encodes, pair: Pair, data: DataSource) -> Encoded | None:
    """The pair with its oldest prompt tokens dropped if need be; None where the response alone is too long."""
    try:
        row = model.encode(pair.prompt, pair.response, "truncate_prompt")
    except OverlongInput:
        return None
    longest, total = data.longest
    response = row.tokens - row.response_start
    return row.with_prompt_within(min(data.max_prompt_tokens, total - response)) if response <= longest else None


def _report(run: Run, total: int, kept: int, sides: Sequence[Encoded], part: DataPart | None) -> None:
    limits = "data.max_response_tokens, data.max_tokens or the model's window"
    if total and not kept:
        raise InvalidInput(
            f"every one of {total} rows has a response longer than {limits}; raise the limits or shorten the rows"
        )
    truncated = sum(side.truncated_tokens > 0 for side in sides)
    if part is not None:
        run.count(part, left_out=total - kept, truncated=truncated)
    if kept < total:
        run.reporter.message(f"left out {total - kept} of {total} rows with a response longer than {limits}")
    if truncated:
        run.reporter.message(
            f"{truncated} of {len(sides)} texts lost prompt tokens to data.max_prompt_tokens, data.max_tokens or the"
            " model's window"
        )
