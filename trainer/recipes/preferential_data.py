"""Rows for GAPO: what an accepted and a rejected one must share and differ in, and that nothing of it is cut."""

from collections.abc import Sequence
from typing import Literal

from trainer.data.rows import Preference
from trainer.data.sources import DataSource, ProductWorldData
from trainer.errors import InvalidInput
from trainer.recipes.encoding import EncodedPreference

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


def refuse_cut(encoded: Sequence[EncodedPreference], max_tokens: int) -> None:
    """Raises InvalidInput where prompts lost tokens.

    What was cut may be the very constraint that two prompts differ in: one text would then be both right and wrong.
    """
    if cut := sum(any(side.truncated_tokens for side in row.sides) for row in encoded):
        raise InvalidInput(
            f"{cut} of {len(encoded)} rows exceed the reward model's {max_tokens} tokens or data.max_prompt_tokens, and"
            " cutting their prompts would drop constraints without a word; use a backbone with a longer window or"
            " shorter rows"
        )
