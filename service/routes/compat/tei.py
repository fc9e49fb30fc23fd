"""Hugging Face text-embeddings-inference: ``/predict`` and ``/rerank`` (``router/src/http/{types,server}.rs``)."""

from typing import Annotated, Any, Literal

from fastapi import Request
from pydantic import Discriminator, Field, Tag

from service.problems import Problem
from service.routes.compat.asking import LABEL, Chosen, Wire, score_all, unit
from service.routes.compat.conversation import pair_in
from service.routes.compat.dialect import complained_of, explained, field_of, router_speaking
from service.score_schema import MAX_ITEMS, Score, ScoreItem
from trainer.errors import InvalidInput, OverlongInput, Unscorable

Sequence = Annotated[list[str], Field(min_length=1, max_length=2)]
"""`[prompt, response]`, or one text: a conversation as a chat template writes it."""


def _form(inputs: object) -> str:
    if isinstance(inputs, list):
        return "batch" if inputs and isinstance(inputs[0], list) else "sequence"
    return "text"


Inputs = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[Sequence, Tag("sequence")]
    | Annotated[list[Sequence], Field(max_length=MAX_ITEMS), Tag("batch")],
    Discriminator(_form),
]


class Options(Wire):
    """What both routes may be told."""

    truncate: bool | None = None
    """Whether the prompt's oldest tokens may be dropped to fit the scorer's window."""
    raw_scores: bool = False
    """Whether to answer the score itself rather than a number on [0, 1]."""

    def number(self, score: Score) -> float:
        """What is answered for a score."""
        return score.score if self.raw_scores else unit(score)


class PredictRequest(Options):
    """Body of `/predict`."""

    inputs: Inputs
    """`["a", "b"]` is one pair of prompt and response; `[["a", "b"], ["c", "d"]]` are two."""

    @property
    def is_single(self) -> bool:
        """Whether one prediction is answered rather than a list of them."""
        return _form(self.inputs) != "batch"

    def sequences(self) -> list[list[str]]:
        """One or two texts each."""
        if isinstance(self.inputs, str):
            return [[self.inputs]]
        batch: list[list[str]] = [one for one in self.inputs if isinstance(one, list)]
        return [[one for one in self.inputs if isinstance(one, str)]] if self.is_single else batch


class Prediction(Wire):
    """The one class there is."""

    score: float
    label: str


class RerankRequest(Options):
    """Body of `/rerank`."""

    query: str
    """The prompt."""
    texts: Annotated[list[str], Field(min_length=1, max_length=MAX_ITEMS)]
    """Its responses."""
    return_text: bool = False


class Rank(Wire):
    """Where a response stands."""

    index: int
    """Its place in `texts`."""
    text: str | None = None
    """Where `return_text` asked for it."""
    score: float


ErrorType = Literal["Unhealthy", "Backend", "Overloaded", "Validation", "Tokenizer", "Empty"]


class TeiError(Wire):
    """As text-embeddings-inference answers failures."""

    error: str
    error_type: ErrorType


def respell(problem: Problem, request: Request) -> tuple[int, dict[str, Any]]:
    """The original's statuses (``From<&ErrorType> for StatusCode``): too long or too many is 413, nothing to read 400
    and a pair that gets no score 424. A full queue is 503, where the original says 429 and so ends the work of those
    who take that for their own fault."""
    status = {OverlongInput.code: 413, Unscorable.code: 424}.get(problem.code, problem.status)
    kind: ErrorType = "Validation" if status < 424 else "Backend"
    if status in {503, 429}:
        kind = "Overloaded"
    if problem.code == InvalidInput.code:
        sent = complained_of(problem, request)
        if isinstance(sent, list) and len(sent) > MAX_ITEMS:
            status = 413
        elif sent == "" or (isinstance(sent, list) and "" in sent) or (sent == [] and field_of(problem) == "texts"):
            status, kind = 400, "Empty"
    return status, TeiError(error=explained(problem), error_type=kind).model_dump()


router = router_speaking(respell, TeiError)


@router.post("/predict", summary="TEI: predictions of pairs")
@router.post("/compat/tei/predict", summary="TEI: predictions of pairs")
async def predict(body: PredictRequest, request: Request, choice: Chosen) -> list[Prediction] | list[list[Prediction]]:
    """A list of the one prediction there is; of a batch, a list of those."""
    sequences = body.sequences()
    pointer = "/inputs" if body.is_single else "/inputs/{}"
    pairs = [_pair(sequence, pointer.format(position)) for position, sequence in enumerate(sequences)]
    scored = await score_all(request, choice, pairs, pointer=pointer, truncate=bool(body.truncate))
    predictions = [[Prediction(score=body.number(score), label=LABEL)] for score in scored.scores]
    return predictions[0] if body.is_single else predictions


@router.post("/compat/tei/rerank", response_model_exclude_none=True, summary="TEI: responses, the best first")
async def rerank(body: RerankRequest, request: Request, choice: Chosen) -> list[Rank]:
    """The best first; ties keep the request's order."""
    pairs = [ScoreItem(prompt=body.query, response=text) for text in body.texts]
    scored = await score_all(request, choice, pairs, pointer="/texts/{}", truncate=bool(body.truncate))
    order = sorted(range(len(pairs)), key=lambda place: -scored.scores[place].score)
    return [
        Rank(index=i, text=body.texts[i] if body.return_text else None, score=body.number(scored.scores[i]))
        for i in order
    ]


def _pair(texts: list[str], pointer: str) -> ScoreItem:
    if len(texts) == 2:
        return ScoreItem(prompt=texts[0], response=texts[1])
    try:
        return pair_in(texts[0])
    except InvalidInput as error:
        error.pointer = pointer
        raise
