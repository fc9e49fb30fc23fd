"""``python -m evaluation --run-dir D``: run ``D/recipe.json``, of any kind, as a job's process or several."""

import argparse
import sys
from pathlib import Path

from evaluation.recipes import parse_recipe
from trainer.errors import AssayError
from trainer.launching import launch_together
from trainer.processes import leave
from trainer.run import run_as_child, stored_recipe
from trainer.shared_artifacts import open_artifacts


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed, 2 bad input, 3 stopped and resumable."""
    parser = argparse.ArgumentParser(prog="python -m evaluation", description=__doc__)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--artifact-dir", type=Path, default=Path("artifacts"))
    parser.add_argument("--storage-url")
    options = parser.parse_args(arguments)
    try:
        recipe = stored_recipe(parse_recipe, options.run_dir)
        launch_together(recipe.launch, "evaluation", sys.argv[1:] if arguments is None else arguments)
        artifacts = open_artifacts(options.artifact_dir, options.storage_url)
        status = run_as_child(recipe, options.run_dir, artifacts)
    except (AssayError, OSError, ValueError) as error:
        sys.stderr.write(f"{error.detail if isinstance(error, AssayError) else error}\n")
        return 2
    leave()
    return status


if __name__ == "__main__":
    sys.exit(main())
