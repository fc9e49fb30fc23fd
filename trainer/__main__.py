"""``python -m trainer RECIPE.yaml [dotted.key=value ...]``: run one training recipe here and now."""

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from trainer.dry_run.check import dry_run
from trainer.dry_run.table import print_dry_run
from trainer.errors import AssayError, InvalidInput, Stopped
from trainer.launching import launch_together
from trainer.processes import is_first, leave
from trainer.recipe import apply_overrides, read_recipe
from trainer.recipes import parse_recipe
from trainer.run import run_recipe
from trainer.shared_artifacts import open_artifacts


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed, 2 bad input, 3 stopped and resumable."""
    parser = argparse.ArgumentParser(prog="python -m trainer", description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="dotted.key=value")
    parser.add_argument("--run-dir", type=Path, help="default: runs/NAME; run again to continue")
    parser.add_argument("--artifact-dir", type=Path, default=Path("artifacts"))
    parser.add_argument("--storage-url", help="object storage (s3://...) of which the artifact directory holds copies")
    parser.add_argument("--dry-run", action="store_true", help="check data, steps and memory per GPU; write nothing")
    options = parser.parse_intermixed_args(arguments)
    try:
        recipe = parse_recipe(apply_overrides(read_recipe(options.recipe), options.overrides))
        artifacts = open_artifacts(options.artifact_dir, options.storage_url)
        if options.dry_run:
            print_dry_run(dry_run(recipe, artifacts), Console(highlight=False, markup=False))
            return 0
        directory = options.run_dir or Path("runs") / recipe.name.replace("/", "-")
        launch_together(recipe.launch, "trainer", sys.argv[1:] if arguments is None else arguments)
        result = run_recipe(recipe, directory, artifacts)
    except Stopped as stop:
        return _say(stop, 3)
    except InvalidInput as error:
        return _say(error, 2)
    except AssayError as error:
        return _say(error, 1)
    if is_first():
        _print(result)
    leave()
    return 0


def _print(result: dict[str, Any]) -> None:
    """What was published and measured, a line each, as ``assay train`` says it; all of it is in ``result.json``."""
    for artifact in result.get("artifacts", {}).values():
        sys.stdout.write(f"published {artifact}\n")
    for name, value in result.get("metrics", {}).items():
        sys.stdout.write(f"{name} {value:.4g}\n")


def _say(error: AssayError, status: int) -> int:
    sys.stderr.write(f"{error.detail}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
