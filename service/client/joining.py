"""Scores asked for at about the same time travel in one request; what is too much for one travels in several."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from service.client.requests import closed
from service.score_schema import (
    MAX_ITEMS,
    MAX_PAIRS,
    AnsweringScorer,
    OnOverlong,
    ScoreAnswer,
    ScoredItem,
    ScoreItem,
    ScoreRequest,
    UnusableScorer,
    Urgency,
)
from trainer.errors import BrokenArtifact, Conflict, InvalidInput, NotFound

MAX_JOINED_SIZE = 8_000_000
"""Of all items of one request, in bytes as they are sent or in characters as they are read, whichever is more: far
below the server's limits on either."""

_OF_CONTENT = (InvalidInput, NotFound, BrokenArtifact)
"""What may be one caller's fault. All else is the server's state, which asking for each caller would only burden."""

_Send = Callable[[ScoreRequest], Awaitable[ScoreAnswer]]


@dataclass(frozen=True)
class _Asked:
    """A caller's items and what they wait for."""

    items: list[ScoreItem]
    answered: "asyncio.Future[ScoreAnswer]"


@dataclass
class _Gathering:
    """Callers who ask the same scorers in the same way, until the window closes."""

    asked: list[_Asked] = field(default_factory=list)
    items: int = 0
    scores: int = 0
    size: int = 0


_Manner = tuple[tuple[str, ...], OnOverlong, Urgency]


class Joining:
    """Joins callers' items into requests and hands each its own part of the answer."""

    def __init__(self, send: _Send, *, window_seconds: float, max_requests: int) -> None:
        """``window_seconds`` is how long the first caller waits for others; ``max_requests`` travel at once."""
        self._send = send
        self._window_seconds = window_seconds
        self._room = asyncio.Semaphore(max_requests)
        self._open: dict[_Manner, _Gathering] = {}
        self._travelling: set[asyncio.Task[None]] = set()
        self._unanswered: set[asyncio.Future[ScoreAnswer]] = set()

    async def score(
        self, scorers: Sequence[str], items: Sequence[ScoreItem], on_overlong: OnOverlong, priority: Urgency
    ) -> ScoreAnswer:
        """Any number of items, answered in order and by one version of each scorer.

        Raises what ``send`` raises for the items at hand, and Conflict where a version went away that some of them met.
        """
        manner = (tuple(scorers), on_overlong, priority)
        parts = split(items, len(scorers))
        answers = await self._all(manner, parts)
        who = _who(answers)
        other = [number for number, answer in enumerate(answers) if _another(who, answer.scorers) is not None]
        if other:  # an alias moved, or a version was published: as rare as the cost of asking twice
            names = tuple(_exact(one) for one in who)
            exact = (tuple(dict.fromkeys(names)), on_overlong, priority)
            try:
                again = await self._all(exact, [parts[number] for number in other])
            except NotFound as error:
                raise _changed(who[0].scorer) from error
            for number, answer in zip(other, again, strict=True):
                answers[number] = _renamed(answer, dict(zip(scorers, names, strict=True)))
            who = _who(answers)
            for changed in (_another(who, answer.scorers) for answer in answers):
                if changed is not None:
                    raise _changed(changed)
        return ScoreAnswer(scorers=who, items=[item for answer in answers for item in answer.items])

    async def _all(self, manner: _Manner, parts: list[list[ScoreItem]]) -> list[ScoreAnswer]:
        asked = [self._ask(manner, part) for part in parts]
        try:
            return list(await asyncio.gather(*asked))
        finally:
            for each in asked:
                each.cancel()

    async def close(self) -> None:
        """Give up on what is under way: whoever waits, in the window or for an answer, is told RunFailed."""
        for answered in self._unanswered:
            if not answered.done():
                answered.set_exception(closed())
        self._open.clear()
        for task in self._travelling:
            task.cancel()
        await asyncio.gather(*self._travelling, return_exceptions=True)

    def _ask(self, manner: _Manner, items: list[ScoreItem]) -> "asyncio.Future[ScoreAnswer]":
        scores = sum(len(item.texts()) for item in items) * len(manner[0])
        size = sum(_size(item, len(manner[0])) for item in items)
        waiting = self._open.get(manner)
        if waiting is not None and not (
            waiting.items + len(items) <= MAX_ITEMS
            and waiting.scores + scores <= MAX_PAIRS
            and waiting.size + size <= MAX_JOINED_SIZE
        ):
            self._leave(manner, waiting)
            waiting = None
        if waiting is None:
            waiting = self._open[manner] = _Gathering()
            asyncio.get_running_loop().call_later(self._window_seconds, self._leave, manner, waiting)
        asked = _Asked(items, asyncio.get_running_loop().create_future())
        self._unanswered.add(asked.answered)
        asked.answered.add_done_callback(self._unanswered.discard)
        waiting.asked.append(asked)
        waiting.items += len(items)
        waiting.scores += scores
        waiting.size += size
        return asked.answered

    def _leave(self, manner: _Manner, gathering: _Gathering) -> None:
        """Send it, unless it was sent for being full."""
        if self._open.get(manner) is gathering:
            del self._open[manner]
            task = asyncio.get_running_loop().create_task(self._travel(manner, gathering.asked))
            self._travelling.add(task)
            task.add_done_callback(self._travelling.discard)

    async def _travel(self, manner: _Manner, asked: list[_Asked]) -> None:
        asked = [one for one in asked if not one.answered.done()]  # whoever went away is not asked for
        if not asked:
            return
        items = [item for one in asked for item in one.items]
        scorers, on_overlong, priority = manner
        request = ScoreRequest(scorers=list(scorers), items=items, on_overlong=on_overlong, priority=priority)
        sending = asyncio.current_task()
        assert sending is not None

        def stop_if_nobody_waits(_: "asyncio.Future[ScoreAnswer]") -> None:
            if all(one.answered.done() for one in asked):
                sending.cancel()

        for one in asked:
            one.answered.add_done_callback(stop_if_nobody_waits)
        try:
            async with self._room:
                answer = await self._send(request)
        except Exception as error:
            if len(asked) > 1 and isinstance(error, _OF_CONTENT):  # each is told of its own
                await asyncio.gather(*(self._travel(manner, [one]) for one in asked))
                return
            for one in asked:
                if not one.answered.done():
                    one.answered.set_exception(error)
            return
        start = 0
        for one in asked:
            part = answer.items[start : start + len(one.items)]
            start += len(one.items)
            if not one.answered.done():
                one.answered.set_result(ScoreAnswer(scorers=answer.scorers, items=part))


def split(items: Sequence[ScoreItem], scorers: int) -> list[list[ScoreItem]]:
    """In parts that one request may have each, in order."""
    parts: list[list[ScoreItem]] = [[]]
    scores = size = 0
    for item in items:
        more, larger = len(item.texts()) * scorers, _size(item, scorers)
        full = len(parts[-1]) == MAX_ITEMS or scores + more > MAX_PAIRS or size + larger > MAX_JOINED_SIZE
        if parts[-1] and full:
            parts.append([])
            scores = size = 0
        parts[-1].append(item)
        scores += more
        size += larger
    return parts


def _size(item: ScoreItem, scorers: int) -> int:
    """Bytes on the wire, as JSON in ASCII spends up to 12 on a character, or what is tokenised if that is more."""
    return max(len(json.dumps(item.model_dump(mode="json", exclude_none=True))), scorers * item.characters())


def _who(answers: list[ScoreAnswer]) -> list[AnsweringScorer | UnusableScorer]:
    """Of each scorer who answers the call: who answered the first part that it could answer."""
    return [
        next((one for one in each if isinstance(one, AnsweringScorer)), each[0])
        for each in zip(*(answer.scorers for answer in answers), strict=True)
    ]


def _another(
    who: Sequence[AnsweringScorer | UnusableScorer], answered: Sequence[AnsweringScorer | UnusableScorer]
) -> str | None:
    """The first scorer that somebody else answered for; one that could not answer has the reason in its cells."""
    return next(
        (
            one.scorer
            for one, other in zip(who, answered, strict=True)
            if isinstance(other, AnsweringScorer) and one != other
        ),
        None,
    )


def _exact(one: AnsweringScorer | UnusableScorer) -> str:
    return one.scorer if isinstance(one, UnusableScorer) else f"{one.name}@{one.version}:{one.output}"


def _renamed(answer: ScoreAnswer, names: Mapping[str, str]) -> ScoreAnswer:
    """The answer to the exact ``names``, under those that stand before them."""
    by_name = {one.scorer: one for one in answer.scorers}
    return ScoreAnswer(
        scorers=[by_name[exact].model_copy(update={"scorer": asked}) for asked, exact in names.items()],
        items=[
            ScoredItem(
                id=item.id, scores=[{asked: row[exact] for asked, exact in names.items()} for row in item.scores]
            )
            for item in answer.items
        ],
    )


def _changed(scorer: str) -> Conflict:
    return Conflict(f"what {scorer} stands for changed during the request; name a version, NAME@VERSION")
