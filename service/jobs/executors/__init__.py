"""Where jobs run. One file per executor; this is all the dispatcher knows of any of them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from trainer.errors import RunFailed


class Unreachable(RunFailed):
    """What carries jobs out does not answer at present: no fault of any job, and another try may succeed."""


class Process(Protocol):
    """A job at work."""

    def is_running(self) -> bool: ...

    def exit_status(self) -> int | None:
        """How it ended: 0 and above by itself, below 0 by a signal, None if nobody knows."""

    def terminate(self) -> None:
        """Tell it to stop now, with what it has saved."""

    def kill(self) -> None:
        """End it and everything it started, and return when they are gone.

        Raises RunFailed where something will not go; another try may.
        """

    def record(self) -> dict[str, Any]:
        """What tells this process from any other of the job, here or elsewhere, before or after; under ``gpus``, which
        it was given."""


class Executor(Protocol):
    """Starts the process of a job, and finds one that somebody else started."""

    name: str

    def start(self, directory: Path, launch: dict[str, Any]) -> Process:
        """Run ``directory/recipe.json``; ``launch`` is the recipe's, and under ``gpus`` has the names of those that the
        job was given, where the server gives any out.

        Raises Conflict if a process works there already, StorageFailure where the disk refuses, Unreachable where
        nothing can be started at present, and InvalidInput or RunFailed for what no other try would start.
        """

    def find(self, directory: Path) -> Process:
        """The process that works, or worked, in ``directory``."""

    def at_work(self, runs_dir: Path) -> Iterable[str]:
        """Names of the directories below ``runs_dir`` in which processes of this executor work, here."""
