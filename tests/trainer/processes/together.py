"""Run recipes one after the other as one of several processes: ``together.py ARTIFACTS RUNS [NAME@STEP] < RECIPES``.

Where a name and a step are given, the second process alone is told to stop that run once its checkpoint of that step
is there, and the run is then continued.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from trainer.artifacts import ArtifactStore
from trainer.errors import Stopped
from trainer.processes import leave, this_process
from trainer.recipes import parse_recipe
from trainer.run import run_recipe


def tell_myself_to_stop(checkpoint: Path) -> None:
    while not checkpoint.exists():
        time.sleep(0.002)
    os.kill(os.getpid(), signal.SIGTERM)


def main(artifacts: str, runs: str, recipes: str, stopped: str = "@") -> None:
    store = ArtifactStore(Path(artifacts))
    name, _, step = stopped.partition("@")
    for content in json.loads(Path(recipes).read_text()):
        recipe, directory = parse_recipe(content), Path(runs) / content["name"]
        if recipe.name == name:
            if this_process().process_index == 1:
                checkpoint = directory / "checkpoints" / f"step-{int(step):08d}"
                threading.Thread(target=tell_myself_to_stop, args=[checkpoint], daemon=True).start()
            try:
                run_recipe(recipe, directory, store, quiet=True)
                raise AssertionError("nobody stopped")
            except Stopped as stop:
                (directory / f"stopped-{this_process().process_index}").write_text(stop.detail)
        run_recipe(recipe, directory, store, quiet=True)
    leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
