"""What a stress test sampled and how it was scored: plain functions of a session."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, exists, false, func, or_, select
from sqlalchemy.orm import Session

from service.db.pages import DEFAULT_LIMIT, after_key, page_of
from service.db.records import JobError, Page, ResponseRecord, ScoreRecord
from service.db.tables import Job, Prompt, Response, Score


def is_stored(run: str) -> ColumnElement[bool]:
    """Whether all that a run sampled is there: unless its job has succeeded, rows are being stored or deleted."""
    return exists().where(Job.id == run, Job.status == "succeeded")


def response_page(
    session: Session,
    run: str,
    *,
    temperatures: Sequence[float] = (),
    prompt_id: str | None = None,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Page[ResponseRecord]:
    """Responses of one run in the order they were sampled, each with its prompt."""
    query = (
        select(Response, Prompt)
        .join(Prompt, (Prompt.run == Response.run) & (Prompt.number == Response.prompt))
        .where(Response.run == run, is_stored(run))
    )
    if temperatures:
        query = query.where(Response.temperature.in_(temperatures))
    if prompt_id is not None:
        query = query.where(Prompt.prompt_id == prompt_id)
    rows = [(row, prompt) for row, prompt in session.execute(after_key(query, Response.number, cursor, limit))]
    return page_of(rows, limit, lambda pair: pair[0].number, lambda pair: response_record(*pair))


def score_page(
    session: Session,
    run: str,
    *,
    scorers: Sequence[str] = (),
    temperatures: Sequence[float] = (),
    prompt_id: str | None = None,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Page[ScoreRecord]:
    """Scores of one run in the order they were given."""
    query = (
        select(Score, Response.temperature, Response.replicate, Prompt.prompt_id)
        .join(Response, (Response.run == Score.run) & (Response.number == Score.response))
        .join(Prompt, (Prompt.run == Response.run) & (Prompt.number == Response.prompt))
        .where(Score.run == run, is_stored(run))
    )
    if scorers:
        query = query.where(Score.scorer.in_(scorers))
    if temperatures:
        query = query.where(Response.temperature.in_(temperatures))
    if prompt_id is not None:
        query = query.where(Prompt.prompt_id == prompt_id)
    rows = [tuple(row) for row in session.execute(after_key(query, Score.number, cursor, limit))]
    return page_of(rows, limit, lambda row: int(row[0].number), lambda row: _score(*row))


@dataclass(frozen=True)
class Thinned:
    """Some of a run's responses, equally many of each temperature, with what scorers and oracles said of them."""

    responses: list[ResponseRecord]
    scores: list[tuple[int, str, int | None, str, float]]
    """Place in ``responses``, scorer, its version, its role, the score; only scores that are there."""

    n_total: int
    """How many responses the run has."""


_SPREAD, _MODULUS = 2654435761, 2**32
"""Multiples of 2^32 over the golden ratio spread evenly, so that their lowest are a sample without a pattern (Knuth,
The Art of Computer Programming 3, 6.4)."""


def thinned_scores(session: Session, run: str, per_temperature: int) -> Thinned:
    """About ``per_temperature`` responses of each temperature, always the same; all where there are no more."""
    counts = session.execute(
        select(Response.temperature, func.count())
        .where(Response.run == run, is_stored(run))
        .group_by(Response.temperature)
    ).all()
    place = Response.number * _SPREAD % _MODULUS
    chosen = or_(
        false(),  # of a run without responses
        *(
            and_(
                Response.temperature.is_(None) if temperature is None else Response.temperature == temperature,
                place < _MODULUS * min(1.0, per_temperature / count),
            )
            for temperature, count in counts
        ),
    )
    query = select(Response, Prompt).join(Prompt, (Prompt.run == Response.run) & (Prompt.number == Response.prompt))
    rows = [(row, prompt) for row, prompt in session.execute(query.where(Response.run == run, chosen))]
    where = {row.number: index for index, (row, _) in enumerate(rows)}
    scores = select(Score.response, Score.scorer, Score.scorer_version, Score.role, Score.score)
    scores = scores.join(Response, (Response.run == Score.run) & (Response.number == Score.response))
    scores = scores.where(Score.run == run, chosen, Score.role.in_(("scorer", "oracle"))).order_by(Score.number)
    found = session.execute(scores) if rows else ()
    return Thinned(
        responses=[response_record(row, prompt) for row, prompt in rows],
        scores=[
            (where[number], name, version, role, score)
            for number, name, version, role, score in found
            if score is not None
        ],
        n_total=sum(count for _, count in counts),
    )


def response_record(row: Response, prompt: Prompt) -> ResponseRecord:
    return ResponseRecord(
        run=row.run,
        prompt_id=prompt.prompt_id,
        prompt=prompt.content,
        temperature=row.temperature,
        replicate=row.replicate,
        response=row.response,
        tokens=row.tokens,
        finish_reason=row.finish_reason,
        mean_logprob=row.mean_logprob,
        sampler=row.sampler,
    )


def _score(row: Score, temperature: float | None, replicate: int, prompt_id: str) -> ScoreRecord:
    return ScoreRecord(
        run=row.run,
        prompt_id=prompt_id,
        temperature=temperature,
        replicate=replicate,
        scorer=row.scorer,
        scorer_version=row.scorer_version,
        role=row.role,
        score=row.score,
        tokens=row.tokens,
        truncated_tokens=row.truncated_tokens,
        error=JobError.stored(row.error_code, row.error_detail),
    )
