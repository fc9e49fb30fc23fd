"""slime's remote reward model: ``--rm-type remote_rm --rm-url http://HOST:PORT/compat/slime/remote_rm``.

One sample per request, answered by a bare number; ten tries with growing pauses, 120 s each
(``slime/rollout/rm_hub/__init__.py``).
"""

from typing import Annotated, Any

from fastapi import Request
from pydantic import Field

from service.problems import Problem
from service.routes.compat.asking import Chosen, Wire, score_all
from service.routes.compat.conversation import messages_pair, pair_of
from service.routes.compat.dialect import explained, router_speaking
from service.score_schema import Message

HOLD_SECONDS = 100.0
"""How long a sample waits for room: the client hangs up after 120 s."""


class Turn(Wire):
    """One turn of a conversation; its further fields are ignored."""

    role: Annotated[str, Field(pattern=r"^[A-Za-z_-]{1,32}$")]
    content: str


class Sample(Wire):
    """What slime sends of a sample."""

    prompt: str | Annotated[list[Turn], Field(min_length=1)]
    """As the dataset has it: a text, which may be as a chat template wrote it, or messages."""
    response: str
    label: Any = None
    """Ignored: these scorers need no reference answer."""


class SampleError(Wire):
    """slime knows no errors but the status; this is for its log."""

    error: str


def respell(problem: Problem, request: Request) -> tuple[int, dict[str, Any]]:
    return problem.status, SampleError(error=explained(problem)).model_dump()


router = router_speaking(respell, SampleError)


@router.post("/remote_rm", summary="slime: the reward of a sample")
@router.post("/compat/slime/remote_rm", summary="slime: the reward of a sample")
async def remote_rm(body: Sample, request: Request, choice: Chosen) -> float:
    """The score, a bare number. A full queue is waited for."""
    if isinstance(body.prompt, str):
        pair = pair_of(body.prompt, body.response)
    else:
        turns = [Message(role=turn.role, content=turn.content) for turn in body.prompt]
        pair = messages_pair([*turns, Message(role="assistant", content=body.response)])
    scored = await score_all(request, choice, [pair], pointer="", hold_seconds=HOLD_SECONDS)
    return scored.scores[0].score
