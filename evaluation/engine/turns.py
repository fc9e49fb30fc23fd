"""Who is scored next: one pair of each request in turn, the most urgent class first, nobody passed over for ever."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evaluation.engine.asks import Ask
from evaluation.engine.terms import Priority

_AGING_SECONDS = 2.0
"""A request that nothing was taken from for so long is as urgent as the next class, so that it is served sometimes."""


@dataclass(eq=False)
class Request:
    """Pairs that are alike urgent and came together."""

    asks: deque[Ask]
    priority: Priority
    deadline: float
    served: float
    """When something was last taken from it."""

    def urgency(self, now: float) -> int:
        return max(0, self.priority - int((now - self.served) / _AGING_SECONDS))


@dataclass(frozen=True)
class Round:
    """What is scored together, and how urgent it is (0 is most)."""

    asks: list[Ask]
    urgency: int


def next_round(requests: Sequence[Request], tokens: int, than: float, now: float) -> Round:
    """Take about ``tokens`` tokens out of the most urgent ``requests``, if they are more so ``than`` that.

    Those whose deadline is past come too, however urgent, to be told so.
    """
    taken = _expired(requests, now)
    urgency = min((request.urgency(now) for request in requests if request.asks), default=0)
    if urgency < than:
        chosen = [request for request in requests if request.asks and request.urgency(now) == urgency]
        waiting = [len(request.asks) for request in chosen]
        taken += _one_of_each_in_turn(chosen, urgency, tokens)
        taken += _kin(chosen, {ask.kin for ask in taken if ask.kin is not None}, tokens)
        for request, before in zip(chosen, waiting, strict=True):
            if len(request.asks) < before:
                request.served = now
    return Round(taken, urgency)


def _expired(requests: Sequence[Request], now: float) -> list[Ask]:
    expired: list[Ask] = []
    for request in requests:
        if request.deadline <= now:
            expired += request.asks
            request.asks.clear()
    return expired


def _one_of_each_in_turn(requests: Sequence[Request], urgency: int, tokens: int) -> list[Ask]:
    """About ``tokens`` tokens, a prompt that is read once counted once.

    Who was not served for longest comes first. Those that are as urgent by themselves and those that were passed over
    for so long take turns, so that neither waits for all of the others.
    """
    taken: list[Ask] = []
    met: set[int] = set()
    oldest_first = sorted(requests, key=lambda request: request.served)
    themselves = deque(request for request in oldest_first if request.priority == urgency)
    passed_over = deque(request for request in oldest_first if request.priority != urgency)
    while tokens > 0 and (themselves or passed_over):
        for waiting in (themselves, passed_over):
            if not waiting or tokens <= 0:
                continue
            request = waiting.popleft()
            ask = request.asks.popleft()
            taken.append(ask)
            tokens -= ask.encoded.tokens - (ask.encoded.response_start if ask.kin in met else 0)
            if ask.kin is not None:
                met.add(ask.kin)
            if request.asks:
                waiting.append(request)
    return taken


def _kin(requests: Sequence[Request], wanted: set[int], tokens: int) -> Iterator[Ask]:
    """Whoever waits with a prompt that is being read anyway, up to ``tokens`` tokens more: trainers send one response
    a request."""
    for request in requests if wanted else ():
        stay: deque[Ask] = deque()
        for ask in request.asks:
            if tokens > 0 and ask.kin in wanted:
                tokens -= ask.encoded.tokens - ask.encoded.response_start
                yield ask
            else:
                stay.append(ask)
        request.asks = stay
