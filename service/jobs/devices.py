"""What this machine has for jobs, as the operator says or as it shows itself."""

import contextlib
import fcntl
import logging
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import psutil

from service.settings import Settings
from service.slots import Gpu, Machine

GIVEN_GPUS = "ASSAY_GIVEN_GPUS"
"""The variable by which every process of a job carries the GPUs it was given."""

_ASK_SECONDS = 30.0
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def machine_of(settings: Settings) -> Machine:
    """The machine under ``settings``; of a cluster, which counts its devices itself, the places only."""
    executor: str = settings.executor
    if executor != "local":
        return Machine(places=settings.job_slots, gpus=None)
    gpus = visible_gpus() if settings.gpus is None else settings.gpus
    withheld = 1 if gpus and settings.scores_on_gpu and not settings.share_gpu else 0
    memory = settings.memory_bytes or machine_memory()
    return Machine(places=settings.job_slots, gpus=gpus[withheld:], memory_bytes=memory, withheld=withheld)


def visible_gpus() -> tuple[Gpu, ...]:
    """NVIDIA's GPUs that this process may use, in the order in which it sees them; none where the driver's tool is
    missing."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    query = [tool, "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=_ASK_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    found = {}
    for line in said.splitlines():
        index, uuid, mebibytes = (part.strip() for part in line.split(","))
        found[uuid] = Gpu(name=index, memory_bytes=int(mebibytes) * 2**20 if mebibytes.isdigit() else None)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(found.values())
    shown: list[Gpu] = []
    for name in (part.strip() for part in visible.split(",")):
        meant = [gpu for uuid, gpu in found.items() if name == gpu.name or (name and uuid.startswith(name))]
        if not meant:
            break  # as CUDA does: it shows none that comes after one it does not know
        shown += [gpu for gpu in meant[:1] if gpu not in shown]
    return tuple(shown)


def gpus_at_work() -> frozenset[str]:
    """GPUs that processes of any job on this machine have, whoever started them and whether or not he still lives."""
    names: set[str] = set()
    for process in psutil.process_iter():
        # one that has ended, or that belongs to somebody else
        with contextlib.suppress(psutil.Error, OSError):
            names.update(process.environ().get(GIVEN_GPUS, "").split(","))
    return frozenset(names - {""})


class Choice:
    """The right to choose GPUs on this machine: one server of a user has it at a time, whatever its database.

    Held from the look at which are in use until the job's process shows which it was given.
    """

    def __init__(self) -> None:
        self._descriptor: int | None = None

    def is_ours(self) -> bool:
        """Take the right, or keep it; False at once where another server has it, for one that is stopped must not
        hold up what this one does besides."""
        if self._descriptor is None:
            path = Path(tempfile.gettempdir(), f"assay-gpus-{os.getuid()}.lock")
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except OSError as error:  # somebody else's file; jobs that need no GPU go on
                _say_once(f"no GPU can be given out: {error}")
                return False
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            self._descriptor = descriptor
        return True

    def __enter__(self) -> "Choice":
        return self

    def __exit__(self, *error: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@cache
def _say_once(words: str) -> None:
    logging.getLogger(__name__).error(words)


def machine_memory() -> int:
    """Bytes of this machine, or of the container that this is."""
    total: int = psutil.virtual_memory().total
    try:
        limit = _CGROUP_LIMIT.read_text().strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total
