"""Responses of a run with everything that was said of them, to be read by people: plain functions of a session."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Double, Select, Subquery, and_, cast, func, or_, select, tuple_
from sqlalchemy.orm import Session, aliased

from evaluation.scorers.controls import VALUES, family
from service.db.pages import Key, check_limit, decode_cursor, encode_cursor
from service.db.records import JobError, Page
from service.db.samples import is_stored
from service.db.tables import Prompt, Response, Score
from trainer.errors import InvalidInput, NotFound

SHORTENED = 1_200
"""Characters of a response that a list shows."""

MEASURED = 20_000
"""Characters of it that are read to tell whether it is still text."""


@dataclass(frozen=True, order=True)
class Voice:
    """Somebody who says something of responses: a scorer, a control or an oracle, of one version."""

    role: str
    name: str
    version: int | None

    @property
    def label(self) -> str:
        """``NAME@3``, or the name alone where it has no versions."""
        return self.name if self.version is None else f"{self.name}@{self.version}"

    @property
    def value(self) -> str | None:
        """What a control says, which its name does not; None of others."""
        return VALUES.get(self.name) if self.role == "control" else None


@dataclass(frozen=True)
class Said:
    """What one voice says of one response."""

    voice: Voice
    score: float | None
    tokens: int | None
    truncated_tokens: int | None
    error: JobError | None


@dataclass(frozen=True)
class Places:
    """Where a scorer and an oracle place a response among the others to its prompt, 1 the best; ties share a place."""

    by_scorer: float
    by_oracle: float
    of: int


@dataclass(frozen=True)
class Seen:
    """One response: its text as far as it was asked for, and what was said of it."""

    number: int
    prompt_id: str
    prompt: Any
    temperature: float | None
    replicate: int
    text: str
    characters: int
    """Of the whole text."""
    tokens: int | None
    finish_reason: str | None
    said: list[Said]
    places: Places | None = None


@dataclass(frozen=True)
class Wanted:
    """Which responses to show; what is None does not restrict."""

    prompt_id: str | None = None
    temperature: float | None = None
    truncated: bool = False
    """Only those that were cut at the token limit."""


def voices_of(session: Session, run: str) -> list[Voice]:
    """Who said something of the run's first response, oracles first; untrained networks, a dozen alike, apart."""
    first = select(func.min(Response.number)).where(Response.run == run).scalar_subquery()
    columns = (Score.number, Score.role, Score.scorer, Score.scorer_version)
    # sorted here: a database that is asked to may read the whole run in that order
    rows = session.execute(select(*columns).where(Score.run == run, Score.response == first, is_stored(run))).all()
    in_file_order = sorted(rows, key=lambda row: row.number)
    found = [Voice(role, name, version) for _, role, name, version in in_file_order if family(name) == name]
    return sorted(found, key=lambda each: ("oracle", "scorer", "control").index(each.role))


def temperatures_of(session: Session, run: str) -> list[float]:
    """Of the first prompt's responses, lowest first."""
    first = select(func.min(Response.prompt)).where(Response.run == run).scalar_subquery()
    found = session.scalars(
        select(Response.temperature).where(Response.run == run, Response.prompt == first, is_stored(run)).distinct()
    )
    return sorted(each for each in found if each is not None)


def in_order(session: Session, run: str, wanted: Wanted, *, cursor: str | None = None, limit: int = 24) -> Page[Seen]:
    """Responses prompt by prompt, from the lowest temperature to the highest. Raises InvalidInput for a bad cursor."""
    place = (Response.prompt, func.coalesce(Response.temperature, -1.0), Response.replicate)
    query = _responses(run, wanted)
    if cursor is not None:
        prompt, temperature, replicate = _numbers(cursor, 3)
        query = query.where(Response.prompt >= int(prompt))  # which the index finds
        query = query.where(tuple_(*place) > tuple_(int(prompt), temperature, int(replicate)))
    rows = session.execute(query.order_by(*place).limit(check_limit(limit) + 1)).all()

    def key(row: Any) -> Key:  # noqa: ANN401 - a row of the query
        temperature = -1.0 if row.temperature is None else row.temperature
        return [repr(row.prompt), repr(temperature), repr(row.replicate)]

    return Page(data=_seen(session, run, rows[:limit]), next=_next(rows, limit, key))


def by_disagreement(
    session: Session,
    run: str,
    wanted: Wanted,
    scorer: Voice,
    oracle: Voice,
    *,
    cursor: str | None = None,
    limit: int = 24,
) -> Page[Seen]:
    """Responses that a scorer places otherwise among those to their prompt than an oracle does, the farthest first.

    Among the responses wanted that both gave a value to, and only where there are two of them. Raises InvalidInput for
    a bad cursor.
    """
    ranked = _placed(run, wanted, scorer, oracle)
    gap = func.abs(ranked.c.by_scorer - ranked.c.by_oracle) / (ranked.c.of - 1)
    query = select(ranked, gap.label("gap")).where(ranked.c.of > 1)
    if cursor is not None:
        farthest, number = _numbers(cursor, 2)
        query = query.where(or_(gap < farthest, and_(gap == farthest, ranked.c.number > int(number))))
    rows = session.execute(query.order_by(gap.desc(), ranked.c.number).limit(check_limit(limit) + 1)).all()
    # texts only of those that are shown: the order needs none
    places = {row.number: Places(float(row.by_scorer), float(row.by_oracle), row.of) for row in rows[:limit]}
    texts = session.execute(_responses(run, Wanted()).where(Response.number.in_(places))).all()
    seen = {each.number: each for each in _seen(session, run, texts)}
    shown = [replace(seen[number], places=its) for number, its in places.items()]
    return Page(data=shown, next=_next(rows, limit, lambda row: [repr(float(row.gap)), repr(row.number)]))


def whole_response(session: Session, run: str, number: int) -> Seen:
    """One response with all of its text and every voice. Raises NotFound."""
    query = _responses(run, Wanted(), characters=None).where(Response.number == number)
    rows = session.execute(query).all() if abs(number) < 2**63 else []
    if not rows:
        raise NotFound(f"{run} has no response {number}")
    return _seen(session, run, rows)[0]


def neighbours(session: Session, run: str, prompt_id: str) -> tuple[str | None, str | None]:
    """The prompts before and after one, by their ids. Raises NotFound."""
    known = select(Prompt.number).where(Prompt.run == run, Prompt.prompt_id == prompt_id, is_stored(run))
    number = session.scalar(known)
    if number is None:
        raise NotFound(f"{run} has no prompt {prompt_id}")
    ids = select(Prompt.prompt_id).where(Prompt.run == run)
    before = session.scalar(ids.where(Prompt.number < number).order_by(Prompt.number.desc()).limit(1))
    return before, session.scalar(ids.where(Prompt.number > number).order_by(Prompt.number).limit(1))


def _responses(run: str, wanted: Wanted, characters: int | None = MEASURED) -> "Select[*tuple[Any, ...]]":
    text = Response.response if characters is None else func.substr(Response.response, 1, characters)
    columns = (
        *(Response.number, Response.prompt, Response.temperature, Response.replicate, text.label("text")),
        *(func.length(Response.response).label("characters"), Response.tokens, Response.finish_reason),
        *(Prompt.prompt_id, Prompt.content),
    )
    query = select(*columns).join(Prompt, (Prompt.run == Response.run) & (Prompt.number == Response.prompt))
    return query.where(*_conditions(run, wanted))


def _conditions(run: str, wanted: Wanted) -> list[ColumnElement[bool]]:
    found = [Response.run == run, is_stored(run)]
    if wanted.prompt_id is not None:
        its = select(Prompt.number).where(Prompt.run == run, Prompt.prompt_id == wanted.prompt_id)
        found.append(Response.prompt == its.scalar_subquery())
    if wanted.temperature is not None:
        found.append(Response.temperature == wanted.temperature)
    if wanted.truncated:
        found.append(Response.finish_reason == "length")
    return found


def _placed(run: str, wanted: Wanted, scorer: Voice, oracle: Voice) -> Subquery:
    """Each response's place within its prompt by both; of equal values each has the middle of their places."""
    by_scorer, by_oracle = aliased(Score), aliased(Score)
    both = (
        select(Response.number, Response.prompt, by_scorer.score.label("s"), by_oracle.score.label("o"))
        .join(by_scorer, _of(by_scorer, scorer))
        .join(by_oracle, _of(by_oracle, oracle))
        .where(*_conditions(run, wanted), by_scorer.score.is_not(None), by_oracle.score.is_not(None))
        .subquery()
    )

    def place(value: ColumnElement[Any]) -> ColumnElement[Any]:
        better = func.rank().over(partition_by=both.c.prompt, order_by=value.desc())
        equal = func.count().over(partition_by=[both.c.prompt, value])
        return better + cast(equal - 1, Double) / 2

    of = func.count().over(partition_by=both.c.prompt)
    return select(
        both.c.number, place(both.c.s).label("by_scorer"), place(both.c.o).label("by_oracle"), of.label("of")
    ).subquery()


def _of(score: type[Score], voice: Voice) -> ColumnElement[bool]:
    version = score.scorer_version.is_(None) if voice.version is None else score.scorer_version == voice.version
    its_own = and_(score.scorer == voice.name, score.role == voice.role, version)
    return and_(score.run == Response.run, score.response == Response.number, its_own)


def _seen(session: Session, run: str, rows: Sequence[Any]) -> list[Seen]:
    said: dict[int, list[Said]] = {row.number: [] for row in rows}
    columns = (
        *(Score.number, Score.response, Score.role, Score.scorer, Score.scorer_version, Score.score),
        *(Score.tokens, Score.truncated_tokens, Score.error_code, Score.error_detail),
    )
    scores = session.execute(select(*columns).where(Score.run == run, Score.response.in_(said))).all()
    by_number = sorted(scores, key=lambda row: row.number)  # not by the database, as in voices_of
    for _, response, role, name, version, score, tokens, truncated, code, detail in by_number:
        error = JobError.stored(code, detail)
        said[response].append(Said(Voice(role, name, version), score, tokens, truncated, error))
    same = ("number", "prompt_id", "temperature", "replicate", "text", "characters", "tokens", "finish_reason")
    return [
        Seen(**{name: getattr(row, name) for name in same}, prompt=row.content, said=said[row.number]) for row in rows
    ]


def _next(rows: Sequence[Any], limit: int, key: Callable[[Any], Key]) -> str | None:
    """The cursor after the last row shown, where there is one more."""
    return encode_cursor(key(rows[limit - 1])) if len(rows) > limit else None


def _numbers(cursor: str, count: int) -> list[float]:
    try:
        numbers = [float(each) for each in decode_cursor(cursor, list)]
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput("cursor: not one this list gave; start without it") from error
    if len(numbers) != count or not all(abs(each) < 2**63 for each in numbers):
        raise InvalidInput("cursor: belongs to another list; start without it")
    return numbers
