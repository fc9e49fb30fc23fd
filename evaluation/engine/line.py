"""The waiting line in front of a device: bounded, fair between requests, and aware of who is about to arrive."""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from evaluation.engine.pairs import Scored
from evaluation.engine.residency import LoadedModel
from trainer.data.text import Encoded
from trainer.errors import Overloaded


@dataclass(frozen=True)
class Wish:
    """One score that somebody waits for."""

    model: LoadedModel
    output: str
    future: Future[Scored]


@dataclass(frozen=True)
class Ask:
    """One pair waiting to be scored, by every model that reads it as these very tokens."""

    encoded: Encoded
    wishes: tuple[Wish, ...]


class WaitingLine:
    """Requests wait here in parallel rather than one behind the other, so a long one cannot block a short one."""

    def __init__(self, max_pairs: int) -> None:
        self._max_pairs = max_pairs
        self._requests: list[deque[Ask]] = []
        self._pairs = 0
        self._arriving = 0
        self._woken = False
        self._closed = False
        self._changed = threading.Condition()

    def reserve(self, pairs: int) -> None:
        """Admit a request before the work of tokenising it; follow with ``join``, whatever happens in between.

        Raises Overloaded where the line is full. A request longer than the whole line is admitted to an empty one.
        """
        with self._changed:
            if self._closed:
                raise Overloaded("the scoring engine is shutting down; try again")
            if self._pairs and self._pairs + pairs > self._max_pairs:
                raise Overloaded(f"{self._pairs} pairs already wait to be scored; try again in a moment")
            self._pairs += pairs
            self._arriving += 1

    def join(self, reserved: int, asks: Sequence[Ask]) -> bool:
        """Enter with what came of a reservation of ``reserved`` pairs; False if the line closed meanwhile."""
        with self._changed:
            self._arriving -= 1
            self._pairs -= reserved
            if not self._closed and asks:
                self._pairs += len(asks)
                self._requests.append(deque(asks))
            self._changed.notify_all()
            return not self._closed

    def wake(self) -> None:
        """Make ``take`` return although nobody joined, now or the next time it is called."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def take(self, tokens: int, window_seconds: float) -> list[Ask]:
        """The next round of about ``tokens`` tokens, one pair of each request in turn; empty if woken for nothing.

        Waits for the first request. Waits up to ``window_seconds`` more only while another is being tokenised: a
        single request never waits for company that does not come.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._requests or self._woken or self._closed)
            self._woken = False
            if self._requests and self._arriving and not self._closed:
                self._changed.wait_for(lambda: not self._arriving or self._closed, window_seconds)
            taken: list[Ask] = []
            while tokens > 0 and self._requests:
                for request in self._requests:
                    taken.append(request.popleft())
                    tokens -= taken[-1].encoded.tokens
                self._requests = [request for request in self._requests if request]
            self._pairs -= len(taken)
            return taken

    def close(self) -> list[Ask]:
        """Admit nobody any more; return those who still wait."""
        with self._changed:
            self._closed = True
            left = [ask for request in self._requests for ask in request]
            self._requests = []
            self._pairs = 0
            self._changed.notify_all()
            return left

    @property
    def pairs(self) -> int:
        """How many pairs wait or are about to."""
        return self._pairs
