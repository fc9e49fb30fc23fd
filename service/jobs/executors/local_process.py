"""Jobs as child processes of this machine, each in a session of its own: they outlive the server if they must."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service.jobs import run_lock
from trainer.files import storage_errors
from trainer.run import LOG_FILE

RUN_A_RECIPE = (sys.executable, "-m", "evaluation")


class LocalProcess:
    """A child of this server, or one that an earlier server left running."""

    def __init__(self, directory: Path, pid: int | None, child: subprocess.Popen[bytes] | None = None) -> None:
        self._directory = directory
        self._pid = pid
        self._child = child

    def is_running(self) -> bool:
        return run_lock.is_held(self._directory) if self._child is None else self._child.poll() is None

    def exit_status(self) -> int | None:
        return None if self._child is None else self._child.poll()

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def record(self) -> dict[str, Any]:
        return {"host": socket.gethostname(), "pid": self._pid}

    def _signal(self, number: int) -> None:
        # while somebody holds the lock the process group exists, so its number cannot have been given away
        if self._pid is not None and run_lock.is_held(self._directory):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, number)


class LocalExecutor:
    """Runs ``command --run-dir D --artifact-dir A`` per job; output goes to the run's ``log.txt``."""

    name = "local"

    def __init__(self, artifact_dir: Path, command: Sequence[str] = RUN_A_RECIPE) -> None:
        self._artifact_dir = artifact_dir
        self.command = command

    def start(self, directory: Path, launch: dict[str, Any]) -> LocalProcess:
        """See Executor."""
        arguments = ["--run-dir", str(directory.absolute()), "--artifact-dir", str(self._artifact_dir.absolute())]
        lock = run_lock.acquire(directory)
        try:
            with storage_errors(directory), (directory / LOG_FILE).open("ab") as log:
                child = subprocess.Popen(
                    [*self.command, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=_environment(int(launch.get("threads", 1))),
                    start_new_session=True,
                    pass_fds=(lock,),
                )
        finally:
            os.close(lock)
        return LocalProcess(directory, child.pid, child)

    def find(self, directory: Path, record: dict[str, Any] | None) -> LocalProcess:
        """See Executor."""
        here = record is not None and record.get("host") == socket.gethostname()
        return LocalProcess(directory, record["pid"] if record is not None and here else None)


def _environment(threads: int) -> dict[str, str]:
    """The server's environment, with the job's share of the processors and without the database's password."""
    inherited = {name: value for name, value in os.environ.items() if name != "ASSAY_DATABASE_URL"}
    return {
        **inherited,
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",  # idle threads sleep instead of spinning on processors others need
        "PYTHONUNBUFFERED": "1",
    }
