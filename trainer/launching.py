"""Several processes of one machine that work on a recipe together."""

import os
import sys
from collections.abc import Sequence

from trainer.recipe import Launch


def launch_together(launch: Launch, module: str, arguments: Sequence[str]) -> None:
    """Become a launcher of ``python -m module arguments`` in as many processes as ``launch`` asks for.

    Returns where there is nothing to launch: for one process, and in each of several that a launcher started.
    """
    if launch.processes == 1 or "LOCAL_RANK" in os.environ:
        return
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(launch.processes)]
    command += ["-m", module, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": str(launch.threads)}
    if not launch.gpus_per_process:
        environment["ACCELERATE_USE_CPU"] = "true"
    os.execve(sys.executable, [sys.executable, *command], environment)  # noqa: S606 - no shell is what is wanted
