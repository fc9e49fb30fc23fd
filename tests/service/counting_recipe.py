"""A recipe that counts, and the child process that runs it: what jobs are tested with.

Run as `python counting_recipe.py --run-dir D --artifact-dir A`, as `python -m evaluation` is.
"""

import argparse
import fcntl
import json
import os
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from trainer import run_mirror
from trainer.artifacts import Contents
from trainer.errors import InvalidInput, RunFailed, Stopped
from trainer.recipe import Recipe, Run
from trainer.run import run_as_child, stored_recipe
from trainer.shared_artifacts import open_artifacts

POLICY = "my-policy@1"


class Counting(Recipe):
    """Counts to ``steps``, remembering how far it came; as a stress test it leaves some prompts per step."""

    kind: Literal["sft", "stress_test"]
    steps: int = 3
    seconds_per_step: float = 0.0
    held_by: str | None = None
    """A file: while it is there the run waits before its last step, or to be asked to stop."""
    die_at: int | None = None
    """Kill the process with SIGKILL at this step, in the first attempt."""
    fail_at: int | None = None
    deaf: bool = False
    """Ignore requests to stop."""
    ballast: int = 0
    """Events of 256 kB to write first, in the first attempt."""
    weights: int = 0
    """Bytes to publish."""
    prompts_per_step: int = 1
    torn: bool = False
    """Leave results that contradict each other."""

    def run(self, run: Run) -> dict[str, Any]:
        _record_start(run.directory)
        checkpoint = run.directory / "checkpoint"
        start = int(checkpoint.read_text()) if checkpoint.exists() else 0
        self.add_ballast(run, start)
        for step in range(start + 1, self.steps + 1):
            while step == self.steps and self.held_by and Path(self.held_by).exists():
                if run.reporter.stop_requested():
                    break
                time.sleep(0.01)
            if self.deaf:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            elif run.reporter.stop_requested():
                raise Stopped("stopped on request")
            if step == self.die_at and start == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            if step == self.fail_at:
                raise RunFailed("the loss is not finite at step 2; lower the learning rate")
            run.reporter.metrics("count", step, {"loss": 1.0 / step})
            checkpoint.write_text(str(step))
            run.reporter.progress("count", step, self.steps)  # last: who reads of it may kill the process at once
            time.sleep(self.seconds_per_step)
        if self.kind == "sft":
            self._publish(run)
        else:
            self._measure(run)
        return {"policy": POLICY, "started_from": start}

    def add_ballast(self, run: Run, start: int) -> None:
        for _ in range(self.ballast if start == 0 else 0):
            run.reporter.event("ballast", text="x" * 2**18)

    def _publish(self, run: Run) -> None:
        recipe = self.model_dump(mode="json")
        contents = Contents("policy", recipe, self.digest(), {}, {}, [], [], job=run.id)

        def write(path: Path) -> None:
            (path / "config.json").write_text("{}")
            (path / "weights").write_bytes(bytes(self.weights))

        artifact = run.artifacts.publish(self.name, contents, write)
        run.reporter.event("artifact", name=artifact.name, version=artifact.version, kind="policy")

    def _measure(self, run: Run) -> None:
        names = [f"p{number}" for number in range(self.steps * self.prompts_per_step)]
        prompts = [{"prompt_id": name, "prompt": "Count!", "task": None} for name in names]
        cells = [{"prompt_id": name, "temperature": 1.0, "replicate": 0} for name in names]
        scored = [*cells, cells[0]] if self.torn else cells
        correlation = {
            "policy": POLICY,
            "scorer": "helpful",
            "scorer_version": 2,
            "oracle": "judge",
            "statistic": "pearson_within",
            "stratum": "all",
            "temperature": 1.0,
            "estimate": 0.5,
            "lower": 0.25,
            "upper": 0.75,
            "standard_error": 0.125,
            "n_prompts": self.steps,
            "n_responses": self.steps,
            "n_dropped": 0,
            "method": "by hand",
            "undefined_reason": None,
        }
        files: dict[str, list[dict[str, Any]]] = {
            "prompts": prompts,
            "responses": [{**cell, "response": "one", "tokens": 1, "finish_reason": "stop"} for cell in cells],
            "scores": [
                {**cell, "scorer": name, "scorer_version": 2, "role": role, "score": 0.5, "error": None}
                for name, role in (("helpful", "scorer"), ("judge", "oracle"))
                for cell in scored
            ],
            "correlations": [correlation],
            "curves": [{**correlation, "curve": "best_of_n_oracle", "x": n, "n_total": 3} for n in (1, 2)],
            "comparisons": [
                {
                    **correlation,
                    "scorer_a": "helpful",
                    "scorer_b": "other",
                    "verdict": "better",
                    "n_constant_prompts": 1,
                }
            ],
        }
        for name, rows in files.items():
            (run.directory / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _record_start(directory: Path) -> None:
    """Note in ``starts`` that this process works here, and in ``met`` if another one still does."""
    with (directory / "starts").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    alone = os.open(directory / "alone", os.O_RDWR | os.O_CREAT)  # locked for as long as the process lives
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with (directory / "met").open("a") as met:
            met.write(f"{os.getpid()}\n")


def parse(content: dict[str, Any]) -> Recipe:
    """As the real parsers do: InvalidInput with a pointer."""
    try:
        return TypeAdapter(Counting).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        pointer = "".join(f"/{part}" for part in first["loc"])
        raise InvalidInput(f"recipe at {pointer}: {first['msg']}", pointer=pointer) from error


def do_without_torch() -> None:
    """Counting needs no torch, whose import would take longer than the rest of the test."""
    names = ("torch", "transformers", "transformers.utils", "transformers.utils.logging", "trainer.processes")
    torch, transformers, utils, logging, processes = (ModuleType(name) for name in names)
    processes.is_first = lambda: True  # type: ignore[attr-defined]
    processes.this_process = lambda: SimpleNamespace(main_process_first=nullcontext, num_processes=1)  # type: ignore[attr-defined]
    torch.set_num_threads = lambda threads: None  # type: ignore[attr-defined]
    logging.disable_progress_bar = logging.set_verbosity_error = lambda: None  # type: ignore[attr-defined]
    utils.logging = logging  # type: ignore[attr-defined]
    sys.modules.update({module.__name__: module for module in (torch, transformers, utils, logging, processes)})


if __name__ == "__main__":
    do_without_torch()
    parser = argparse.ArgumentParser()
    parser.add_argument("--run-dir", type=Path)
    parser.add_argument("--artifact-dir", type=Path)
    parser.add_argument("--storage-url")
    arguments = parser.parse_args()
    recipe = stored_recipe(parse, arguments.run_dir)
    run_mirror.SECONDS_BETWEEN = 0.05
    artifacts = open_artifacts(arguments.artifact_dir, arguments.storage_url)
    sys.exit(run_as_child(recipe, arguments.run_dir, artifacts))
