"""POST /v1/attributions: which of a prompt's constraints a scorer holds against a response."""

from anyio import to_thread
from fastapi import APIRouter

from service.access import needs
from service.attributions import question_of
from service.metered import Scoring
from service.score_schema import AttributionAnswer, AttributionRequest

router = APIRouter(prefix="/v1", tags=["scoring"], dependencies=[needs("score")])


@router.post("/attributions", summary="Score a response without each constraint of its prompt")
async def post_attributions(body: AttributionRequest, scoring: Scoring) -> AttributionAnswer:
    """The whole prompt's score minus the score without each constraint, all else unchanged.

    Constraints are those of a prompt of the product-description world, or the `constraints` that are given with
    `prompt`. One that cannot be left out alone has an `error` that says why, in place of a number. All else that
    cannot be scored is 422: prompts are never cut.
    """
    question = await to_thread.run_sync(question_of, body)
    return question.answer(await scoring.score_with(body.scorer, question.items))
