"""Independent pieces of work, shared by the processor's cores: numpy lets other threads run while it computes.

What is one piece never depends on how many cores there are, so neither does any result.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")

_MOST = 4
"""Each thread holds the memory of its piece."""


def shared_by_cores(work: Callable[[Piece], Result], pieces: Iterable[Piece]) -> list[Result]:
    """``work`` of every piece, in their order; what a piece raises is raised here."""
    with ThreadPoolExecutor(_cores()) as pool:
        return list(pool.map(work, pieces))


def _cores() -> int:
    """Those that this process may use, where the system says so."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(allowed or 1, _MOST)
