"""Rows of text to rows of tokens, counting what had to be cut and refusing what cannot be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from accelerate import PartialState

from trainer.data.sources import DataSource, Pair, Preference
from trainer.data.text import Encoded, OnOverlong, Prompt
from trainer.errors import InvalidInput, OverlongInput
from trainer.recipe import Run


class Encodes(Protocol):
    """Anything that turns a prompt and a response into tokens."""

    def encode(self, prompt: Prompt, response: str, on_overlong: OnOverlong = "error") -> Encoded: ...


@dataclass(frozen=True)
class EncodedPreference:
    """A preference as tokens."""

    chosen: Encoded
    rejected: Encoded
    kind: str

    @property
    def tokens(self) -> int:
        """Of the longer side, which decides how much is padded."""
        return max(self.chosen.tokens, self.rejected.tokens)


def training_device() -> torch.device:
    """The device accelerate gives this process."""
    device: torch.device = PartialState().device
    return device


def encode_pairs(model: Encodes, pairs: Sequence[Pair], data: DataSource, run: Run) -> list[Encoded]:
    """Tokenise; says how many rows were too long for ``data`` or the model, and how many lost prompt tokens.

    Raises InvalidInput if no row is left.
    """
    encoded = [_encode(model, pair, data) for pair in pairs]
    kept = [row for row in encoded if row is not None]
    _report(run, len(encoded), len(kept), kept)
    return kept


def encode_preferences(
    model: Encodes, rows: Sequence[Preference], data: DataSource, run: Run
) -> list[EncodedPreference]:
    """As ``encode_pairs``; a preference is left out if either side is too long."""
    kept = []
    for row in rows:
        chosen, rejected = _encode(model, row.chosen, data), _encode(model, row.rejected, data)
        if chosen is not None and rejected is not None:
            kept.append(EncodedPreference(chosen, rejected, row.kind))
    _report(run, len(rows), len(kept), [side for row in kept for side in (row.chosen, row.rejected)])
    return kept


def _encode(model: Encodes, pair: Pair, data: DataSource) -> Encoded | None:
    """The pair with its oldest prompt tokens dropped if need be; None where that does not make it fit."""
    try:
        row = model.encode(pair.prompt, pair.response, "truncate_prompt")
    except OverlongInput:
        return None
    fits = row.response_start <= data.max_prompt_tokens and row.tokens - row.response_start <= data.max_response_tokens
    return row if fits else None


def _report(run: Run, total: int, kept: int, sides: Sequence[Encoded]) -> None:
    limits = "data.max_prompt_tokens, data.max_response_tokens or the model's window"
    if total and not kept:
        raise InvalidInput(f"every one of {total} rows is longer than {limits}; raise the limits or shorten the rows")
    if kept < total:
        run.reporter.message(f"left out {total - kept} of {total} rows longer than {limits}")
    if truncated := sum(side.truncated_tokens > 0 for side in sides):
        run.reporter.message(f"{truncated} of {len(sides)} texts exceeded the model's window and lost prompt tokens")
