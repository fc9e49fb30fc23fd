"""The closed union of training recipes: adding one is a file and a line here."""

import re
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from trainer.errors import InvalidInput
from trainer.json_pointer import pointer_by_kind
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
    # a field that is not known comes first: where a name is misspelt, the one that is missing follows from it
    found = sorted(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    complaints = [(pointer_by_kind(each, content), _words(each)) for each in found]
    pointer, words = complaints[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    detail = f"recipe{f' at {pointer}' if pointer else ''}: {words}{more}"
    return InvalidInput(detail, pointer=pointer, complaints=complaints)


def _words(complaint: Any) -> str:  # noqa: ANN401 - pydantic's dictionary
    if complaint["type"] == "extra_forbidden":
        return "unknown field; remove it or check its spelling"
    if complaint["type"] == "union_tag_invalid":  # pydantic's own words name our functions
        return f"{complaint['ctx']['tag']!r} is not one of {complaint['ctx']['expected_tags']}"
    if complaint["type"] in {"model_type", "model_attributes_type"}:  # and our classes
        return "expected an object with fields of its own"
    words: str = complaint["msg"]
    return words.removeprefix("Value error, ")
