"""Rows for GAPO: what an accepted and a rejected one must share and differ in, and whether a checker agrees."""

from collections.abc import Sequence
from typing import Literal

from trainer.data.product_world import satisfied
from trainer.data.product_world.reading import read_prompt
from trainer.data.rows import Pair, Preference
from trainer.data.sources import DataSource, ProductWorldData
from trainer.data.text import as_text
from trainer.errors import InvalidInput

Augmentation = Literal["preferential_prompt", "preferential_response"]


def contrasting(data: DataSource, augmentation: Augmentation) -> DataSource:
    """The source, set to contrast what ``augmentation`` says where it can do either."""
    if isinstance(data, ProductWorldData):
        return data.model_copy(update={"contrast": "prompt" if augmentation == "preferential_prompt" else "response"})
    return data


def check_contrast(rows: Sequence[Preference], augmentation: Augmentation, place: str) -> None:
    """Raises InvalidInput naming the first row that does not contrast what ``augmentation`` says."""
    for number, row in enumerate(rows, start=1):
        if row.chosen is None or row.rejected is None:
            raise InvalidInput(f"{place}, row {number}: one judged response; GAPO needs accepted and rejected")
        same_prompt = row.chosen.prompt == row.rejected.prompt
        same_response = row.chosen.response == row.rejected.response
        if same_prompt and same_response:
            what = (
                "perturbed prompt is equal to the prompt" if row.kind == "perturbed_prompt" else "two sides are equal"
            )
            raise InvalidInput(f"{place}, row {number}: the {what}, so nothing tells right from wrong; remove the row")
        if augmentation == "preferential_prompt" and not same_response:
            raise InvalidInput(
                f"{place}, row {number}: preferential prompts share one response; give prompt, perturbed_prompt and"
                " response, or set augmentation to preferential_response",
                pointer="/augmentation",
            )
        if augmentation == "preferential_response" and not same_prompt:
            raise InvalidInput(
                f"{place}, row {number}: preferential responses share one prompt; give prompt, chosen and rejected, or"
                " set augmentation to preferential_prompt",
                pointer="/augmentation",
            )


def count_disagreements(rows: Sequence[Preference]) -> dict[str, float]:
    """How many accepted rows the product world's checker finds wrong, and how many rejected ones right.

    Raises InvalidInput for prompts of elsewhere.
    """
    accepted = [row.chosen for row in rows if row.chosen is not None]
    rejected = [row.rejected for row in rows if row.rejected is not None]
    return {
        "data/accepted_violating": float(sum(not _right(pair) for pair in accepted)),
        "data/rejected_satisfying": float(sum(_right(pair) for pair in rejected)),
    }


def _right(pair: Pair) -> bool:
    return satisfied(read_prompt(as_text(pair.prompt)), pair.response)
