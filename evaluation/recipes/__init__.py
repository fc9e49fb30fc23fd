"""The closed union of everything that can be run: training, stress tests and audits."""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from evaluation.recipes.audit import AuditRecipe
from evaluation.recipes.stress_test import StressTestRecipe
from trainer.recipe import Recipe
from trainer.recipes import AnyTrainingRecipe, validate

AnyRecipe = Annotated[AnyTrainingRecipe | StressTestRecipe | AuditRecipe, Field(discriminator="kind")]


def parse_recipe(content: dict[str, Any]) -> Recipe:
    """The recipe that ``content`` describes. Raises InvalidInput pointing at the first wrong field."""
    return validate(TypeAdapter(AnyRecipe), content)
