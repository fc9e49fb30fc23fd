"""Which scorer answers a request that was written for another server, and what it answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session, sessionmaker

from evaluation.engine.terms import INTERACTIVE, Priority, Terms
from service.db.aliases import all_aliases
from service.metered import MeteredScoring
from service.score_schema import (
    AnsweringScorer,
    NoScore,
    OnOverlong,
    Score,
    ScoreAnswer,
    ScoreItem,
    ScoreRequest,
    ScorerName,
)
from service.scoring import ScoringService
from trainer.calibration import sigmoid
from trainer.errors import InvalidInput, NotFound, error_of

CHAMPION = "champion"
"""The alias of what answers where nothing is said."""

LABEL = "LABEL_0"
"""What transformers calls the one class of a model with one output."""


class Wire(BaseModel):
    """A body in another server's format: what that server would ignore is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


@dataclass(frozen=True)
class Choice:
    """What any address here may end with, for formats that have no field for it."""

    scorer: str | None
    on_overlong: OnOverlong


def _choice(
    scorer: Annotated[
        ScorerName | None, Query(description="`NAME`, `NAME@VERSION` or `NAME@VERSION:OUTPUT`; goes before `model`.")
    ] = None,
    on_overlong: Annotated[
        OnOverlong, Query(description="Whether the prompt's oldest tokens may be dropped to fit the scorer's window.")
    ] = "error",
) -> Choice:
    return Choice(scorer, on_overlong)


Chosen = Annotated[Choice, Depends(_choice)]


@dataclass(frozen=True)
class Scored:
    """Scores in the order of the pairs, and who gave them."""

    model: str
    scores: list[Score]

    @property
    def tokens(self) -> int:
        """Of all pairs, as scored."""
        return sum(score.tokens for score in self.scores)


async def score_all(
    request: Request,
    choice: Choice,
    pairs: Sequence[ScoreItem],
    *,
    pointer: str,
    model: str | None = None,
    truncate: bool = False,
    hold_seconds: float = 0.0,
) -> Scored:
    """All scores or none, as these formats have no place for the failure of one pair.

    ``pointer`` is where pair ``i`` is in the body, with ``{}`` for ``i``. With ``hold_seconds`` a full queue is waited
    for that long, behind interactive requests. Raises the first pair's error there is, and as ``MeteredScoring.score``.
    """
    scorer = choice.scorer or model or await default_scorer(request)
    on_overlong: OnOverlong = "truncate_prompt" if truncate else choice.on_overlong
    terms = Terms(Priority.TRAINER, hold_seconds=hold_seconds) if hold_seconds else INTERACTIVE
    body = ScoreRequest(scorers=[scorer], items=list(pairs), on_overlong=on_overlong)
    try:
        answer = await MeteredScoring(request).score(body, terms)
    except (NotFound, InvalidInput) as error:
        error.pointer = None if model is None or choice.scorer else "/model"
        raise
    return _laid_out(answer, scorer, pointer)


async def default_scorer(request: Request) -> str:
    """The operator's choice, else the one ``NAME@champion`` there is, else the only scorer.

    Raises InvalidInput where that leaves several, NotFound where it leaves none.
    """
    chosen: str | None = request.app.state.settings.compat_scorer
    if chosen:
        return chosen
    champions = await run_in_threadpool(_champions, request.app.state.sessions)
    if len(champions) == 1:
        return champions[0]
    service: ScoringService = request.app.state.scoring
    names = champions or sorted({info.name for info in await service.scorers() if info.kind != "policy"})
    if not names:
        raise NotFound("nothing here can score yet: train or import a reward model; GET /v1/scorers lists them")
    if len(names) > 1:
        raise InvalidInput(
            f"{len(names)} scorers are here ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''}): end the "
            "address with ?scorer=NAME, or let the operator set ASSAY_COMPAT_SCORER"
        )
    return names[0]


def unit(score: Score) -> float:
    """On [0, 1], for formats that ask for it: the scorer's own probability where it has one, else sigmoid(score),
    which orders responses and claims no more."""
    return sigmoid(score.score) if score.probability is None else score.probability


def _champions(make_session: sessionmaker[Session]) -> list[str]:
    with make_session() as session:
        return [f"{one.name}@{one.alias}" for one in all_aliases(session) if one.alias == CHAMPION]


def _laid_out(answer: ScoreAnswer, scorer: str, pointer: str) -> Scored:
    cells = [item.scores[0][scorer] for item in answer.items]
    for position, cell in enumerate(cells):
        if isinstance(cell, NoScore):
            raise error_of(cell.error.code, cell.error.detail, pointer=pointer.format(position))
    by = answer.scorers[0]
    assert isinstance(by, AnsweringScorer), "a request with one scorer fails if that scorer does"
    output = f":{by.output}" if ":" in scorer else ""
    return Scored(f"{by.name}@{by.version}{output}", [cell for cell in cells if isinstance(cell, Score)])
