"""What a chain would do and need, found without doing it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evaluation.recipes import parse_recipe
from evaluation.recipes.stress_test import StressTestRecipe
from evaluation.reproduction.paper import Need, needs
from evaluation.reproduction.schedule import Step
from evaluation.reproduction.tables import Table
from trainer.artifacts import ArtifactStore
from trainer.dry_run.check import dry_run
from trainer.errors import AssayError
from trainer.files import read_jsonl
from trainer.recipe import Model, Recipe
from trainer.recipes.training import TrainingRecipe

_GIB = 2**30


class PlannedStep(Model):
    """One step of a chain."""

    name: str
    kind: str
    needs: tuple[str, ...]
    recipe: dict[str, Any]
    work: str
    """How much there is to do."""
    processes: int
    gib_per_gpu: float | None = None
    """Of the most demanding moment, by the recipe's own dry run; None where there is no estimate."""
    unchecked: tuple[str, ...] = ()
    """What could not be known here."""


class Planned(Model):
    """A chain, in an order in which it can be done."""

    steps: tuple[PlannedStep, ...]
    needs: tuple[tuple[str, bool | None], ...]
    """What no step makes, and whether it is here; None where only trying would tell."""

    def tables(self) -> list[Table]:
        """The chain and what it wants, for people."""
        rows = [
            [
                step.name,
                step.kind,
                step.work,
                str(step.processes),
                "" if step.gib_per_gpu is None else f"{step.gib_per_gpu:.1f} GiB",
                ", ".join(step.needs),
            ]
            for step in self.steps
        ]
        words = {True: "here", False: "missing", None: "not checked"}
        return [
            Table("The chain", ["step", "kind", "work", "processes", "memory of each", "after"], rows),
            Table("To be had before", ["what", ""], [[what, words[here]] for what, here in self.needs]),
        ]


def missing(steps: Sequence[Step], data: Path, store: ArtifactStore) -> list[str]:
    """What the chain wants that is known not to be here."""
    recipes = [parse_recipe(step.recipe) for step in steps]
    return [each.what for each in needs(steps, recipes, data, store) if each.here is False]


def plan(steps: Sequence[Step], data: Path, store: ArtifactStore) -> Planned:
    """Check every step as far as can be done here. Raises InvalidInput for a recipe that cannot be read."""
    recipes = [parse_recipe(step.recipe) for step in steps]
    wanted: list[Need] = needs(steps, recipes, data, store)
    return Planned(
        steps=tuple(_planned(step, recipe, store) for step, recipe in zip(steps, recipes, strict=True)),
        needs=tuple((each.what, each.here) for each in wanted),
    )


def _planned(step: Step, recipe: Recipe, store: ArtifactStore) -> PlannedStep:
    content: dict[str, Any] = {
        "name": step.name,
        "kind": step.recipe["kind"],
        "needs": step.needs,
        "recipe": recipe.model_dump(mode="json"),
        "processes": recipe.launch.processes,
    }
    if isinstance(recipe, StressTestRecipe):
        return PlannedStep(**content, work=_sampling(recipe))
    if not isinstance(recipe, TrainingRecipe):
        return PlannedStep(**content, work=", ".join(step.recipe.get("tasks", ())) or "questions of the suite")
    try:
        report = dry_run(recipe, store)
    except AssayError as error:  # such as a policy that an earlier step will publish
        return PlannedStep(**content, work="training", unchecked=(error.detail,))
    steps_to_do = "steps unknown" if report.steps is None else f"{report.steps:,} steps of {report.batch_size} rows"
    return PlannedStep(
        **content,
        work=steps_to_do,
        gib_per_gpu=report.memory[0].total / _GIB if report.memory else None,
        unchecked=report.unchecked,
    )


def _sampling(recipe: StressTestRecipe) -> str:
    greedy = recipe.temperatures.count(0.0)
    a_prompt = (len(recipe.temperatures) - greedy) * recipe.responses_per_prompt + greedy
    path = getattr(recipe.prompts, "path", None)
    prompts = getattr(recipe.prompts, "limit", None)
    if path is not None:
        prompts = sum(1 for _ in read_jsonl(Path(path))) if Path(path).is_file() else None
    if prompts is None:
        return f"{a_prompt:,} responses to each prompt"
    return f"{a_prompt * prompts:,} responses to {prompts:,} prompts"
