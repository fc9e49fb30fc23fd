"""The sample of served scores: stored in bulk, read as columns, forgotten in time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from service.db.bulk import Row, insert_rows
from service.db.tables import ServedScore, Table

_DELETED_AT_ONCE = 5000


def store_served(session: Session, rows: Sequence[Row], *, now: datetime, per_hour: int) -> int:
    """Insert as many of ``rows``, from the first, as this hour of the clock has room for; return how many."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    counted = select(func.count()).select_from(ServedScore).where(ServedScore.time >= hour)
    room = max(0, per_hour - session.scalars(counted).one())
    return insert_rows(session, Table.metadata.tables[ServedScore.__tablename__], rows[:room])


def forget_served(session: Session, before: datetime) -> int:
    """Delete some of what is older than ``before``; return how many rows, 0 where none are left."""
    old = select(ServedScore.id).where(ServedScore.time < before).order_by(ServedScore.time).limit(_DELETED_AT_ONCE)
    ids = session.scalars(old).all()
    session.execute(delete(ServedScore).where(ServedScore.id.in_(ids)))
    return len(ids)


def sampled_scorers(session: Session, since: datetime) -> list[tuple[str, int]]:
    """Scorers with rows from ``since`` on, and how many each has."""
    counted = select(ServedScore.scorer, func.count()).where(ServedScore.time >= since)
    rows = session.execute(counted.group_by(ServedScore.scorer).order_by(ServedScore.scorer))
    return [(scorer, count) for scorer, count in rows]


@dataclass(frozen=True)
class Numbers:
    """Rows of the sample as columns."""

    time: list[datetime]
    prompt: list[str]
    """Of rows of which nothing was kept, each is a prompt of its own."""
    score: list[float]
    characters: list[int]
    truncated_tokens: list[int]


def sampled_numbers(session: Session, scorer: str, *, after: datetime | None, first: bool, most: int) -> Numbers:
    """The ``first`` rows or else the latest, of those later than ``after``; at most ``most``."""
    prompt = func.coalesce(ServedScore.prompt_digest, ServedScore.id)
    place = (ServedScore.time, ServedScore.id)
    numbers = (ServedScore.score, ServedScore.response_characters, ServedScore.truncated_tokens)
    query = select(ServedScore.time, prompt, *numbers).where(ServedScore.scorer == scorer)
    if after is not None:
        query = query.where(ServedScore.time > after)
    order = place if first else tuple(column.desc() for column in place)
    found = Numbers([], [], [], [], [])
    for time, of, score, characters, cut in session.execute(query.order_by(*order).limit(most)):
        found.time.append(time)
        found.prompt.append(of)
        found.score.append(score)
        found.characters.append(characters)
        found.truncated_tokens.append(cut)
    return found


def sampled_pairs(
    session: Session, scorer: str, *, since: datetime, before: datetime, most: int
) -> Iterator[dict[str, Any]]:
    """Pairs whose texts were kept, each once, as ``prompt_id, prompt, response``: a sample of the whole time.

    They come in the order of their prompts' hashes, which is as good as random, the same on every server, and keeps the
    responses of a prompt together, as correlations within prompts need them.

    Looks at no more than four rows for each that is asked for, so that its memory is bounded.
    """
    query = (
        select(ServedScore.prompt_digest, ServedScore.prompt, ServedScore.response, ServedScore.response_digest)
        .where(ServedScore.scorer == scorer, ServedScore.time >= since, ServedScore.time < before)
        .where(ServedScore.response.is_not(None))
        .order_by(ServedScore.prompt_digest, ServedScore.response_digest, ServedScore.id)
        .limit(4 * most)
    )
    seen: set[tuple[str, str]] = set()
    for prompt_id, prompt, response, response_id in session.execute(query):
        if len(seen) == most:
            return
        if (prompt_id, response_id) not in seen:
            seen.add((prompt_id, response_id))
            yield {"prompt_id": prompt_id, "prompt": prompt, "response": response}
