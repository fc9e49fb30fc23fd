"""What a backend that samples is given and gives back."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from trainer.data.text import Prompt

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Question:
    """A prompt with the id that its noise and its rows are keyed by."""

    prompt_id: str
    prompt: Prompt


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


class Sampler(Protocol):
    """A source of responses: a local model, or a server somewhere."""

    @property
    def facts(self) -> dict[str, Any]:
        """What determines the responses besides policy, prompt and cell: recorded with each of them."""
        ...

    def sample(
        self, questions: Sequence[Question], cells: Sequence[Cell], missing: Callable[[Cell], bool]
    ) -> Iterator[list[Sampled]]:
        """Responses for every ``missing`` one of ``cells``, a batch at a time and in no particular order."""
        ...


def grid(prompt_ids: Sequence[str], temperatures: Sequence[float], replicates: int) -> list[Cell]:
    """Every cell of a stress test; one replicate at temperature 0, where all would be equal."""
    return [
        Cell(prompt_id, temperature, replicate)
        for prompt_id in prompt_ids
        for temperature in temperatures
        for replicate in range(replicates if temperature > 0 else 1)
    ]
