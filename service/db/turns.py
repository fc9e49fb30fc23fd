"""Who writes next: SQLite lets one write at a time and the others try again and again, whoever came first."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A lock that threads have in the order in which they asked for it.

    Without it a thread that writes one transaction after another leaves the others, which sleep for up to 100 ms
    between two tries, hardly a moment in which they find the database free.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    @contextmanager
    def mine(self, within_seconds: float) -> Iterator[None]:
        """Have the turn during the block, or after ``within_seconds`` go on without, for the database to refuse."""
        had = self._acquire(within_seconds)
        try:
            yield
        finally:
            if had:
                self._release()

    def _acquire(self, within_seconds: float) -> bool:
        with self._guard:
            if not self._taken:
                self._taken = True
                return True
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        if turn.acquire(timeout=within_seconds):
            return True
        with self._guard:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return False
        return True  # it came between the two

    def _release(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
