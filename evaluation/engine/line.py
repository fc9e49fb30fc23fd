"""The waiting line in front of a device: bounded, fair between requests, and aware of who is about to arrive."""

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from evaluation.engine.asks import Ask
from evaluation.engine.turns import Request, Round, next_round
from trainer.errors import Overloaded

_PRUNING_SECONDS = 0.25
"""How often a full line looks whether those who wait in it still want their scores."""


@dataclass(eq=False)
class Place:
    """Room for so many pairs: granted now, later, or refused. ``leave`` or ``WaitingLine.join`` gives it back."""

    line: "WaitingLine"
    pairs: int
    until: float
    granted: Future[None] = field(default_factory=Future)
    """Resolves once there is room; fails with Overloaded where there was none in time."""
    left: bool = False

    def leave(self) -> None:
        """Do without it; harmless where it was used or left before."""
        self.line.leave(self)


class WaitingLine:
    """Requests wait here in parallel rather than one behind the other, so a long one cannot block a short one.

    The most urgent class goes first. A request that was passed over for a while counts as more urgent for its next
    turn, so that the least urgent is served too however many others come.
    """

    def __init__(self, max_pairs: int) -> None:
        self._max_pairs = max_pairs
        self._requests: list[Request] = []
        self._held: deque[Place] = deque()
        self._pairs = 0
        self._arriving = 0
        self._woken = False
        self._closed = False
        self._admitting = True
        self._pruned = -math.inf
        self._changed = threading.Condition()

    def reserve(self, pairs: int, hold_seconds: float = 0.0) -> Place:
        """Admit a request before the work of tokenising it; follow with ``join`` or ``leave``.

        Where the line is full, raises Overloaded, or with ``hold_seconds`` gives a place that is granted later: first
        come, first served. A request longer than the whole line is admitted to an empty one.
        """
        with self._changed:
            place = Place(self, pairs, time.monotonic() + hold_seconds)
            if not self._admitting:
                raise Overloaded("the scoring engine is shutting down; try again")
            if self._has_room(pairs) and not (hold_seconds and self._held):
                self._grant(place)
            elif hold_seconds:
                self._held.append(place)
                self._changed.notify_all()  # whoever takes waits no longer than until it is to be refused
            else:
                raise Overloaded(f"{self._pairs} pairs already wait to be scored; try again in a moment")
            return place

    def join(self, place: Place, asks: Sequence[Ask]) -> bool:
        """Enter with what came of a granted place, alike urgent; False if it was left or the line closed meanwhile."""
        with self._changed:
            if place.left:
                return False
            self._give_back(place)
            if not self._closed and asks:
                self._pairs += len(asks)
                deadline = min(ask.deadline for ask in asks)
                self._requests.append(Request(deque(asks), asks[0].priority, deadline, time.monotonic()))
            self._admit_held()  # fewer may have come than there was room for
            self._changed.notify_all()
            return not self._closed

    def leave(self, place: Place) -> None:
        """See ``Place.leave``."""
        with self._changed:
            if place in self._held:
                self._held.remove(place)
                place.granted.cancel()
            elif not place.left:
                self._give_back(place)
            place.left = True
            self._admit_held()
            self._changed.notify_all()

    def wake(self) -> None:
        """Make ``take`` return although nobody joined, now or the next time it is called."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def take(self, tokens: int, window_seconds: float) -> Round:
        """The next round of about ``tokens`` tokens, one pair of each request in turn; empty if woken for nothing.

        Its pairs keep their room until they are ``done``.

        Waits for the first request. Waits up to ``window_seconds`` more only while another is being tokenised: a
        single request never waits for company that does not come.
        """
        with self._changed:
            while not (self._requests or self._woken or self._closed):
                self._changed.wait(self._refusing_in())
                self._admit_held()
            self._woken = False
            if self._requests and self._arriving and not self._closed:
                self._changed.wait_for(lambda: not self._arriving or self._closed, window_seconds)
            return self._round(tokens, math.inf)

    def take_urgent(self, than: int, tokens: int) -> Round:
        """A round of what is more urgent ``than`` that, without waiting; empty if nothing is. Expired pairs come too,
        however urgent."""
        with self._changed:
            return self._round(tokens, than)

    def done(self, pairs: int) -> None:
        """So many of those that were taken have their outcome, and their room is free."""
        with self._changed:
            if not self._closed:  # which forgot all pairs
                self._pairs -= pairs
                self._admit_held()

    def stop_admitting(self) -> None:
        """Refuse whoever comes or is held; those who were admitted stay."""
        with self._changed:
            self._admitting = False
            for place in self._held:
                _refuse(place, "the scoring engine is shutting down; try again")
            self._held.clear()

    def close(self) -> list[Ask]:
        """Admit nobody any more; return those who still wait."""
        self.stop_admitting()
        with self._changed:
            self._closed = True
            left = [ask for request in self._requests for ask in request.asks]
            self._requests = []
            self._pairs = 0
            self._changed.notify_all()
            return left

    @property
    def pairs(self) -> int:
        """How many pairs wait for their scores or are about to: also those that were taken and are not ``done``."""
        return self._pairs

    @property
    def held_pairs(self) -> int:
        """How many pairs wait for room."""
        with self._changed:
            return sum(place.pairs for place in self._held)

    @property
    def oldest_seconds(self) -> float:
        """For how long the first that still waits has waited; 0 where none does."""
        with self._changed:
            return max((time.monotonic() - request.asks[0].since for request in self._requests), default=0.0)

    def _round(self, tokens: int, than: float) -> Round:
        found = next_round(self._requests, tokens, than, time.monotonic())
        self._requests = [request for request in self._requests if request.asks]
        self._admit_held()
        return found

    def _admit_held(self) -> None:
        now = time.monotonic()
        for place in [place for place in self._held if place.until <= now]:
            self._held.remove(place)
            _refuse(place, f"no room for {place.pairs} pairs came free in time; try again in a moment")
        while self._held and self._has_room(self._held[0].pairs):
            self._grant(self._held.popleft())

    def _refusing_in(self) -> float | None:
        """Seconds until the first held place has waited for too long; None where none is held."""
        first = min((place.until for place in self._held), default=None)
        return None if first is None else max(0.0, first - time.monotonic())

    def _has_room(self, pairs: int) -> bool:
        if self._pairs and self._pairs + pairs > self._max_pairs:
            self._prune()
        return not self._pairs or self._pairs + pairs <= self._max_pairs

    def _prune(self) -> None:
        """Forget those whom nobody waits for any more; now and then, as it looks at the whole line."""
        if (now := time.monotonic()) < self._pruned + _PRUNING_SECONDS:
            return
        self._pruned = now
        for request in self._requests:
            wanted = deque(ask for ask in request.asks if not ask.cancelled())
            self._pairs -= len(request.asks) - len(wanted)
            request.asks = wanted
        self._requests = [request for request in self._requests if request.asks]

    def _grant(self, place: Place) -> None:
        self._pairs += place.pairs
        self._arriving += 1
        if place.granted.set_running_or_notify_cancel():
            place.granted.set_result(None)

    def _give_back(self, place: Place) -> None:
        place.left = True
        self._arriving -= 1
        if not self._closed:  # which forgot all pairs
            self._pairs -= place.pairs


def _refuse(place: Place, words: str) -> None:
    place.left = True
    if place.granted.set_running_or_notify_cancel():
        place.granted.set_exception(Overloaded(words))
