"""The closed union of training recipes: adding one is a file and a line here."""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from trainer.errors import InvalidInput
from trainer.recipe import Recipe
from trainer.recipes.preference import GANPO, PreferenceRecipe
from trainer.recipes.reward_model import RewardModelRecipe
from trainer.recipes.sft import SFT

TRAINING_KINDS = ("sft", "preference", "ganpo", "reward_model")

AnyTrainingRecipe = Annotated[SFT | PreferenceRecipe | GANPO | RewardModelRecipe, Field(discriminator="kind")]


def parse_recipe(content: dict[str, Any]) -> Recipe:
    """The training recipe that ``content`` describes. Raises InvalidInput pointing at the first wrong field."""
    return validate(TypeAdapter(AnyTrainingRecipe), content)


def validate(adapter: TypeAdapter[Any], content: dict[str, Any]) -> Recipe:
    """Validate with pydantic and translate its first complaint into one line with a JSON pointer."""
    try:
        recipe: Recipe = adapter.validate_python(content)
    except ValidationError as error:
        raise invalid_recipe(error) from error
    return recipe


def invalid_recipe(error: ValidationError) -> InvalidInput:
    """One line for the first of pydantic's complaints; unions' internal tags are left out of the path."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    if path and path[0] in (*TRAINING_KINDS, "stress_test", "audit"):
        path = path[1:]
    pointer = "".join(f"/{part}" for part in path)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown field; remove it or check its spelling"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return InvalidInput(f"recipe{f' at {pointer}' if pointer else ''}: {message}{more}", pointer=pointer)
