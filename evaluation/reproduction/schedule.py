"""Do steps side by side, each as soon as what it needs is done; what is done already is not done again."""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from typing import Any, Protocol

from trainer.errors import AssayError


@dataclass(frozen=True)
class Step:
    """One run: its recipe, and the steps that must have ended before."""

    name: str
    recipe: dict[str, Any]
    needs: tuple[str, ...] = ()


class Place(Protocol):
    """Where steps are done and remembered. Goes to other processes, so it is plain data."""

    def done(self, step: Step) -> str | None:
        """What sorts by when the step was begun, if it is done; None if it is not."""
        ...

    def perform(self, step: Step) -> None:
        """Do it in the calling process, continuing what was interrupted. Raises AssayError."""
        ...


def carry_out(
    steps: Sequence[Step], place: Place, pool: Executor, at_once: int, tell: Callable[[str], None] | None = None
) -> None:
    """Do every step, except those that are done since what they need was.

    Raises the first failure, naming its step; what is under way then goes on in the pool.
    """
    tell = tell or say
    done = _done(steps, place)
    waiting = [step for step in steps if step.name not in done]
    running: dict[Future[float], Step] = {}
    while waiting or running:
        ready = [step for step in waiting if done.issuperset(step.needs)]
        for step in ready[: at_once - len(running)]:
            waiting.remove(step)
            running[pool.submit(_timed, place, step)] = step
        ended, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in ended:
            step = running.pop(future)
            seconds = future.result()
            done.add(step.name)
            tell(f"{len(done)} of {len(steps)}: {step.name}, {seconds:.0f} s")


def say(text: str) -> None:
    """A line about a study's progress."""
    sys.stderr.write(f"study: {text}\n")
    sys.stderr.flush()


def end_with_parent() -> None:
    """For a pool's processes: do not outlive a study that was killed, or its next start would meet them at work."""
    threading.Thread(target=_await_parent, daemon=True).start()


def _await_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _done(steps: Sequence[Step], place: Place) -> set[str]:
    """Names of the steps that need not be done again."""
    by_name = {step.name: step for step in steps}
    begun = {step.name: place.done(step) for step in steps}

    def fresh(name: str) -> bool:
        own = begun[name]
        return own is not None and all(fresh(need) and (begun[need] or "") <= own for need in by_name[name].needs)

    return {name for name in by_name if fresh(name)}


def _timed(place: Place, step: Step) -> float:
    """Seconds that the step took."""
    started = time.monotonic()
    try:
        place.perform(step)
    except AssayError as error:
        raise type(error)(f"{step.name}: {error.detail}") from error
    return time.monotonic() - started
