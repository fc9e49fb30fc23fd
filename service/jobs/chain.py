"""Chains of recipes as ordinary recorded jobs: every step in the database, the run and the artifact directories."""

from dataclasses import dataclass
from pathlib import Path

from evaluation.reproduction.schedule import Step
from service.jobs.here import find_done, run_here
from service.jobs.kinds import parse_any_recipe
from service.settings import Settings
from trainer.errors import NotFound


@dataclass(frozen=True)
class Recorded:
    """Where steps are jobs; see ``schedule.Place``. A job's id sorts by when it was made."""

    settings: Settings

    def done(self, step: Step) -> str | None:
        job = find_done(parse_any_recipe(step.recipe), self.settings)
        return None if job is None else job.partition("_")[2]

    def perform(self, step: Step) -> None:
        run_here(parse_any_recipe(step.recipe), self.settings, quiet=True)

    def directory(self, step: Step) -> Path:
        """The run directory of a finished step. Raises NotFound."""
        job = find_done(parse_any_recipe(step.recipe), self.settings)
        if job is None:
            raise NotFound(f"{step.name} is not done; run the same command again")
        return self.settings.runs_dir / job
