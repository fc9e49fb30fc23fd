"""Jobs as child processes of this machine, each in a session of its own: they outlive the server if they must.

Every process of a job carries the run directory in its environment, and hands it on to what it starts. So they are
found by what they are for, whoever started them and whatever became of their parents, and never by a reused number.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from service.jobs import run_lock
from service.jobs.devices import GIVEN_GPUS
from trainer.errors import RunFailed
from trainer.files import storage_errors
from trainer.run import LOG_FILE

RUN_A_RECIPE = (sys.executable, "-m", "evaluation")

_RUN_VARIABLE = "ASSAY_RUN_DIRECTORY"
_KILL_SECONDS = 10.0


class LocalProcess:
    """A child of this server, or one that an earlier server left running."""

    def __init__(
        self,
        directory: Path,
        child: subprocess.Popen[bytes] | None = None,
        *,
        launcher: bool = False,
        gpus: list[str] | None = None,
    ) -> None:
        self._directory = directory
        self._child = child
        self._launcher = launcher
        self._pid = None if child is None else child.pid
        self._given = gpus

    def is_running(self) -> bool:
        return run_lock.is_held(self._directory) if self._child is None else self._child.poll() is None

    def exit_status(self) -> int | None:
        status = None if self._child is None else self._child.poll()
        # a launcher of several says 1 whatever became of them, also when one of them was killed
        return None if self._launcher and status == 1 else status

    def terminate(self) -> None:
        # the first process alone: a launcher tells the others, and who is told twice gives up at once
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in _first(self._all()):
                process.terminate()

    def kill(self) -> None:
        deadline = time.monotonic() + _KILL_SECONDS
        while found := self._all():
            for process in found:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            if time.monotonic() > deadline:
                raise self._still_there(*(process.pid for process in found))
            time.sleep(0.01)
        if self._child is not None:
            # while the system takes a large process's memory back, that has no environment any more and has not ended
            self._child.kill()
            try:
                self._child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise self._still_there(self._child.pid) from None

    def _still_there(self, *pids: int) -> RunFailed:
        which = ", ".join(map(str, pids))
        return RunFailed(f"processes {which} of {self._directory} were killed and are still there")

    def record(self) -> dict[str, Any]:
        gpus = {} if not self._gpus() else {"gpus": self._gpus()}
        return {"host": socket.gethostname(), "pid": self._leader(), **gpus}

    def _gpus(self) -> list[str]:
        """As its environment says."""
        if self._given is None and (pid := self._leader()) is not None:
            with contextlib.suppress(psutil.Error, OSError):
                said = psutil.Process(pid).environ().get(GIVEN_GPUS, "")
                self._given = [name for name in said.split(",") if name]
        return self._given or []

    def _all(self) -> list[psutil.Process]:
        own = str(self._directory.absolute())
        return [process for process, directory in _processes() if directory == own]

    def _leader(self) -> int | None:
        if self._pid is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._pid = next((process.pid for process in _first(self._all())), None)
        return self._pid


class LocalExecutor:
    """Runs ``command --run-dir D --artifact-dir A [--storage-url U]`` per job; output goes to the run's ``log.txt``."""

    name = "local"

    def __init__(
        self, artifact_dir: Path, command: Sequence[str] = RUN_A_RECIPE, *, storage_url: str | None = None
    ) -> None:
        self._artifact_dir = artifact_dir
        self._storage = [] if storage_url is None else ["--storage-url", storage_url]
        self.command = command

    def start(self, directory: Path, launch: dict[str, Any]) -> LocalProcess:
        """See Executor."""
        arguments = ["--run-dir", str(directory.absolute()), "--artifact-dir", str(self._artifact_dir.absolute())]
        lock = run_lock.acquire(directory)
        try:
            with storage_errors(directory), (directory / LOG_FILE).open("ab") as log:
                child = subprocess.Popen(
                    [*self.command, *arguments, *self._storage],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=_environment(directory, int(launch.get("threads", 1)), launch.get("gpus")),
                    start_new_session=True,
                    pass_fds=(lock,),
                )
        finally:
            os.close(lock)
        launcher = launch.get("processes", 1) > 1
        return LocalProcess(directory, child, launcher=launcher, gpus=list(launch.get("gpus") or ()))

    def find(self, directory: Path) -> LocalProcess:
        """See Executor."""
        return LocalProcess(directory)

    def at_work(self, runs_dir: Path) -> set[str]:
        """See Executor."""
        root = runs_dir.absolute()
        return {Path(directory).name for _, directory in _processes() if Path(directory).parent == root}


def _environment(directory: Path, threads: int, gpus: Sequence[str] | None) -> dict[str, str]:
    """The server's environment, with the job's share of the processors and, where they are given out, of the GPUs,
    and without the database's password."""
    inherited = {name: value for name, value in os.environ.items() if name != "ASSAY_DATABASE_URL"}
    if gpus is not None:
        names = ",".join(gpus)
        inherited |= {GIVEN_GPUS: names, "CUDA_VISIBLE_DEVICES": names, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return {
        **inherited,
        _RUN_VARIABLE: str(directory.absolute()),
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",  # idle threads sleep instead of spinning on processors others need
        "PYTHONUNBUFFERED": "1",
    }


def _processes() -> Iterator[tuple[psutil.Process, str]]:
    """Every process of any job on this machine that we may look at, with its run directory."""
    for process in psutil.process_iter():
        # one that has ended, or that belongs to somebody else
        with contextlib.suppress(psutil.Error, OSError):
            directory = process.environ().get(_RUN_VARIABLE)
            if directory is not None:
                yield process, directory


def _first(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Those that none of the others started: one, unless it is gone and left its children behind."""
    pids = {process.pid for process in processes}
    return [process for process in processes if process.ppid() not in pids]
