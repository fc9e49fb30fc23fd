"""Where a study keeps its runs and artifacts."""

from dataclasses import dataclass
from pathlib import Path

from evaluation.recipes import parse_recipe
from evaluation.reproduction.schedule import Step
from trainer.artifacts import ArtifactStore
from trainer.run import read_result, run_recipe

RUNS, ARTIFACTS = "runs", "artifacts"


@dataclass(frozen=True)
class Directory:
    """A directory of its own for runs and artifacts, in which a run is named after its step."""

    root: Path

    def done(self, step: Step) -> str | None:
        """Raises Conflict where a step was done by another recipe, as by an older version of a study."""
        result = read_result(self.root / RUNS / step.name)
        if result is None or result["status"] != "succeeded":
            return None
        self.perform(step)  # which does no work again, but makes sure that it was this work
        return ""

    def perform(self, step: Step) -> None:
        recipe = parse_recipe(step.recipe)
        run_recipe(recipe, self.root / RUNS / step.name, ArtifactStore(self.root / ARTIFACTS), quiet=True)
