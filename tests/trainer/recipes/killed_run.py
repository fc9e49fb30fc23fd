"""A run in a process of its own that dies on the way."""

from pathlib import Path

from tests.dying import die_when
from trainer.artifacts import ArtifactStore
from trainer.recipe import Recipe
from trainer.run import run_recipe


def newest(directory: Path) -> int:
    """Step of the newest checkpoint, of a reward model that warms up or of what follows."""
    # no "**": it would look into directories that the run is about to rename
    found = [path for places in ("", "*/") for path in directory.glob(f"{places}checkpoints/step-*")]
    return max((int(path.name[5:]) for path in found), default=0)


def run_and_die(recipe: Recipe, directory: Path, store: ArtifactStore, step: int, seconds: float) -> None:
    """Run ``recipe``, and die so many seconds after its checkpoint of a step is there."""
    die_when(lambda: newest(directory) >= step, seconds)
    run_recipe(recipe, directory, store, quiet=True)
