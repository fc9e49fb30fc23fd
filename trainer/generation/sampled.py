"""What is asked of a sampler, a cell, and what it gives back."""

from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Cell:
    """One response to be sampled: of which prompt, how hot, and which of several."""

    prompt_id: str
    temperature: float
    replicate: int


@dataclass(frozen=True)
class Sampled:
    """One sampled response; None is what a server elsewhere did not tell."""

    cell: Cell
    response: str
    """The text, without special tokens. May be empty: that is what the policy said."""
    tokens: int | None
    """How many were sampled, the end token included: never zero."""
    finish_reason: FinishReason | None
    mean_logprob: float | None
    """Mean log-probability of the tokens under the policy at temperature 1, in nats per token."""


@dataclass(frozen=True)
class Decoded(Sampled):
    """A response that was sampled in this process."""

    ids: tuple[int, ...]
    """Token ids as sampled, the end token included where one was reached."""
    tokens: int
    finish_reason: FinishReason
    mean_logprob: float
