"""One request for scores: what is asked of the scoring engine, and what comes back laid out in the request's order.

The same code behind POST /v1/scores and `assay score`.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING

from evaluation.engine.terms import INTERACTIVE, Terms
from service.score_schema import (
    AnsweringScorer,
    NoScore,
    Reason,
    Score,
    ScoreAnswer,
    ScoredItem,
    ScoreItem,
    ScoreRequest,
    UnusableScorer,
    check_text,
    plain_prompt,
)
from trainer.errors import AssayError, BrokenArtifact, DeadlineExceeded, InvalidInput, NotFound, Overloaded

if TYPE_CHECKING:
    from evaluation.engine.line import Place
    from evaluation.engine.scoring import OpenScorer, Pair, Scored, ScoringEngine


@dataclass(frozen=True)
class Queued:
    """A request whose pairs are on their way: ``outcomes[item][response][scorer]`` resolve in any order."""

    request: ScoreRequest
    scorers: list[AnsweringScorer | UnusableScorer]
    outcomes: "list[list[list[Future[Scored] | AssayError]]]"

    def futures(self) -> "list[Future[Scored]]":
        cells = [cell for item in self.outcomes for row in item for cell in row]
        return [cell for cell in cells if not isinstance(cell, AssayError)]


class Cold(Exception):
    """A model is not in memory, and was not to be loaded."""


def reserve(engine: "ScoringEngine", request: ScoreRequest, terms: Terms) -> "Place":
    """Room for a request: see ``ScoringEngine.reserve``."""
    return engine.reserve(request.scorers, sum(len(item.texts()) for item in request.items), terms)


def queue_request(
    engine: "ScoringEngine",
    request: ScoreRequest,
    terms: Terms = INTERACTIVE,
    place: "Place | None" = None,
    *,
    may_load: bool = True,
) -> Queued:
    """Hand every readable pair to the engine, once per scorer. Loads models and tokenises: not for the event loop.

    Bad texts and scorers that cannot be loaded wait as errors beside their good neighbours. Raises NotFound or
    InvalidInput, with a pointer, for a scorer that does not exist; where no scorer is left, why the first cannot be
    loaded; Overloaded where the engine's queue is full. Nothing is queued then. ``place`` is room that was granted
    already, used or left here.
    """
    place = place or reserve(engine, request, terms)
    try:
        return _queue(engine, request, terms, place, may_load=may_load)
    except Cold:
        raise
    except BaseException:
        place.leave()
        raise


def _queue(engine: "ScoringEngine", request: ScoreRequest, terms: Terms, place: "Place", *, may_load: bool) -> Queued:
    opened = [_open_scorer(engine, name, position, may_load=may_load) for position, name in enumerate(request.scorers)]
    usable = [one for one in opened if not isinstance(one, AssayError)]
    if not usable:
        raise next(one for one in opened if isinstance(one, AssayError))
    checked = [_readable_pairs(item) for item in request.items]
    futures = iter(
        engine.submit_opened(
            usable,
            [pair for item in checked for pair in item if not isinstance(pair, AssayError)],
            request.on_overlong,
            terms,
            place,
        )
    )
    columns: list[Iterator[Future[Scored] | AssayError]] = [
        repeat(one) if isinstance(one, AssayError) else iter(next(futures)) for one in opened
    ]
    outcomes: list[list[list[Future[Scored] | AssayError]]] = [
        [[pair if isinstance(pair, AssayError) else next(column) for column in columns] for pair in item]
        for item in checked
    ]
    scorers = [_answering(name, one) for name, one in zip(request.scorers, opened, strict=True)]
    return Queued(request, scorers, outcomes)


def answer(queued: Queued) -> ScoreAnswer:
    """Wait for what is still running and lay the outcomes out in the request's order.

    Raises Overloaded or DeadlineExceeded if the engine gave up on any pair for lack of room or time: the whole request
    may be sent again.
    """
    wait(queued.futures())
    asked = queued.request.scorers
    items = [
        ScoredItem(id=item.id, scores=[dict(zip(asked, map(_cell, row), strict=True)) for row in rows])
        for item, rows in zip(queued.request.items, queued.outcomes, strict=True)
    ]
    return ScoreAnswer(scorers=queued.scorers, items=items)


def _open_scorer(engine: "ScoringEngine", name: str, position: int, *, may_load: bool) -> "OpenScorer | AssayError":
    """The scorer, or why it cannot be had. Raises for what is no scorer, and where the engine ends."""
    try:
        found = engine.find(name)
    except BrokenArtifact as error:
        return error
    except (NotFound, InvalidInput) as error:
        error.pointer = f"/scorers/{position}"
        raise
    if found is not None:
        return found
    if not may_load:
        raise Cold
    try:
        return engine.open(name)
    except Overloaded:
        raise
    except AssayError as error:
        return error


def _answering(asked: str, opened: "OpenScorer | AssayError") -> AnsweringScorer | UnusableScorer:
    if isinstance(opened, AssayError):
        return UnusableScorer(scorer=asked, error=Reason.of(opened))
    info = opened.info
    return AnsweringScorer(
        scorer=asked,
        name=info.name,
        version=info.version,
        output=opened.output,
        kind=info.kind,
        orientation=info.orientation,
        template_hash=info.template_hash,
        calibration=info.calibration,
        pointwise=info.pointwise,
        contrasts=list(info.contrasts),
        prefer=info.prefer,
    )


def _readable_pairs(item: ScoreItem) -> "list[Pair | AssayError]":
    from evaluation.engine.scoring import Pair

    pairs: list[Pair | AssayError] = []
    for text in item.texts():
        try:
            pairs.append(Pair(plain_prompt(item.prompt), check_text(text, "response")))
        except InvalidInput as error:
            pairs.append(error)
    return pairs


def _cell(outcome: "Future[Scored] | AssayError") -> Score | NoScore:
    if isinstance(outcome, AssayError):
        return NoScore(error=Reason.of(outcome))
    if (error := outcome.exception()) is not None:
        if isinstance(error, Overloaded | DeadlineExceeded):
            raise error
        if not isinstance(error, AssayError):
            logging.getLogger(__name__).error("a pair could not be scored", exc_info=error)
        return NoScore(error=Reason.of(error))
    scored = outcome.result()
    return Score(
        score=scored.score,
        probability=scored.probability,
        tokens=scored.tokens,
        truncated_tokens=scored.truncated_tokens,
    )
