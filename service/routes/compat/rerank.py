"""``/rerank``, which two servers call their own: TEI where the body has ``texts``, else Cohere and Jina."""

from typing import Annotated, Any

from fastapi import Request
from pydantic import Discriminator, Tag

from service.problems import Problem
from service.routes.compat import cohere, tei
from service.routes.compat.asking import Chosen
from service.routes.compat.dialect import router_speaking, sent_body


def _whose(body: object) -> str:
    return "tei" if isinstance(body, dict) and "texts" in body else "cohere"


AnyRequest = Annotated[
    Annotated[tei.RerankRequest, Tag("tei")] | Annotated[cohere.RerankRequest, Tag("cohere")], Discriminator(_whose)
]


def respell(problem: Problem, request: Request) -> tuple[int, dict[str, Any]]:
    return tei.respell(problem, request) if _whose(sent_body(request)) == "tei" else cohere.respell(problem, request)


router = router_speaking(respell, tei.TeiError | cohere.CohereError)


@router.post("/rerank", response_model_exclude_none=True, summary="TEI, Cohere, Jina: responses, the best first")
async def rerank(body: AnyRequest, request: Request, choice: Chosen) -> list[tei.Rank] | cohere.Ranking:
    """As whoever sends such a body expects it."""
    if isinstance(body, tei.RerankRequest):
        return await tei.rerank(body, request, choice)
    return await cohere.rerank(body, request, choice)
