"""OpenRLHF's remote reward model: ``--remote_rm_url http://HOST:PORT/get_reward``.

Its rollout workers send one query per request, as the policy's tokenizer decodes it with special tokens, and the
prompt beside it; they try five times, a second apart, 180 s each (``openrlhf/utils/agent.py``). Older versions send
``query`` alone (``openrlhf/utils/remote_rm_utils.py``).
"""

from typing import Annotated, Any, Self

from fastapi import Request
from pydantic import Field, model_validator

from service.problems import Problem
from service.routes.compat.asking import Chosen, Wire, score_all, unit
from service.routes.compat.conversation import pair_after, pair_in
from service.routes.compat.dialect import explained, router_speaking
from service.score_schema import MAX_ITEMS, ScoreItem
from trainer.errors import InvalidInput

HOLD_SECONDS = 150.0
"""How long a query waits for room: the client hangs up after 180 s, and after five refusals its step has failed."""


class RewardRequest(Wire):
    """What a rollout sends."""

    query: Annotated[list[str], Field(max_length=MAX_ITEMS)]
    """Prompt and response in one text, special tokens included."""
    prompts: Annotated[list[str], Field(max_length=MAX_ITEMS)] | None = None
    """The prompts alone; a response is what follows its prompt. Without them a query is a conversation as a chat
    template writes it, and the response its last turn."""
    labels: list[Any] | None = None
    """Ignored: these scorers need no reference answer."""

    @model_validator(mode="after")
    def _a_prompt_each(self) -> Self:
        if self.prompts and len(self.prompts) != len(self.query):
            raise ValueError(f"{len(self.prompts)} prompts for {len(self.query)} queries; send one each, or none")
        return self


class Rewards(Wire):
    """A reward a query."""

    rewards: list[float]
    """The scores, unbounded."""
    scores: list[float]
    """In [0, 1], for dynamic filtering."""
    extra_logs: dict[str, list[float]]
    """`tokens` and `truncated_tokens` of each pair."""


class RewardError(Wire):
    """OpenRLHF knows no errors but the status; this is for its log."""

    error: str


def respell(problem: Problem, request: Request) -> tuple[int, dict[str, Any]]:
    return problem.status, RewardError(error=explained(problem)).model_dump()


router = router_speaking(respell, RewardError)


@router.post("/get_reward", summary="OpenRLHF: rewards of queries")
@router.post("/compat/openrlhf/get_reward", summary="OpenRLHF: rewards of queries")
async def get_reward(body: RewardRequest, request: Request, choice: Chosen) -> Rewards:
    """A query that cannot be scored fails the request, as there is no number for it. A full queue is waited for."""
    if not body.query:
        return Rewards(rewards=[], scores=[], extra_logs={})
    pairs = [_pair(body, position) for position in range(len(body.query))]
    scored = await score_all(request, choice, pairs, pointer="/query/{}", hold_seconds=HOLD_SECONDS)
    return Rewards(
        rewards=[score.score for score in scored.scores],
        scores=[unit(score) for score in scored.scores],
        extra_logs={
            "tokens": [score.tokens for score in scored.scores],
            "truncated_tokens": [score.truncated_tokens for score in scored.scores],
        },
    )


def _pair(body: RewardRequest, position: int) -> ScoreItem:
    query = body.query[position]
    try:
        return pair_after(body.prompts[position], query) if body.prompts else pair_in(query)
    except InvalidInput as error:
        error.pointer = f"/query/{position}"
        raise
