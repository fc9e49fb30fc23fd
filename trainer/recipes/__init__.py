"""The closed union of training recipes: adding one is a file and a line here."""

import re
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from trainer.errors import InvalidInput
from trainer.json_pointer import error_pointer
from trainer.recipe import Recipe
from trainer.recipes.discriminator import DiscriminatorRecipe
from trainer.recipes.gapo import GAPO
from trainer.recipes.ppo import PPO
from trainer.recipes.preference import GANPO, PreferenceRecipe
from trainer.recipes.reward_model import RewardModelRecipe
from trainer.recipes.sft import SFT

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

AnyTrainingRecipe = Annotated[
    SFT | PreferenceRecipe | GANPO | RewardModelRecipe | DiscriminatorRecipe | PPO | GAPO, Field(discriminator="kind")
]


def parse_recipe(content: dict[str, Any]) -> Recipe:
    """The training recipe that ``content`` describes. Raises InvalidInput pointing at the first wrong field."""
    return validate(TypeAdapter(AnyTrainingRecipe), content)


def validate(adapter: TypeAdapter[Any], content: dict[str, Any]) -> Recipe:
    """Validate with pydantic and translate its first complaint into one line with a JSON pointer."""
    _refuse_unstorable(content)
    try:
        recipe: Recipe = adapter.validate_python(content)
    except ValidationError as error:
        raise _invalid(error, content) from error
    return recipe


def _refuse_unstorable(content: Any, pointer: str = "") -> None:  # noqa: ANN401 - whatever was sent
    """Raise InvalidInput where a text or number could not be written as UTF-8 JSON or into a database."""
    if isinstance(content, dict):
        for key, value in content.items():
            _refuse_unstorable(key, pointer)
            _refuse_unstorable(value, f"{pointer}/{key}")
    elif isinstance(content, list):
        for position, value in enumerate(content):
            _refuse_unstorable(value, f"{pointer}/{position}")
    elif isinstance(content, str) and (found := _UNSTORABLE.search(content)):
        raise InvalidInput(
            f"recipe{f' at {pointer}' if pointer else ''}: character {found.start()} of {content!r} is half a"
            " surrogate pair or U+0000; remove it",
            pointer=pointer,
        )
    elif isinstance(content, int) and not -(2**63) <= content < 2**63:
        raise InvalidInput(f"recipe at {pointer}: a whole number beyond 64 bits; use a smaller one", pointer=pointer)


def _invalid(error: ValidationError, content: Any) -> InvalidInput:  # noqa: ANN401 - whatever was sent
    first = error.errors()[0]
    pointer = error_pointer(first, content)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown field; remove it or check its spelling"
    if first["type"] == "union_tag_invalid":  # pydantic's own words name our functions
        message = f"{first['ctx']['tag']!r} is not one of {first['ctx']['expected_tags']}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return InvalidInput(f"recipe{f' at {pointer}' if pointer else ''}: {message}{more}", pointer=pointer)
