"""POST /v1/scores: any number of responses, scored by any number of scorers, in one call."""

from fastapi import APIRouter, Request

from service.score_schema import ScoreAnswer, ScoreRequest
from service.scoring import ScoringService

router = APIRouter(prefix="/v1", tags=["scoring"])


@router.post("/scores", summary="Score responses with one or several scorers")
async def post_scores(body: ScoreRequest, request: Request) -> ScoreAnswer:
    """Scores in the request's order: `items[i].scores[j][scorer]` is what `scorer` gives response `j` of item `i`.

    Each cell is either a score or an `error` with `code` and `detail`; a pair that cannot be scored (empty,
    too long, not Unicode) never fails its neighbours. What makes the request itself unusable fails it as a whole:
    a scorer that does not exist is 404, a malformed body 422, a full queue 503 with Retry-After.
    """
    service: ScoringService = request.app.state.scoring
    return await service.score(body)
