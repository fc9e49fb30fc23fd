"""Chains of recipes as recorded jobs: every step in the database, the run and the artifact directories.

A step that wants several processes is no job here, for these run in this process: `python -m trainer` carries it out,
in a run directory named after it.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from evaluation.reproduction.schedule import Step
from service.jobs.here import find_done, run_here
from service.jobs.kinds import parse_any_recipe
from service.settings import Settings
from trainer.errors import NotFound, RunFailed
from trainer.files import write_atomically
from trainer.recipe import Recipe
from trainer.run import RECIPE_FILE, read_result


@dataclass(frozen=True)
class Recorded:
    """Where steps are jobs; see ``schedule.Place``."""

    settings: Settings

    def done(self, step: Step) -> str | None:
        found = self._find(step)
        if found is None:
            return None
        if found.name == step.name:
            # as ids begin: with the milliseconds at which it was made
            return f"{(found / RECIPE_FILE).stat().st_mtime_ns // 1_000_000:012x}"
        return found.name.partition("_")[2]

    def perform(self, step: Step) -> None:
        recipe = parse_any_recipe(step.recipe)
        if recipe.launch.processes == 1:
            run_here(recipe, self.settings, quiet=True)
        else:
            self._launch(step, recipe)

    def directory(self, step: Step) -> Path:
        """The run directory of a finished step. Raises NotFound."""
        found = self._find(step)
        if found is None:
            raise NotFound(f"{step.name} is not done; run the same command again")
        return found

    def _find(self, step: Step) -> Path | None:
        recipe = parse_any_recipe(step.recipe)
        runs = self.settings.runs_dir
        if recipe.launch.processes == 1:
            job = find_done(recipe, self.settings)
            return None if job is None else runs / job
        result = read_result(runs / step.name)
        if result is None or result["status"] != "succeeded":
            return None
        stored = type(recipe).model_validate_json((runs / step.name / RECIPE_FILE).read_text(encoding="utf-8"))
        return runs / step.name if stored.digest() == recipe.digest() else None

    def _launch(self, step: Step, recipe: Recipe) -> None:
        directory = self.settings.runs_dir / step.name
        file = directory.with_name(f"{step.name}.json")
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, recipe.model_dump_json(indent=2) + "\n")
        command = [sys.executable, "-m", "trainer", str(file), "--run-dir", str(directory)]
        command += ["--artifact-dir", str(self.settings.artifact_dir)]
        if self.settings.storage_url is not None:
            command += ["--storage-url", self.settings.storage_url]
        # its progress is said on standard error; standard output is for what was asked for
        ended = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if ended.returncode:
            raise RunFailed(f"`{' '.join(command[1:])}` failed; it says above why")
