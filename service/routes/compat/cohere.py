"""Cohere's and Jina's reranking: ``/v1/rerank`` and ``/v2/rerank``, the form that search libraries and Infinity speak.

Cohere's ``co.v2.rerank`` posts to ``/v2/rerank`` and ``co.rerank`` to ``/v1/rerank`` of its base address; Jina's
``/v1/rerank`` differs in ``usage`` and in ``detail`` of errors, so both are answered.
"""

import uuid
from functools import partial
from typing import Annotated, Any

from fastapi import Request
from pydantic import Discriminator, Field, Tag

from service.problems import Problem
from service.routes.compat.asking import Chosen, Wire, score_all, unit
from service.routes.compat.dialect import explained, router_speaking
from service.score_schema import MAX_ITEMS, Score, ScoreItem, ScorerName


class Document(Wire):
    """A document in its object form."""

    text: str


def _form(document: object) -> str:
    return "text" if isinstance(document, str) else "object"


AnyDocument = Annotated[Annotated[str, Tag("text")] | Annotated[Document, Tag("object")], Discriminator(_form)]


class RerankRequest(Wire):
    """Body of the routes."""

    model: ScorerName | None = None
    """A scorer: `NAME`, `NAME@VERSION` or `NAME@VERSION:OUTPUT`."""
    query: str
    """The prompt."""
    documents: Annotated[list[AnyDocument], Field(min_length=1, max_length=MAX_ITEMS)]
    """Its responses."""
    top_n: Annotated[int, Field(ge=1)] | None = None
    """How many to answer; all unless said."""
    return_documents: bool = False
    raw_scores: bool = False
    """Infinity's: whether to answer the score itself rather than a number on [0, 1]."""

    def number(self, score: Score) -> float:
        """What is answered for a score."""
        return score.score if self.raw_scores else unit(score)

    def texts(self) -> list[str]:
        """The responses."""
        return [document if isinstance(document, str) else document.text for document in self.documents]


class Result(Wire):
    """Where a response stands."""

    index: int
    """Its place in `documents`."""
    relevance_score: float
    """On [0, 1] unless `raw_scores` asked for more."""
    document: Document | None = None
    """Where `return_documents` asked for it."""


class ApiVersion(Wire):
    """Cohere's."""

    version: str


class Meta(Wire):
    """Cohere's envelope."""

    api_version: ApiVersion


class Usage(Wire):
    """Tokens of all pairs, in the scorer's own, as scored."""

    total_tokens: int
    prompt_tokens: int


class Ranking(Wire):
    """The best first."""

    id: str
    model: str
    """Who scored, to the version."""
    results: list[Result]
    meta: Meta
    usage: Usage


class CohereError(Wire):
    """As Cohere (`message`) and Jina (`detail`) answer failures."""

    message: str
    detail: str


def respell(problem: Problem, request: Request) -> tuple[int, dict[str, Any]]:
    """Cohere answers bad bodies with 400."""
    body = CohereError(message=explained(problem), detail=explained(problem))
    return 400 if problem.status == 422 else problem.status, body.model_dump()


router = router_speaking(respell, CohereError)


_rerank_at = partial(router.post, response_model_exclude_none=True, summary="Cohere, Jina: responses, the best first")


@_rerank_at("/v1/rerank")
@_rerank_at("/v2/rerank")
@router.post(
    "/compat/cohere/rerank", response_model_exclude_none=True, summary="Cohere, Jina: responses, the best first"
)
@router.post(
    "/compat/cohere/v1/rerank", response_model_exclude_none=True, summary="Cohere, Jina: responses, the best first"
)
@router.post(
    "/compat/cohere/v2/rerank", response_model_exclude_none=True, summary="Cohere, Jina: responses, the best first"
)
async def rerank(body: RerankRequest, request: Request, choice: Chosen) -> Ranking:
    """The best first; ties keep the request's order."""
    texts = body.texts()
    pairs = [ScoreItem(prompt=body.query, response=text) for text in texts]
    scored = await score_all(request, choice, pairs, pointer="/documents/{}", model=body.model)
    order = sorted(range(len(texts)), key=lambda place: -scored.scores[place].score)[: body.top_n]
    return Ranking(
        id=str(uuid.uuid4()),
        model=scored.model,
        results=[
            Result(
                index=i,
                relevance_score=body.number(scored.scores[i]),
                document=Document(text=texts[i]) if body.return_documents else None,
            )
            for i in order
        ],
        meta=Meta(api_version=ApiVersion(version="1" if "/v1/" in request.url.path else "2")),
        usage=Usage(total_tokens=scored.tokens, prompt_tokens=scored.tokens),
    )
