"""The closed union of everything that can be run: training, and everything that evaluates."""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from evaluation.recipes.audit import AuditRecipe
from evaluation.recipes.benchmark import BenchmarkRecipe
from evaluation.recipes.downstream import DownstreamRecipe
from evaluation.recipes.stress_test import StressTestRecipe
from evaluation.recipes.win_rate import WinRateRecipe
from trainer.recipe import Recipe
from trainer.recipes import AnyTrainingRecipe, validate

AnyRecipe = Annotated[
    AnyTrainingRecipe | StressTestRecipe | AuditRecipe | WinRateRecipe | BenchmarkRecipe | DownstreamRecipe,
    Field(discriminator="kind"),
]


def parse_recipe(content: dict[str, Any]) -> Recipe:
    """The recipe that ``content`` describes. Raises InvalidInput pointing at the first wrong field."""
    return validate(TypeAdapter(AnyRecipe), content)
