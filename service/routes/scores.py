"""POST /v1/scores: any number of responses, scored by any number of scorers, in one call."""

from fastapi import APIRouter

from evaluation.engine.terms import INTERACTIVE, OFFLINE, TRAINER, Terms
from service.access import needs
from service.metered import Scoring
from service.score_schema import ScoreAnswer, ScoreRequest, Urgency

TERMS: dict[Urgency, Terms] = {"interactive": INTERACTIVE, "trainer": TRAINER, "offline": OFFLINE}

router = APIRouter(prefix="/v1", tags=["scoring"], dependencies=[needs("score")])


@router.post("/scores", summary="Score responses with one or several scorers")
async def post_scores(body: ScoreRequest, scoring: Scoring) -> ScoreAnswer:
    """Scores in the request's order: `items[i].scores[j][scorer]` is what `scorer` gives response `j` of item `i`.

    Each cell is either a score or an `error` with `code` and `detail`; a pair that cannot be scored (empty,
    too long, not Unicode) never fails its neighbours. What makes the request itself unusable fails it as a whole:
    a scorer that does not exist is 404, a malformed body 422, a full queue 503 with Retry-After.
    """
    return await scoring.score(body, TERMS[body.priority])
