"""Workers as actors of a Ray cluster: the only file that knows Ray's Python interface.

Every node has this installation, and sees the artifacts and the files that a recipe names under the same paths.
"""

import logging
import os
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Generic

from evaluation.workers import Found, Shard, Work, Worker
from evaluation.workers.settings import SharedLaunch
from trainer.errors import AssayError, InvalidInput, RunFailed
from trainer.run import prepare_libraries

_SECONDS_BETWEEN_SIGNS = 1.0
_SECONDS_WITHOUT_ROOM = 30.0
"""How long nobody may have begun before the run says what it waits for."""
_REACH_SECONDS = 10.0
_MOST_LOSSES = 3
"""Workers that one shard, or beginning, may cost: more are not the machines' fault."""


@contextmanager
def connected(launch: SharedLaunch, tell: Callable[[str], None]) -> Iterator["RayActors"]:
    """Workers on the cluster of this machine, of this job or at RAY_ADDRESS. Raises as ``open_workers``."""
    try:
        import ray
    except ImportError as error:
        raise InvalidInput(
            "launch.executor.ray_workers needs Ray: pip install 'reward-assay[ray]'",
            pointer="/launch/executor/ray_workers",
        ) from error
    stop = signal.getsignal(signal.SIGTERM)
    try:
        _reach(os.environ.get("RAY_ADDRESS", ""))
        ray.init(address="auto", log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RunFailed(
            f"no Ray cluster to share the work with ({reason}): run `ray start --head` here, set RAY_ADDRESS to a"
            " cluster's HOST:PORT, or leave launch.executor.ray_workers out"
        ) from error
    try:
        signal.signal(signal.SIGTERM, stop)  # Ray's would end the process; a run saves first
        yield RayActors(ray, launch, tell)
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Raises OSError where nobody listens: Ray would go on trying for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_SECONDS).close()


class RayActors:
    """As many actors as were asked for and there is room for; they stay for the next kind of work, since starting one,
    with an interpreter and torch, takes longer than what it is then given."""

    def __init__(self, ray: ModuleType, launch: SharedLaunch, tell: Callable[[str], None]) -> None:
        self._ray = ray
        self._tell = tell
        self._size = launch.executor.ray_workers
        self._threads = launch.threads
        self._rested: list[Any] = []
        self._actor = ray.remote(
            num_cpus=launch.executor.cpus_per_worker,
            num_gpus=launch.executor.gpus_per_worker,
            max_restarts=0,
            scheduling_strategy="SPREAD",
        )(_Actor)

    def over(self, shards: Iterable[Shard], work: Work[Shard, Found]) -> Iterator[Found | None]:
        """See Workers."""
        left = deque(shards)
        if left:
            shared = self._ray.put(work)  # once, however many there are
            crew: _Crew[Shard, Found]
            crew = _Crew(self._ray, lambda: self._actor.remote(self._threads), self._rested, shared, left, self._tell)
            try:
                yield from crew.work(min(self._size, len(left)))
            finally:
                crew.dismiss()


@dataclass(frozen=True)
class _Task(Generic[Shard]):
    """What an actor is at; without a shard it is beginning, and may have ended unseen if it has ``rested``."""

    actor: Any
    shard: Shard | None
    rested: bool = False


class _Crew(Generic[Shard, Found]):
    """Actors at one kind of work, and what is left of it."""

    def __init__(
        self,
        ray: ModuleType,
        hire: Callable[[], Any],
        rested: list[Any],
        work: object,
        left: deque[Shard],
        tell: Callable[[str], None],
    ) -> None:
        self._ray = ray
        self._hire = hire
        self._rested = rested
        self._work = work
        self._left = left
        self._tell = tell
        self._tasks: dict[Any, _Task[Shard]] = {}  # by the stream of what is found
        self._idle: list[Any] = []
        self._losses: Counter[int] = Counter()
        self._room_by: float | None = time.monotonic() + _SECONDS_WITHOUT_ROOM

    def work(self, size: int) -> Iterator[Found | None]:
        """Of actors that have rested, and new ones; those that are free at the end rest then."""
        for _ in range(size):
            self._begin()
        while self._left or any(task.shard is not None for task in self._tasks.values()):
            while self._idle and self._left:
                self._do(self._idle.pop(), self._left.popleft())
            ready, _ = self._ray.wait(list(self._tasks), timeout=_SECONDS_BETWEEN_SIGNS)
            if not ready:
                self._say_what_is_missing()
                yield None
            for stream in ready:
                yield from self._next(stream)
        self._rested += self._idle
        self._idle = []

    def dismiss(self) -> None:
        """End those that are at work, or wait for work or for room."""
        for actor in [*self._idle, *(task.actor for task in self._tasks.values())]:
            self._ray.kill(actor)

    def _begin(self) -> None:
        rested = bool(self._rested)
        actor = self._rested.pop() if rested else self._hire()
        self._tasks[actor.begin.remote(self._work)] = _Task(actor, None, rested)

    def _do(self, actor: Any, shard: Shard) -> None:  # noqa: ANN401 - Ray's handles have no types
        self._tasks[actor.do.remote(shard)] = _Task(actor, shard)

    def _next(self, stream: Any) -> Iterator[Found]:  # noqa: ANN401
        """What came of a task that something came of."""
        exceptions = self._ray.exceptions
        task = self._tasks[stream]
        try:
            found = self._ray.get(next(stream))
        except StopIteration:
            del self._tasks[stream]
            self._losses.pop(id(task.shard), None)  # of beginnings too: workers that begin are lost in a row no more
            self._idle.append(task.actor)
            self._room_by = None
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, AssayError):
                raise error.cause from error
            raise
        except exceptions.RayError as error:
            del self._tasks[stream]
            self._lost(task, error)
        else:
            yield found

    def _say_what_is_missing(self) -> None:
        if self._room_by is not None and time.monotonic() >= self._room_by:
            self._room_by = None
            self._tell("no worker has begun yet: `ray status` says what the cluster has room for")

    def _lost(self, task: _Task[Shard], error: Exception) -> None:
        """Have another worker do what a lost one was at."""
        self._losses[id(task.shard)] += not task.rested  # a node may have gone since, with many of them
        reason = str(error).strip().splitlines()[0]
        if self._losses[id(task.shard)] > _MOST_LOSSES:
            raise RunFailed(
                f"{_MOST_LOSSES + 1} workers were lost one after the other at the same piece of work ({reason}); see"
                " the cluster's logs. What is done is kept: resume the run when it is mended"
            )
        self._tell(f"a worker was lost and its piece of the work goes to another ({reason})")
        self._ray.kill(task.actor)  # it may only have been out of reach
        if task.shard is not None:
            self._left.appendleft(task.shard)
        self._begin()


class _Actor:
    """A worker in a process of the cluster. Methods are generators: what they find is sent as it is found."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._open = ExitStack()
        self._worker: Worker[Any, Any] | None = None

    def begin(self, work: Work[Any, Any]) -> Iterator[Any]:
        """Another kind of work, in place of the one before."""
        prepare_libraries(self._threads)
        self._worker = None  # or its weights would stay beside the next
        self._open.close()
        self._worker = self._open.enter_context(work.begin())
        yield from ()

    def do(self, shard: object) -> Iterator[Any]:
        assert self._worker is not None
        yield from self._worker(shard)
