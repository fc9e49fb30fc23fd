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
    """One sampled response."""

    cell: Cell
    response: str
    """The text, without special tokens. May be empty: that is what the policy said."""
    ids: tuple[int, ...]
    """Token ids as sampled, the end token included where one was reached."""
    finish_reason: FinishReason
    mean_logprob: float
    """Mean log-probability of ``ids`` under the policy at temperature 1, in nats per token."""

    @property
    def tokens(self) -> int:
        """How many tokens were sampled, the end token included: never zero."""
        return len(self.ids)
