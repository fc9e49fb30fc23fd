"""What is asked of whoever samples: questions, and a grid of cells."""

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.data.text import Prompt
from trainer.generation.sampled import Cell


@dataclass(frozen=True)
class Question:
    """A prompt with the id that its noise and its rows are keyed by."""

    prompt_id: str
    prompt: Prompt


def grid(prompt_ids: Sequence[str], temperatures: Sequence[float], replicates: int) -> list[Cell]:
    """Every cell of a stress test; one replicate at temperature 0, where all would be equal."""
    return [
        Cell(prompt_id, temperature, replicate)
        for prompt_id in prompt_ids
        for temperature in temperatures
        for replicate in range(replicates if temperature > 0 else 1)
    ]
