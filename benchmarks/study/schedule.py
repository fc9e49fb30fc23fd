"""Do steps side by side, each as soon as what it needs is done; what a run directory says is done is not done again."""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.artifacts import ArtifactStore
from trainer.errors import AssayError
from trainer.run import read_result, run_recipe

RUNS, ARTIFACTS = "runs", "artifacts"


@dataclass(frozen=True)
class Step:
    """One run: its recipe, and the steps that must have ended before."""

    name: str
    recipe: dict[str, Any]
    needs: tuple[str, ...] = ()


def carry_out(steps: Sequence[Step], directory: Path, pool: Executor, at_once: int) -> None:
    """Run every step below ``directory``, one that was interrupted from its checkpoint.

    Raises the first failure; what is under way then goes on in the pool. Raises Conflict where a step was done by
    another recipe, as by an older version of the study.
    """
    done = {step.name for step in steps if _is_done(step, directory)}
    waiting = [step for step in steps if step.name not in done]
    running: dict[Future[float], Step] = {}
    while waiting or running:
        ready = [step for step in waiting if done.issuperset(step.needs)]
        for step in ready[: at_once - len(running)]:
            waiting.remove(step)
            running[pool.submit(perform, step.recipe, directory, step.name)] = step
        ended, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in ended:
            step = running.pop(future)
            seconds = future.result()
            done.add(step.name)
            say(f"{len(done)} of {len(steps)}: {step.name}, {seconds:.0f} s")


def perform(recipe: dict[str, Any], directory: Path, name: str) -> float:
    """One run, in the calling process; returns its seconds. Raises AssayError, naming the run."""
    from evaluation.recipes import parse_recipe

    started = time.monotonic()
    try:
        run_recipe(parse_recipe(recipe), directory / RUNS / name, ArtifactStore(directory / ARTIFACTS), quiet=True)
    except AssayError as error:
        raise type(error)(f"{name}: {error.detail}") from error
    return time.monotonic() - started


def say(text: str) -> None:
    """A line about the study's progress."""
    sys.stderr.write(f"study: {text}\n")
    sys.stderr.flush()


def end_with_parent() -> None:
    """For a pool's processes: do not outlive a study that was killed, or its next start would meet them at work."""
    threading.Thread(target=_await_parent, daemon=True).start()


def _await_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _is_done(step: Step, directory: Path) -> bool:
    result = read_result(directory / RUNS / step.name)
    if result is None or result["status"] != "succeeded":
        return False
    perform(step.recipe, directory, step.name)  # which does no work again, but makes sure that it was this work
    return True
