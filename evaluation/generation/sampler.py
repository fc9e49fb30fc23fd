"""What a backend that samples is given and gives back."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from trainer.data.text import Prompt
from trainer.generation.sampled import Cell, Sampled


@dataclass(frozen=True)
class Question:
    """A prompt with the id that its noise and its rows are keyed by."""

    prompt_id: str
    prompt: Prompt


class Sampler(Protocol):
    """A source of responses: a local model, or a server somewhere."""

    @property
    def facts(self) -> dict[str, Any]:
        """What determines the responses besides policy, prompt and cell: recorded with each of them."""
        ...

    def sample(
        self, questions: Sequence[Question], cells: Sequence[Cell], missing: Callable[[Cell], bool]
    ) -> Iterator[Sequence[Sampled]]:
        """Responses for every ``missing`` one of ``cells``, some at a time, or none yet, in no particular order."""
        ...


def grid(prompt_ids: Sequence[str], temperatures: Sequence[float], replicates: int) -> list[Cell]:
    """Every cell of a stress test; one replicate at temperature 0, where all would be equal."""
    return [
        Cell(prompt_id, temperature, replicate)
        for prompt_id in prompt_ids
        for temperature in temperatures
        for replicate in range(replicates if temperature > 0 else 1)
    ]
