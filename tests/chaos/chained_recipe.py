"""A recipe whose result is a chain of digests, worked out by a child process, and the process that runs it.

Run as `python chained_recipe.py --run-dir D --artifact-dir A`. The child notes in ``met`` if another one still works.
"""

import argparse
import fcntl
import hashlib
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SERVICE_TESTS = Path(__file__).parents[1] / "service"
sys.path.append(str(SERVICE_TESTS))

LAST = "checkpoint"


def sleep(seconds: float) -> None:
    """As ``time.sleep``, on a clock that libfaketime 0.9.10 leaves alone, which that cannot (its issue 426)."""
    select.select((), (), (), seconds)


if "FAKETIME_TIMESTAMP_FILE" in os.environ:
    time.sleep = sleep


def digest_after(seed: int, steps: int) -> str:
    """What an undisturbed run ends with."""
    digest = str(seed)
    for _ in range(steps):
        digest = hashlib.sha256(digest.encode()).hexdigest()
    return digest


def count(directory: Path, seed: int, steps: int, seconds_per_step: float) -> None:
    """The child: one link of the chain after the other, each kept before the next."""
    alone = os.open(directory / "alone", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        (directory / "met").touch()
    step, digest = read(directory, seed)
    while step < steps:
        step, digest = step + 1, hashlib.sha256(digest.encode()).hexdigest()
        staging = directory / f".{LAST}.{os.getpid()}"
        staging.write_text(f"{step} {digest}")
        staging.replace(directory / LAST)
        time.sleep(seconds_per_step)


def read(directory: Path, seed: int) -> tuple[int, str]:
    """How far the chain is, and its last link."""
    path = directory / LAST
    if not path.exists():
        return 0, str(seed)
    step, digest = path.read_text().split()
    return int(step), digest


if len(sys.argv) == 6 and sys.argv[1] == "count":
    count(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
    sys.exit()

from counting_recipe import Counting, do_without_torch  # noqa: E402
from pydantic import TypeAdapter  # noqa: E402

from trainer.artifacts import ArtifactStore  # noqa: E402
from trainer.errors import Stopped  # noqa: E402
from trainer.recipe import Recipe, Run  # noqa: E402
from trainer.run import run_as_child, stored_recipe  # noqa: E402


class Chained(Counting):
    """Counts by chaining digests from the seed."""

    def run(self, run: Run) -> dict[str, Any]:
        with (run.directory / "starts").open("a") as starts:
            starts.write(f"{os.getpid()}\n")
        self.add_ballast(run, read(run.directory, self.seed)[0])
        arguments = [run.directory, self.seed, self.steps, self.seconds_per_step]
        child = subprocess.Popen([sys.executable, "-S", __file__, "count", *map(str, arguments)])
        told = 0
        while True:
            ended = child.poll()
            step, digest = read(run.directory, self.seed)
            if step > told:
                told = step
                run.reporter.metrics("count", step, {"link": float(int(digest[:8], 16))})
                run.reporter.progress("count", step, self.steps)
            if ended is not None:
                break
            if run.reporter.stop_requested():
                child.terminate()
                child.wait()
                raise Stopped("stopped on request")
            time.sleep(0.02)
        if ended:
            os._exit(1)  # as a launcher does of which one process was killed
        if self.kind == "sft":
            self._publish(run)
        else:
            self._measure(run)
        return {"policy": "my-policy@1", "digest": digest}


def parse(content: dict[str, Any]) -> Recipe:
    """See ``parse_recipe``."""
    recipe: Recipe = TypeAdapter(Chained).validate_python(content)
    return recipe


if __name__ == "__main__":
    do_without_torch()
    parser = argparse.ArgumentParser()
    parser.add_argument("--run-dir", type=Path)
    parser.add_argument("--artifact-dir", type=Path)
    options = parser.parse_args()
    sys.exit(run_as_child(stored_recipe(parse, options.run_dir), options.run_dir, ArtifactStore(options.artifact_dir)))
