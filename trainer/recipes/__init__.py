"""The closed union of training recipes: adding one is a file and a line here."""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from trainer.errors import InvalidInput
from trainer.recipe import Recipe
from trainer.recipes.preference import GANPO, PreferenceRecipe
from trainer.recipes.reward_model import RewardModelRecipe
from trainer.recipes.sft import SFT

AnyTrainingRecipe = Annotated[SFT | PreferenceRecipe | GANPO | RewardModelRecipe, Field(discriminator="kind")]


def parse_recipe(content: dict[str, Any]) -> Recipe:
    """The training recipe that ``content`` describes. Raises InvalidInput pointing at the first wrong field."""
    return validate(TypeAdapter(AnyTrainingRecipe), content)


def validate(adapter: TypeAdapter[Any], content: dict[str, Any]) -> Recipe:
    """Validate with pydantic and translate its first complaint into one line with a JSON pointer."""
    try:
        recipe: Recipe = adapter.validate_python(content)
    except ValidationError as error:
        raise _invalid(error, content) from error
    return recipe


def _invalid(error: ValidationError, content: Any) -> InvalidInput:  # noqa: ANN401 - whatever was sent
    first = error.errors()[0]
    pointer = _pointer(first["loc"], content)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown field; remove it or check its spelling"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return InvalidInput(f"recipe{f' at {pointer}' if pointer else ''}: {message}{more}", pointer=pointer)


def _pointer(path: tuple[int | str, ...], content: Any) -> str:  # noqa: ANN401 - whatever was sent
    """JSON pointer to what pydantic names, without the tags that it adds for members of a union."""
    pointer = ""
    for position, part in enumerate(path):
        inside = (isinstance(content, dict) and part in content) or (
            isinstance(content, list) and isinstance(part, int)
        )
        if inside:
            content = content[part]
        elif position < len(path) - 1:
            continue
        pointer += f"/{part}"
    return pointer
