"""/runs/{id}/responses: what the policy answered, and what every scorer and oracle said of it, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Request, Response
from markupsafe import Markup
from sqlalchemy.orm import Session
from starlette.datastructures import QueryParams

from service.dashboard.rendering import answer, render
from service.dashboard.texts import is_degenerate, prompt_text, visible
from service.db.browsing import (
    SHORTENED,
    Seen,
    Voice,
    Wanted,
    by_disagreement,
    in_order,
    neighbours,
    temperatures_of,
    voices_of,
    whole_response,
)
from service.db.records import Page
from service.db.runs import get_run
from service.jobs.kinds import EVALUATION_KINDS
from trainer.errors import InvalidInput

router = APIRouter()

_PAGE = 20


@dataclass(frozen=True)
class Asked:
    """What the address says; empty does not restrict."""

    prompt: str = ""
    temperature: str = ""
    only: str = ""
    """``truncated``, or every response."""
    order: str = "prompt"
    """``disagreement`` between ``scorer`` and ``oracle``, or prompt by prompt."""
    scorer: str = ""
    oracle: str = ""
    cursor: str = ""

    @classmethod
    def of(cls, given: QueryParams) -> "Asked":
        """Raises InvalidInput for what is not there to choose."""
        asked = cls(**{each.name: given[each.name] for each in fields(cls) if given.get(each.name)})
        for name, value, known in (
            ("only", asked.only, ("", "truncated")),
            ("order", asked.order, ("prompt", "disagreement")),
        ):
            if value not in known:
                raise InvalidInput(f"{name}: {value!r} is none of {', '.join(filter(None, known))}")
        return asked

    def query(self, **changes: str) -> str:
        """The part of an address that says the same but for ``changes``; another order begins at its start."""
        asked = replace(self, **{"cursor": "", **changes})
        told = {each.name: (getattr(asked, each.name), each.default) for each in fields(asked)}
        return urlencode({name: value for name, (value, usual) in told.items() if value != usual})

    def wanted(self) -> Wanted:
        """The same, for the query. Raises InvalidInput for what is no temperature."""
        return Wanted(
            prompt_id=self.prompt or None,
            temperature=_temperature(self.temperature) if self.temperature else None,
            truncated=self.only == "truncated",
        )


@dataclass(frozen=True)
class Card:
    """A response as a page lays it out."""

    seen: Seen
    text: Markup
    shortened: bool
    degenerate: bool
    prompt_text: Markup
    """Of its prompt."""


@router.get("/runs/{run_id}/responses")
def responses(request: Request, run_id: str) -> Response:
    """Responses with all their scores, a page at a time."""

    def page(session: Session) -> Response:
        run = get_run(session, run_id, EVALUATION_KINDS)
        asked = Asked.of(request.query_params)
        voices = voices_of(session, run_id)
        scorers = [each for each in voices if each.role != "oracle"]
        oracles = [each for each in voices if each.role == "oracle"]
        pair = (_chosen("scorer", asked.scorer, scorers), _chosen("oracle", asked.oracle, oracles))
        found = _found(session, run_id, asked, *pair)
        cards = [_card(each) for each in found.data]
        return render(
            request,
            "responses.html",
            here="runs",
            run=run,
            asked=asked,
            groups=[
                (group[0], group)
                for _, its in groupby(cards, lambda each: each.seen.prompt_id)
                for group in [list(its)]
            ],
            next=found.next,
            voices=voices,
            scorers=scorers,
            oracles=oracles,
            pair=pair,
            temperatures=temperatures_of(session, run_id),
            neighbours=neighbours(session, run_id, asked.prompt) if asked.prompt else None,
            api_query=urlencode({"prompt_id": asked.prompt} if asked.prompt else {})
            + (f"&temperature={asked.temperature}" if asked.temperature else ""),
        )

    return answer(request, page)


@router.get("/runs/{run_id}/responses/{number}")
def response(request: Request, run_id: str, number: Annotated[int, Path(ge=0, lt=2**63)]) -> Response:
    """One response whole, with every score."""

    def page(session: Session) -> Response:
        run = get_run(session, run_id, EVALUATION_KINDS)
        seen = whole_response(session, run_id, number)
        card = _card(seen, characters=None)
        return render(request, "response.html", here="runs", run=run, card=card, said=_in_order_of_role(seen))

    return answer(request, page)


def _found(session: Session, run_id: str, asked: Asked, scorer: Voice | None, oracle: Voice | None) -> Page[Seen]:
    cursor = asked.cursor or None
    if asked.order == "prompt":
        return in_order(session, run_id, asked.wanted(), cursor=cursor, limit=_PAGE)
    if scorer is None or oracle is None:
        raise InvalidInput(f"{run_id} has no scorer and oracle to disagree; leave out order")
    return by_disagreement(session, run_id, asked.wanted(), scorer, oracle, cursor=cursor, limit=_PAGE)


def _card(seen: Seen, characters: int | None = SHORTENED) -> Card:
    prompt = prompt_text(seen.prompt)
    text = seen.text if characters is None else seen.text[:characters]
    shortened = seen.characters > len(text)
    return Card(seen, visible(text), shortened, is_degenerate(prompt, seen.text), visible(prompt))


def _in_order_of_role(seen: Seen) -> list[Any]:
    return sorted(seen.said, key=lambda each: ("oracle", "scorer", "control").index(each.voice.role))


def _chosen(role: str, asked: str, known: Sequence[Voice]) -> Voice | None:
    """The voice asked for by its label, else the first. Raises InvalidInput for one that the run has not."""
    if not asked:
        return next(iter(known), None)
    for each in known:
        if asked in {each.label, each.name}:
            return each
    raise InvalidInput(f"{role}: this run has no {asked!r}; it has {', '.join(each.label for each in known) or 'none'}")


def _temperature(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InvalidInput(f"temperature: {text!r} is no number") from error
