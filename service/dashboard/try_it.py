"""Try it: paste a prompt and responses, and see every scorer's score, ranked, with the request that says the same."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from service.access import caller_of, may, needs
from service.dashboard.posted import posted
from service.dashboard.rendering import failed, render
from service.errors import outcome_of
from service.metered import Scoring
from service.score_schema import (
    MAX_RESPONSES,
    MAX_SCORERS,
    AnsweringScorer,
    NoScore,
    Score,
    ScoreAnswer,
    ScoreRequest,
    UnusableScorer,
)
from service.scoring import ScoringService
from trainer.errors import AssayError, InvalidInput

if TYPE_CHECKING:
    from evaluation.engine.scoring import ScorerInfo

router = APIRouter(include_in_schema=False, dependencies=[needs("read", "score", changes="score")])

_KINDS = {"reward_model": "Reward models", "discriminator": "Discriminators", "policy": "Policies"}
_EMPTY_AT_FIRST = 2
_MOST_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Asked:
    """What the form holds."""

    prompt: str = ""
    conversation: bool = False
    """Whether the prompt is a JSON list of messages."""
    responses: list[str] = field(default_factory=list)
    scorers: list[str] = field(default_factory=list)
    truncate: bool = False

    @classmethod
    def read(cls, form: dict[str, list[str]]) -> "Asked":
        """From a form or an address; browsers send line breaks as CRLF."""

        def texts(name: str) -> list[str]:
            return [text.replace("\r\n", "\n") for text in form.get(name, [])]

        others = [name for text in texts("others") for name in text.split()]
        return cls(
            prompt=next(iter(texts("prompt")), ""),
            conversation=texts("form") == ["conversation"],
            responses=texts("response")[:MAX_RESPONSES],
            scorers=list(dict.fromkeys([*texts("scorer"), *others])),
            truncate=bool(texts("truncate")),
        )

    def request(self) -> dict[str, Any]:
        """The body of POST /v1/scores. Raises InvalidInput naming the form's field."""
        if not self.scorers:
            raise InvalidInput("choose at least one scorer", pointer="scorer")
        if len(self.scorers) > MAX_SCORERS:
            raise InvalidInput(f"choose at most {MAX_SCORERS} scorers at a time", pointer="scorer")
        if not self.prompt.strip():
            raise InvalidInput("paste a prompt", pointer="prompt")
        responses = [text for text in self.responses if text.strip()]
        if not responses:
            raise InvalidInput("paste at least one response", pointer="response")
        body = {"scorers": self.scorers, "items": [{"prompt": self._prompt(), "responses": responses}]}
        return {**body, "on_overlong": "truncate_prompt"} if self.truncate else body

    def _prompt(self) -> object:
        if not self.conversation:
            return self.prompt
        expected = 'a conversation is a JSON list such as [{"role": "user", "content": "..."}]'
        try:
            turns = json.loads(self.prompt)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"{expected}; this is no JSON: {error}", pointer="prompt") from error
        if not isinstance(turns, list):
            raise InvalidInput(expected, pointer="prompt")
        return turns


@dataclass(frozen=True)
class Cell:
    """What one scorer gives one response; ``rank`` is 1 for the best, None where it has none."""

    outcome: Score | NoScore
    rank: int | None


@dataclass(frozen=True)
class Ranked:
    """The answer, laid out: a row for each response, the first scorer's best on top."""

    scorers: list[AnsweringScorer | UnusableScorer]
    rows: list[tuple[int, str, list[Cell]]]
    """Place of the response in the form, from 1, its text, and a cell for each scorer."""
    json: str
    truncated: bool


@router.get("/try")
async def try_it(request: Request) -> Response:
    """The form, filled in from the address where it says something."""
    asked = Asked.read(parse_qs(request.url.query, keep_blank_values=True))
    return await _page(request, asked)


@router.post("/try")
async def score(request: Request, scoring: Scoring) -> Response:
    """Score what the form holds, or add an empty response to it."""
    try:
        form = await posted(request, _MOST_BYTES)
    except InvalidInput as error:
        return failed(request, error)
    asked = Asked.read(form)
    if "more" in form:
        return await _page(request, replace(asked, responses=[*asked.responses, ""]), focus_last=True)
    try:
        body = asked.request()
        answer = await scoring.score(_valid(body), sampled=False)
    except AssayError as error:
        return await _page(request, asked, error=error)
    return await _page(request, asked, body=body, ranked=_ranked(body["items"][0]["responses"], answer))


def _valid(body: dict[str, Any]) -> ScoreRequest:
    try:
        return ScoreRequest.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = "prompt" if "prompt" in first["loc"] else "scorer" if "scorers" in first["loc"] else "response"
        # of a conversation: where in it, behind items, 0, prompt and the kind of prompt
        place = "".join(f"/{part}" for part in first["loc"][4:]) if where == "prompt" else ""
        said = first["msg"].removeprefix("Value error, ")
        raise InvalidInput(f"{place}: {said}" if place else said, pointer=where) from error


def _ranked(responses: Sequence[str], answer: ScoreAnswer) -> Ranked:
    names = [each.scorer for each in answer.scorers]
    table = answer.items[0].scores
    columns = [_column([row[name] for row in table], each) for name, each in zip(names, answer.scorers, strict=True)]
    cells = list(zip(*columns, strict=True))
    order = sorted(range(len(responses)), key=lambda place: cells[place][0].rank or len(responses) + 1)
    return Ranked(
        scorers=answer.scorers,
        rows=[(place + 1, responses[place], list(cells[place])) for place in order],
        json=answer.model_dump_json(indent=2),
        truncated=any(isinstance(cell, Score) and cell.truncated_tokens for row in table for cell in row.values()),
    )


def _column(outcomes: Sequence[Score | NoScore], scorer: AnsweringScorer | UnusableScorer) -> list[Cell]:
    """A scorer's cells; equal scores share a rank, and the next one is as much further."""
    worth = {place: cell.score for place, cell in enumerate(outcomes) if isinstance(cell, Score)}
    if isinstance(scorer, AnsweringScorer) and scorer.orientation == "lower_is_better":
        worth = {place: -score for place, score in worth.items()}
    return [
        Cell(cell, 1 + sum(other > worth[place] for other in worth.values()) if place in worth else None)
        for place, cell in enumerate(outcomes)
    ]


async def _page(
    request: Request,
    asked: Asked,
    *,
    body: dict[str, Any] | None = None,
    ranked: Ranked | None = None,
    error: AssayError | None = None,
    focus_last: bool = False,
) -> Response:
    service: ScoringService = request.app.state.scoring
    offered = _offered(await service.scorers())
    known = [name for names in offered.values() for name in names]
    if not asked.scorers and error is None:
        asked = replace(asked, scorers=known[:1])
    blank = max(_EMPTY_AT_FIRST - len(asked.responses), 0)
    return render(
        request,
        "try.html",
        200 if error is None else outcome_of(error).status,
        here="try",
        asked=replace(asked, responses=[*asked.responses, *[""] * blank]),
        offered=offered,
        others=[name for name in asked.scorers if name not in known],
        ranked=ranked,
        curl=None if body is None else _curl(request, body),
        error=error,
        focus_last=focus_last,
        most=MAX_RESPONSES,
        may_score=may(request, "score"),
    )


def _offered(scorers: "Sequence[ScorerInfo]") -> dict[str, list[str]]:
    """What to choose from, by kind: every output of each name's newest version."""
    newest = {info.name: info for info in scorers}  # by name and version
    offered: dict[str, list[str]] = {}
    for kind, title in _KINDS.items():
        names = [
            info.name if len(info.outputs) == 1 else f"{info.name}:{output}"
            for info in newest.values()
            if info.kind == kind
            for output in info.outputs
        ]
        if names:
            offered[title] = names
    return offered


def _curl(request: Request, body: dict[str, Any]) -> str:
    """The same request for a shell, the key from the environment where one is needed."""
    address = f"{str(request.base_url).rstrip('/')}/v1/scores"
    key = '  -H "authorization: Bearer $ASSAY_API_KEY" \\\n' if caller_of(request).key is not None else ""
    sent = shlex.quote(json.dumps(body, indent=2, ensure_ascii=False))
    return f"curl -s {shlex.quote(address)} \\\n{key}  -H 'content-type: application/json' -d {sent}"
