"""Rows of text to rows of tokens, counting what had to be cut and refusing what cannot be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from accelerate import PartialState

from trainer.data.sources import DataSource, Pair, Preference
from trainer.data.text import Encoded, OnOverlong, Prompt
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
    """Tokenise; says how many pairs the limits of ``data`` left out and how many lost prompt tokens to the window."""
    encoded = [_encode(model, pair) for pair in pairs]
    kept = [row for row in encoded if _fits(row, data)]
    _report(run, len(encoded), len(kept), kept)
    return kept


def encode_preferences(
    model: Encodes, rows: Sequence[Preference], data: DataSource, run: Run
) -> list[EncodedPreference]:
    """As ``encode_pairs``; a preference is left out if either side is too long."""
    encoded = [EncodedPreference(_encode(model, row.chosen), _encode(model, row.rejected), row.kind) for row in rows]
    kept = [row for row in encoded if _fits(row.chosen, data) and _fits(row.rejected, data)]
    _report(run, len(encoded), len(kept), [side for row in kept for side in (row.chosen, row.rejected)])
    return kept


def _encode(model: Encodes, pair: Pair) -> Encoded:
    return model.encode(pair.prompt, pair.response, "truncate_prompt")


def _fits(row: Encoded, data: DataSource) -> bool:
    response = row.tokens - row.response_start
    return row.response_start <= data.max_prompt_tokens and response <= data.max_response_tokens


def _report(run: Run, total: int, kept: int, sides: Sequence[Encoded]) -> None:
    if kept < total:
        run.reporter.message(
            f"left out {total - kept} of {total} rows longer than data.max_prompt_tokens or data.max_response_tokens"
        )
    if truncated := sum(side.truncated_tokens > 0 for side in sides):
        run.reporter.message(f"{truncated} of {len(sides)} texts exceeded the model's window and lost prompt tokens")
