"""Jobs on a Ray cluster that runs already: a job's process starts on whichever node has room for it.

Every node sees the run directories, the artifacts and the server's working directory under the same paths, and has this
installation where the server has it: shared disks and one image. So a job leaves the same files as one that a child
process carries out. Nothing of the server's environment travels, for Ray shows it to whoever may see the cluster: keys
and caches are those of the nodes.

The cluster is asked over HTTP, by the interface of Ray Jobs that its dashboard offers. Ray's own client would wait for
ever for a head that hangs, and with it the one thread that follows all jobs; and the server needs no Ray.
"""

import os
import shlex
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from service.jobs.executors import Unreachable
from service.jobs.executors.local_process import RUN_A_RECIPE
from trainer.errors import Conflict, InvalidInput, RunFailed
from trainer.run import LOG_FILE

_HTTP_SECONDS = 10.0
_KILL_SECONDS = 15.0
"""Ray waits three between SIGTERM and SIGKILL, unless RAY_JOB_STOP_WAIT_TIME_S says otherwise on the nodes."""
_SECONDS_BETWEEN_LOOKS = 0.2
_REFUSALS = (httpx.codes.BAD_REQUEST, httpx.codes.UNPROCESSABLE_ENTITY, httpx.codes.INTERNAL_SERVER_ERROR)
"""What a head that answers says to one request; anything else it may say to all."""

_REFUSAL_LENGTH = 500
_AT_WORK = ("PENDING", "RUNNING")
_DIRECTORY, _PROCESSES = "run_directory", "processes"


class RayJobs:
    """The cluster as its Jobs interface shows it."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")

    def submit(self, job: dict[str, Any]) -> None:
        self._ask("POST", "/api/jobs/", json=job)

    def stop(self, submission: str) -> None:
        """SIGTERM for all its processes and, for those that stay, SIGKILL."""
        self._ask("POST", f"/api/jobs/{submission}/stop")

    def job(self, submission: str) -> dict[str, Any] | None:
        """What is known of a job; None of one that this cluster has not had."""
        answer = self._ask("GET", f"/api/jobs/{submission}")
        return None if answer is None else dict(answer)

    def jobs(self) -> list[dict[str, Any]]:
        """All that were submitted to run in a run directory, oldest first."""
        known = [job for job in self._ask("GET", "/api/jobs/") or () if _DIRECTORY in (job.get("metadata") or {})]
        return sorted(known, key=lambda job: job.get("start_time") or 0)

    def _ask(self, method: str, path: str, **content: Any) -> Any:  # noqa: ANN401 - any JSON
        """Raises Unreachable where no cluster answers, RunFailed for what it refuses, InvalidInput for no address."""
        try:
            answer = httpx.request(
                method, self.address + path, headers=_authorization(), timeout=_HTTP_SECONDS, **content
            )
            if answer.status_code == httpx.codes.NOT_FOUND and path != "/api/jobs/":
                return None
            if method == "POST" and answer.status_code in _REFUSALS:
                raise RunFailed(f"Ray refuses it ({answer.status_code}): {answer.text.strip()[-_REFUSAL_LENGTH:]}")
            answer.raise_for_status()
            return answer.json()
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise InvalidInput(
                f"{self.address} is no address of a Ray cluster: set ASSAY_RAY_ADDRESS to that of its dashboard,"
                " http://HOST:8265; then resume the job"
            ) from error
        except (httpx.HTTPError, ValueError) as error:
            raise Unreachable(
                f"no Ray cluster answers at {self.address} ({error}): start one with `ray start --head`, or set"
                " ASSAY_RAY_ADDRESS to its dashboard, http://HOST:8265"
            ) from error


class RayJob:
    """A process on some node, by Ray's account of it; without a submission, one that never was."""

    def __init__(self, cluster: RayJobs, directory: Path, submission: str | None, processes: int = 1) -> None:
        self._cluster = cluster
        self._directory = directory
        self._submission = submission
        self._launcher = processes > 1
        self._ended = submission is None
        self._status: int | None = None

    def is_running(self) -> bool:
        return self._state() is not None

    def exit_status(self) -> int | None:
        self._state()
        # as of a local process: a launcher of several says 1 whatever became of them
        return None if self._launcher and self._status == 1 else self._status

    def terminate(self) -> None:
        if self._submission is not None and self.is_running():
            self._cluster.stop(self._submission)

    def kill(self) -> None:
        deadline = time.monotonic() + _KILL_SECONDS
        while self._submission is not None and (state := self._state()) is not None:
            self._cluster.stop(self._submission)
            if state == "PENDING":
                self._ended = True  # when there is room for it at last, it ends before it does anything
            elif time.monotonic() > deadline:
                raise RunFailed(f"Ray was told to stop {self._submission} of {self._directory} and it still runs")
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def record(self) -> dict[str, Any]:
        return {"ray": self._cluster.address, "job": self._submission}

    def _state(self) -> str | None:
        """What Ray calls it; None once it is known to have ended."""
        if self._ended or self._submission is None:
            return None
        job = self._cluster.job(self._submission)
        if job is not None and job["status"] in _AT_WORK:
            return str(job["status"])
        self._ended = True
        if job is not None and job["status"] != "STOPPED":
            self._status = job.get("driver_exit_code")
            if self._status is None:
                self._note(str(job.get("message")))
        return None

    def _note(self, words: str) -> None:
        """Why a process that has no status of its own ended, or never began, is known to Ray alone."""
        with (self._directory / LOG_FILE).open("a", encoding="utf-8") as log:
            log.write(f"Ray: {words}\n")


class RayExecutor:
    """Submits ``command --run-dir D --artifact-dir A [--storage-url U]`` per job, whose output goes to ``log.txt``."""

    name = "ray"

    def __init__(
        self, artifact_dir: Path, address: str, command: Sequence[str] = RUN_A_RECIPE, *, storage_url: str | None = None
    ) -> None:
        """``address`` is that of the cluster's dashboard."""
        self._artifact_dir = artifact_dir
        self._storage = [] if storage_url is None else ["--storage-url", storage_url]
        self._cluster = RayJobs(address)
        self.command = command

    def start(self, directory: Path, launch: dict[str, Any]) -> RayJob:
        """See Executor."""
        for job in self._jobs(directory):
            if job["status"] == "RUNNING":
                raise Conflict(f"another process works in {directory}; wait for it or cancel it")
            if job["status"] == "PENDING":  # of an attempt that was given up before there was room for it
                self._cluster.stop(job["submission_id"])
        processes, threads = int(launch.get("processes", 1)), int(launch.get("threads", 1))
        submission = f"{directory.name}-{uuid.uuid4().hex[:8]}"
        self._cluster.submit(
            {
                "submission_id": submission,
                "entrypoint": self._entrypoint(directory.absolute()),
                "metadata": {_DIRECTORY: str(directory.absolute()), _PROCESSES: str(processes)},
                "entrypoint_num_cpus": processes * threads,
                "entrypoint_num_gpus": processes * int(launch.get("gpus_per_process", 0)),
                "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}},
            }
        )
        return RayJob(self._cluster, directory, submission, processes)

    def find(self, directory: Path) -> RayJob:
        """See Executor."""
        jobs = self._jobs(directory)
        if not jobs:
            return RayJob(self._cluster, directory, None)
        return RayJob(self._cluster, directory, jobs[-1]["submission_id"], int(jobs[-1]["metadata"][_PROCESSES]))

    def at_work(self, runs_dir: Path) -> set[str]:
        """See Executor; "here" is the whole cluster."""
        root = runs_dir.absolute()
        directories = [Path(job["metadata"][_DIRECTORY]) for job in self._cluster.jobs() if job["status"] in _AT_WORK]
        return {directory.name for directory in directories if directory.parent == root}

    def _jobs(self, directory: Path) -> list[dict[str, Any]]:
        """Every one that the cluster has had in ``directory``, oldest first."""
        own = str(directory.absolute())
        return [job for job in self._cluster.jobs() if job["metadata"][_DIRECTORY] == own]

    def _entrypoint(self, directory: Path) -> str:
        """A line for the shell that Ray starts, which makes way for the process so that its status is its own."""
        run = [*self.command, "--run-dir", str(directory), "--artifact-dir", str(self._artifact_dir.absolute())]
        run += self._storage
        locked = [sys.executable, "-m", "service.jobs.run_lock", str(directory), *run]
        log, here = shlex.quote(str(directory / LOG_FILE)), shlex.quote(str(Path.cwd()))
        return f"exec >>{log} 2>&1; cd {here} && exec {shlex.join(locked)}"


def _authorization() -> dict[str, str]:
    """The cluster's token, found where Ray looks for it."""
    token = os.environ.get("RAY_AUTH_TOKEN", "")
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    if not token and path.is_file():
        token = path.read_text(encoding="utf-8").strip()
    return {"Authorization": f"Bearer {token}"} if token else {}
