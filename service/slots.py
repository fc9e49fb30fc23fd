"""What a job takes of a machine while it runs, and whether a machine has it: whole GPUs, one place, memory."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from service.wording import size

_UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_GPU = re.compile(r"([\w-]+)(?::(\d+(?:\.\d+)?)(KiB|MiB|GiB|TiB)?)?")


class Gpu(BaseModel):
    """A device that jobs may have."""

    model_config = ConfigDict(frozen=True)

    name: str
    """As ``CUDA_VISIBLE_DEVICES`` calls it."""
    memory_bytes: int | None
    """None where nobody knows."""

    @classmethod
    def parse(cls, text: str) -> "Gpu":
        """``0``, ``0:80GiB`` or ``MIG-...:10GiB``. Raises ValueError."""
        match = _GPU.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is no GPU: write its index and, if you like, its memory, as in 0:80GiB")
        name, number, unit = match.groups()
        return cls(name=name, memory_bytes=None if number is None else int(float(number) * _UNITS[unit or ""]))


class Machine(BaseModel):
    """What one server has for jobs."""

    model_config = ConfigDict(frozen=True)

    places: int
    """Jobs without a GPU that run at once."""
    gpus: tuple[Gpu, ...] | None
    """None where the executor's cluster counts them."""
    memory_bytes: int | None = None
    """For jobs without a GPU; None where nobody counts it."""
    withheld: int = 0
    """GPUs that answer requests and are no job's."""


@dataclass(frozen=True)
class Need:
    """What a job asks for."""

    processes: int
    gpus_per_process: int
    memory_bytes: int | None
    """Of each process, at the least; None where nobody knows."""

    @classmethod
    def of(cls, launch: dict[str, Any], memory_bytes: int | None) -> "Need":
        """Of the ``launch`` settings of a recipe."""
        return cls(int(launch.get("processes", 1)), int(launch.get("gpus_per_process", 0)), memory_bytes)

    @property
    def gpus(self) -> int:
        return self.processes * self.gpus_per_process

    @property
    def machine_memory(self) -> int:
        """Bytes of the machine's own memory that are asked for; of a job on GPUs nobody knows them."""
        return 0 if self.gpus else self.processes * (self.memory_bytes or 0)


@dataclass(frozen=True)
class Taken:
    """What running jobs have of a machine."""

    places: int = 0
    gpus: frozenset[str] = frozenset()
    memory_bytes: int = 0

    @classmethod
    def by(cls, running: Iterable[tuple[Need, Iterable[str]]], counted: bool = True) -> "Taken":
        """By jobs and the GPUs each was given; where GPUs are not ``counted``, every job has a place."""
        jobs = [(need, frozenset(gpus)) for need, gpus in running]
        return cls(
            places=sum(not (need.gpus and counted) for need, _ in jobs),
            gpus=frozenset().union(*(gpus for _, gpus in jobs)),
            memory_bytes=sum(need.machine_memory for need, _ in jobs),
        )


def never(need: Need, machine: Machine) -> str | None:
    """Why ``machine`` can never have such a job, None if it can."""
    if need.gpus and machine.gpus is not None:
        large = [gpu for gpu in machine.gpus if _fits(need, gpu)]
        if len(machine.gpus) < need.gpus:
            withheld = f", besides {machine.withheld} that answers requests" if machine.withheld else ""
            return f"needs {_gpus(need.gpus)} and there are {len(machine.gpus)}{withheld}"
        if len(large) < need.gpus:
            most = max(gpu.memory_bytes or 0 for gpu in machine.gpus)
            return f"needs about {size(need.memory_bytes or 0)} on each GPU and the largest has {size(most)}"
    elif machine.memory_bytes is not None and need.machine_memory > machine.memory_bytes:
        return f"needs about {size(need.machine_memory)} of memory and the machine has {size(machine.memory_bytes)}"
    return None


def not_now(need: Need, machine: Machine, taken: Taken) -> str | None:
    """Why ``machine`` cannot start such a job at present, None if it can."""
    if reason := never(need, machine):
        return reason
    if need.gpus and machine.gpus is not None:
        free = len(_free(need, machine.gpus, taken))
        if free < need.gpus:
            return f"waits for {_gpus(need.gpus)}: {free} of {len(machine.gpus)} free"
        return None
    if taken.places >= machine.places:
        return f"waits for a place: {taken.places} of {machine.places} taken"
    if machine.memory_bytes is not None and (left := machine.memory_bytes - taken.memory_bytes) < need.machine_memory:
        return (
            f"waits for memory: needs about {size(need.machine_memory)}, and of {size(machine.memory_bytes)}"
            f" {size(max(left, 0))} is not promised to others"
        )
    return None


def pick(need: Need, machine: Machine, taken: Taken) -> tuple[str, ...]:
    """The GPUs for a job that can start now: the smallest that suffice."""
    if not need.gpus or machine.gpus is None:
        return ()
    free = sorted(_free(need, machine.gpus, taken), key=lambda gpu: gpu.memory_bytes or 0)
    return tuple(gpu.name for gpu in free[: need.gpus])


def _free(need: Need, gpus: Iterable[Gpu], taken: Taken) -> list[Gpu]:
    return [gpu for gpu in gpus if gpu.name not in taken.gpus and _fits(need, gpu)]


def _fits(need: Need, gpu: Gpu) -> bool:
    return gpu.memory_bytes is None or (need.memory_bytes or 0) <= gpu.memory_bytes


def _gpus(number: int) -> str:
    return "a GPU" if number == 1 else f"{number} GPUs"
