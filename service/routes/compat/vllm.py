"""vLLM's pooling server: ``/classify``, ``/pooling`` and ``/score``, which veRL and others ask for rewards.

The formats are those of ``vllm/entrypoints/pooling``; veRL sends a rendered conversation as ``input`` with
``use_activation`` false and reads the score at ``data[-1].probs[-1]`` (``verl/experimental/reward_loop``).
"""

import time
import uuid
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import Request
from pydantic import AliasChoices, Discriminator, Field, Tag

from service.problems import Problem
from service.routes.compat.asking import LABEL, Chosen, Scored, Wire, score_all, unit
from service.routes.compat.conversation import messages_pair, pair_in
from service.routes.compat.dialect import explained, field_of, router_speaking
from service.score_schema import MAX_ITEMS, Message, Score, ScoreItem, ScorerName
from trainer.errors import InvalidInput

HOLD_SECONDS = 150.0
"""How long a request waits for room: those who ask are trainers, and veRL's patience has no end."""

Texts = str | Annotated[list[str], Field(min_length=1, max_length=MAX_ITEMS)]


class Part(Wire):
    """A piece of a message."""

    type: Literal["text"]
    text: str


class ChatMessage(Wire):
    """One turn."""

    role: Annotated[str, Field(pattern=r"^[A-Za-z_-]{1,32}$")]
    content: str | list[Part]

    def plain(self) -> Message:
        """Its parts in one text."""
        text = self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)
        return Message(role=self.role, content=text)


class Basics(Wire):
    """What every request may say."""

    model: ScorerName | None = None
    """A scorer: `NAME`, `NAME@VERSION` or `NAME@VERSION:OUTPUT`."""
    use_activation: bool | None = Field(
        None, validation_alias=AliasChoices("use_activation", "activation", "softmax"), strict=True
    )
    """Whether to answer on [0, 1], as vLLM does unless told otherwise; false asks for the score itself."""
    truncate_prompt_tokens: Literal[-1] | None = None
    """-1 allows the prompt's oldest tokens to be dropped where a pair is longer than the scorer's window."""

    def number(self, score: Score) -> float:
        """What is answered for a score."""
        return score.score if self.use_activation is False else unit(score)


class Texted(Basics):
    """Conversations as a chat template writes them."""

    input: Texts
    add_special_tokens: bool = True
    """Without effect: the scorer's own template says which there are."""

    @property
    def pointer(self) -> str:
        """Where a pair is in the body, ``{}`` its position."""
        return "/input" if isinstance(self.input, str) else "/input/{}"

    def pairs(self) -> list[ScoreItem]:
        """The last turn of each is its response."""
        return [_pair(text, self.pointer.format(position)) for position, text in enumerate(_listed(self.input))]


class Chatted(Basics):
    """One conversation as messages."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_ITEMS)]
    chat_template: None = None
    """Must be null: the scorer's own template is used, the one it was trained with."""

    @property
    def pointer(self) -> str:
        """Where the pair is in the body."""
        return "/messages"

    def pairs(self) -> list[ScoreItem]:
        """The last message is the response."""
        try:
            return [messages_pair([message.plain() for message in self.messages])]
        except InvalidInput as error:
            error.pointer = self.pointer
            raise


def _form(body: object) -> str:
    return "chat" if isinstance(body, dict) and "messages" in body else "completion"


ClassifyRequest = Annotated[
    Annotated[Texted, Tag("completion")] | Annotated[Chatted, Tag("chat")], Discriminator(_form)
]


class PoolTexts(Texted):
    """As for `/classify`."""

    encoding_format: Literal["float"] = "float"


class PoolChat(Chatted):
    """As for `/classify`."""

    encoding_format: Literal["float"] = "float"


PoolingRequest = Annotated[
    Annotated[PoolTexts, Tag("completion")] | Annotated[PoolChat, Tag("chat")], Discriminator(_form)
]


class PairsRequest(Basics):
    """One prompt with several responses, or as many of each."""

    queries: Texts = Field(validation_alias=AliasChoices("queries", "text_1", "data_1"))
    """Prompts; also called `text_1`."""
    documents: Texts = Field(validation_alias=AliasChoices("documents", "items", "text_2", "data_2"))
    """Responses; also called `text_2`."""

    @property
    def pointer(self) -> str:
        """Where a pair's response is in the body, ``{}`` its position."""
        return "/documents" if isinstance(self.documents, str) else "/documents/{}"

    def pairs(self) -> list[ScoreItem]:
        """One prompt goes with every response."""
        prompts, responses = _listed(self.queries), _listed(self.documents)
        if len(prompts) not in {1, len(responses)}:
            raise InvalidInput(
                f"{len(prompts)} queries and {len(responses)} documents: give one query, or as many of each",
                pointer="/queries",
            )
        prompts = prompts * len(responses) if len(prompts) == 1 else prompts
        return [ScoreItem(prompt=one, response=other) for one, other in zip(prompts, responses, strict=True)]


class Usage(Wire):
    """Tokens of all pairs, in the scorer's own, as scored."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int | None = 0
    prompt_tokens_details: None = None


class Answer(Wire):
    """What all answers share."""

    id: str
    object: Literal["list"] = "list"
    created: int
    """Seconds since 1970."""
    model: str
    """Who scored, to the version."""


class ClassData(Wire):
    """A pair's class, of which there is one."""

    index: int
    label: str | None
    probs: list[float]
    num_classes: int


class Classified(Answer):
    """Answer of `/classify`."""

    data: list[ClassData]
    usage: Usage


class PoolData(Wire):
    """A pair's one number."""

    index: int
    object: Literal["pooling"] = "pooling"
    data: list[float]


class Pooled(Answer):
    """Answer of `/pooling`."""

    data: list[PoolData]
    usage: Usage


class ScoreData(Wire):
    """A pair's score."""

    index: int
    object: Literal["score"] = "score"
    score: float


class PairScores(Answer):
    """Answer of `/score`."""

    data: list[ScoreData]
    usage: Usage


class ErrorInfo(Wire):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    """The field."""
    code: int
    """The status."""


class VllmError(Wire):
    """As vLLM answers failures."""

    error: ErrorInfo


def respell(problem: Problem, request: Request) -> tuple[int, dict[str, Any]]:
    """vLLM answers bad bodies with 400."""
    status = 400 if problem.status == 422 else problem.status
    info = ErrorInfo(
        message=explained(problem),
        type=HTTPStatus(status).phrase.replace(" ", "").removesuffix("Error") + "Error",
        param=field_of(problem),
        code=status,
    )
    return status, VllmError(error=info).model_dump()


router = router_speaking(respell, VllmError)


@router.post("/classify", summary="vLLM: classes of conversations")
@router.post("/compat/vllm/classify", summary="vLLM: classes of conversations")
async def classify(body: ClassifyRequest, request: Request, choice: Chosen) -> Classified:
    """`probs` holds one number: on [0, 1], or the score itself where `use_activation` is false."""
    scored = await _scored(body, request, choice)
    data = [
        ClassData(index=index, label=LABEL, probs=[body.number(score)], num_classes=1)
        for index, score in enumerate(scored.scores)
    ]
    return Classified(**_answer("classify", scored), data=data)


@router.post("/pooling", summary="vLLM: one number for each conversation")
@router.post("/compat/vllm/pooling", summary="vLLM: one number for each conversation")
async def pooling(body: PoolingRequest, request: Request, choice: Chosen) -> Pooled:
    """As `/classify`, in the shape of pooled outputs."""
    scored = await _scored(body, request, choice)
    data = [PoolData(index=index, data=[body.number(score)]) for index, score in enumerate(scored.scores)]
    return Pooled(**_answer("pool", scored), data=data)


@router.post("/score", summary="vLLM: scores of pairs")
@router.post("/v1/score", summary="vLLM: scores of pairs")
@router.post("/compat/vllm/score", summary="vLLM: scores of pairs")
async def score(body: PairsRequest, request: Request, choice: Chosen) -> PairScores:
    """Prompts are `queries` and responses `documents`; on [0, 1] unless `use_activation` is false."""
    scored = await _scored(body, request, choice)
    data = [ScoreData(index=index, score=body.number(one)) for index, one in enumerate(scored.scores)]
    return PairScores(**_answer("score", scored), data=data)


async def _scored(body: Texted | Chatted | PairsRequest, request: Request, choice: Chosen) -> Scored:
    return await score_all(
        request,
        choice,
        body.pairs(),
        pointer=body.pointer,
        model=body.model,
        truncate=body.truncate_prompt_tokens is not None,
        hold_seconds=HOLD_SECONDS,
    )


def _answer(kind: str, scored: Scored) -> dict[str, Any]:
    return {
        "id": f"{kind}-{uuid.uuid4().hex}",
        "created": int(time.time()),
        "model": scored.model,
        "usage": Usage(prompt_tokens=scored.tokens, total_tokens=scored.tokens),
    }


def _listed(texts: Texts) -> list[str]:
    return [texts] if isinstance(texts, str) else texts


def _pair(text: str, pointer: str) -> ScoreItem:
    try:
        return pair_in(text)
    except InvalidInput as error:
        error.pointer = pointer
        raise
