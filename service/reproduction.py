"""Reproduce a result of the paper: carry out its chain as recorded jobs, then read off what came of every claim."""

import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from typing import Any

from evaluation.reproduction.findings import Study
from evaluation.reproduction.result import Result, steps, study
from evaluation.reproduction.schedule import carry_out, end_with_parent
from evaluation.reproduction.world import World
from service.jobs.chain import Recorded
from service.settings import Settings
from trainer.errors import RunFailed
from trainer.manifest import code_version


@dataclass(frozen=True)
class Reproduced:
    """A result in one place: what was found, and what it took."""

    result: Result
    title: str
    study: Study
    runs: dict[str, str]
    """Job by step."""
    minutes: float
    """Of this call; what was done before cost nothing."""

    def to_json(self) -> dict[str, Any]:
        """Stable keys: ``result, world, minutes, runs`` and those of ``Study.to_json``."""
        content = self.study.to_json(facts())
        return {
            "result": self.result.key,
            "world": self.title,
            "minutes": round(self.minutes, 2),
            "runs": self.runs,
            **content,
        }


@contextmanager
def processes(at_once: int) -> Iterator[Executor]:
    """Processes of their own for steps, which end with this one. Raises RunFailed where one of them was killed."""
    try:
        # spawned, for a process forked from one with torch's threads may hang
        with ProcessPoolExecutor(at_once, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
            yield pool
    except BrokenProcessPool as error:
        raise RunFailed(
            "a step's process was killed, perhaps for want of memory; the same command continues"
        ) from error


def reproduce(
    result: Result, worlds: Sequence[World], size: object, settings: Settings, pool: Executor, at_once: int
) -> Reproduced:
    """Do what is not done yet of the chain, ``at_once`` steps side by side, and measure.

    Killed, the same call continues. Raises the first failure, naming its step.
    """
    for world in worlds:
        world.prepare()
    chain = steps(result, worlds)
    place = Recorded(settings)
    settings.artifact_dir.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    tell(f"{result.title}: {len(chain)} steps of {len(worlds)} seeds; what is done is reused")
    carry_out(chain, place, pool, 1 if result.alone else at_once, tell)
    directories = {step.name: place.directory(step) for step in chain}
    found = study(result, worlds, directories.__getitem__, size)
    runs = {name: directory.name for name, directory in directories.items()}
    return Reproduced(result, worlds[0].title, found, runs, (time.monotonic() - started) / 60)


def tell(text: str) -> None:
    """A line about the progress of the chain."""
    sys.stderr.write(f"reproduce: {text}\n")
    sys.stderr.flush()


def facts() -> dict[str, str]:
    """Where and with what this is measured."""
    return {
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "torch": version("torch"),
        "transformers": version("transformers"),
        "reward-assay": code_version(),
    }
