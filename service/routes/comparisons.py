"""POST /v1/comparisons: which of several responses to one prompt a scorer prefers, and how surely."""

from typing import Annotated, Self

from fastapi import APIRouter, Request
from pydantic import Field, model_validator

from evaluation.engine.probability import sigmoid
from service.score_schema import (
    AnsweringScorer,
    NoScore,
    OnOverlong,
    PromptText,
    Score,
    ScoreAnswer,
    ScoreItem,
    ScoreRequest,
    ScorerName,
    plain_prompt,
)
from service.scoring import ScoringService
from trainer.errors import AssayError, InvalidInput, error_of
from trainer.recipe import Model

router = APIRouter(prefix="/v1", tags=["scoring"])


class ComparisonRequest(Model):
    """One prompt with `chosen` and `rejected`, or with two responses and more."""

    scorer: ScorerName
    prompt: PromptText
    chosen: str | None = None
    rejected: str | None = None
    responses: Annotated[list[str], Field(min_length=2, max_length=64)] | None = None
    on_overlong: OnOverlong = "error"

    @model_validator(mode="after")
    def _a_pair_or_a_list(self) -> Self:
        given = (self.chosen is not None, self.rejected is not None, self.responses is not None)
        if given not in {(True, True, False), (False, False, True)}:
            raise ValueError("give either chosen and rejected, or responses (two or more)")
        return self

    def texts(self) -> list[str]:
        """The responses, chosen before rejected."""
        return self.responses or [text for text in (self.chosen, self.rejected) if text is not None]

    def pointer(self, position: int) -> str:
        """Where in the body the response at ``position`` stands."""
        return f"/responses/{position}" if self.responses is not None else ("/chosen", "/rejected")[position]


class Comparison(Model):
    """Bradley-Terry preferences between the responses: sigmoid of score difference over temperature."""

    scorer: AnsweringScorer
    temperature: float
    """The scorer's calibration temperature; 1 where it was never calibrated."""
    scores: list[Score]
    ranking: list[int]
    """Positions of the responses, most preferred first; ties keep the request's order."""
    probabilities: list[list[float]]
    """`probabilities[i][j]`: that response i is preferred to response j."""


@router.post("/comparisons", summary="Compare responses to one prompt")
async def post_comparisons(body: ComparisonRequest, request: Request) -> Comparison:
    """Preference probabilities and ranking. All or nothing: a response that cannot be scored is 422."""
    scored = await _scored(body, request.app.state.scoring)
    scores = []
    for position, row in enumerate(scored.items[0].scores):
        cell = row[body.scorer]
        if isinstance(cell, NoScore):
            raise error_of(cell.error.code, cell.error.detail, pointer=body.pointer(position))
        scores.append(cell)
    answering = scored.scorers[0]
    assert isinstance(answering, AnsweringScorer), "a request with one scorer fails if that scorer does"
    temperature = (answering.calibration or {}).get("temperature", 1.0)
    values = [score.score for score in scores]
    return Comparison(
        scorer=answering,
        temperature=temperature,
        scores=scores,
        ranking=sorted(range(len(values)), key=lambda position: -values[position]),
        probabilities=[[sigmoid((one - other) / temperature) for other in values] for one in values],
    )


async def _scored(body: ComparisonRequest, service: ScoringService) -> ScoreAnswer:
    """The responses' scores. Raises what concerns the request as a whole, pointing into it."""
    try:
        plain_prompt(body.prompt)  # a bad prompt is the request's fault, not the first response's
    except InvalidInput as error:
        error.pointer = "/prompt"
        raise
    item = ScoreItem(prompt=body.prompt, responses=body.texts())
    try:
        return await service.score(ScoreRequest(scorers=[body.scorer], items=[item], on_overlong=body.on_overlong))
    except AssayError as error:
        error.pointer = error.pointer and "/scorer"
        raise
