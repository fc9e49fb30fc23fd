"""How many workers a run wants, and of what size: facts of the place, like all of a recipe's launch settings."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pydantic import Field, field_validator

from evaluation.workers import Workers
from evaluation.workers.this_process import ThisProcess
from trainer.recipe import ExecutorSettings, Launch


class RaySettings(ExecutorSettings):
    """Workers on the Ray cluster that the job runs on, or that RAY_ADDRESS names."""

    ray_workers: int = Field(0, ge=0, le=10_000)
    """How many share the work; 0: the run's own process does it, and no Ray is needed."""

    cpus_per_worker: float = Field(1.0, ge=0, le=1024)
    """Processors that Ray keeps for each. How many threads each uses is ``launch.threads``."""

    gpus_per_worker: float = Field(0.0, ge=0, le=16)
    """GPUs of each; 0.25 has four workers share one, whose memory they must then share too."""

    @field_validator("gpus_per_worker")
    @classmethod
    def _a_share_or_whole_ones(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise ValueError("a worker has a share of one GPU or a whole number of them")
        return gpus


class SharedLaunch(Launch):
    """Launch settings of a recipe whose work can be shared."""

    executor: RaySettings = RaySettings()


@contextmanager
def open_workers(launch: SharedLaunch, tell: Callable[[str], None]) -> Iterator[Workers]:
    """The workers that ``launch`` asks for; ``tell`` hears of those that are lost.

    Raises InvalidInput where Ray is not installed and RunFailed where no cluster answers.
    """
    if not launch.executor.ray_workers:
        yield ThisProcess()
        return
    from evaluation.workers.ray_actors import connected  # whoever needs no Ray need not have it

    with connected(launch, tell) as workers:
        yield workers
