"""POST /v1/comparisons: the best of several responses to a prompt, or which of several prompts a response satisfies."""

from typing import Annotated, Self

from fastapi import APIRouter
from pydantic import Field, model_validator

from service.access import needs
from service.metered import Scoring
from service.score_schema import (
    AnsweringScorer,
    NoScore,
    OnOverlong,
    PromptText,
    Score,
    ScoreItem,
    ScorerName,
    check_text,
    plain_prompt,
)
from trainer.calibration import sigmoid
from trainer.errors import InvalidInput, error_of
from trainer.manifest import Contrast
from trainer.recipe import Model

router = APIRouter(prefix="/v1", tags=["scoring"], dependencies=[needs("score")])

_FORMS = (
    {"prompt", "chosen", "rejected"},
    {"prompt", "responses"},
    {"response", "prompt", "perturbed_prompt"},
    {"response", "prompts"},
)


class ComparisonRequest(Model):
    """One prompt, with `chosen` and `rejected` or with `responses`; or one response, with `prompt` and
    `perturbed_prompt` or with `prompts`."""

    scorer: ScorerName
    prompt: PromptText | None = None
    chosen: str | None = None
    rejected: str | None = None
    responses: Annotated[list[str], Field(min_length=2, max_length=64)] | None = None
    response: str | None = None
    perturbed_prompt: PromptText | None = None
    prompts: Annotated[list[PromptText], Field(min_length=2, max_length=64)] | None = None
    on_overlong: OnOverlong = "error"
    """What was cut may be what one of several prompts asked for; `truncated_tokens` says of which."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if {name for name in set().union(*_FORMS) if getattr(self, name) is not None} not in _FORMS:
            raise ValueError(
                "give either a prompt, with chosen and rejected or with responses (two or more), or a response, with"
                " prompt and perturbed_prompt or with prompts"
            )
        return self

    @property
    def between(self) -> Contrast:
        """What is compared."""
        return "responses" if self.response is None else "prompts"

    def items(self) -> dict[str, ScoreItem]:
        """What is to be scored, by the place in the body of what is compared.

        Raises InvalidInput, pointing there, if what all share is no text that a model could read.
        """
        listed, pair = (
            ("responses", ("chosen", "rejected"))
            if self.between == "responses"
            else ("prompts", ("prompt", "perturbed_prompt"))
        )
        texts = getattr(self, listed)
        compared = (
            {f"/{name}": getattr(self, name) for name in pair}
            if texts is None
            else {f"/{listed}/{position}": text for position, text in enumerate(texts)}
        )
        try:
            if self.response is not None:
                check_text(self.response, "response")
                return {place: ScoreItem(prompt=text, response=self.response) for place, text in compared.items()}
            assert self.prompt is not None
            plain_prompt(self.prompt)
            return {place: ScoreItem(prompt=self.prompt, response=text) for place, text in compared.items()}
        except InvalidInput as error:
            error.pointer = "/prompt" if self.response is None else "/response"
            raise


class Comparison(Model):
    """Which of the responses, or of the prompts, and how surely."""

    scorer: AnsweringScorer
    between: Contrast
    meaning: str
    """What the probabilities are of this scorer, or why there are none."""
    temperature: float
    """The scorer's calibration temperature; 1 where it was never calibrated."""
    scores: list[Score]
    """With the probability that each response satisfies its prompt, whatever the others do, if the scorer has one."""
    ranking: list[int] | None
    """Positions of what is compared, the best first; ties keep the request's order."""
    probabilities: list[list[float]] | None
    """`probabilities[i][j]`: of i over j, sigmoid((score i - score j) / temperature). Null, and the ranking with it,
    where the scorer was not trained to tell such pairs apart."""


@router.post("/comparisons", summary="Compare responses to one prompt, or prompts of one response")
async def post_comparisons(body: ComparisonRequest, scoring: Scoring) -> Comparison:
    """Probabilities and ranking. All or nothing: a pair that cannot be scored is 422."""
    items = body.items()
    scored = await scoring.score_with(body.scorer, list(items.values()), body.on_overlong)
    scores = []
    for place, item in zip(items, scored.items, strict=True):
        cell = item.scores[0][body.scorer]
        if isinstance(cell, NoScore):
            raise error_of(cell.error.code, cell.error.detail, pointer=place)
        scores.append(cell)
    answering = scored.scorers[0]
    assert isinstance(answering, AnsweringScorer), "a request with one scorer fails if that scorer does"
    temperature = (answering.calibration or {}).get("temperature", 1.0)
    values = [score.score for score in scores]
    comparable = body.between in answering.contrasts
    return Comparison(
        scorer=answering,
        between=body.between,
        meaning=_meaning(answering, body.between),
        temperature=temperature,
        scores=scores,
        ranking=sorted(range(len(values)), key=lambda position: -values[position]) if comparable else None,
        probabilities=(
            [[sigmoid((one - other) / temperature) for other in values] for one in values] if comparable else None
        ),
    )


def _meaning(scorer: AnsweringScorer, between: Contrast) -> str:
    if between not in scorer.contrasts:
        return (
            f"none: this scorer was trained to tell {scorer.contrasts[0]} apart, so its scores of different {between}"
            f" have no common zero; ask a reward model trained with loss bce, or on rows that contrast {between}"
        )
    if not scorer.pointwise:
        what = "response i is preferred to response j" if between == "responses" else "it is prompt i rather than j"
        found = f"that {what}, of the two (Bradley-Terry)"
    elif between == "responses":
        found = "that response i satisfies the prompt, given that exactly one of responses i and j does"
    else:
        found = "that the response satisfies prompt i, given that it satisfies exactly one of prompts i and j"
    return f"probabilities[i][j]: {found}" + ("" if scorer.calibration else "; temperature 1, for none was fitted")
