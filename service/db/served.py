"""The sample of served scores: stored in bulk, read as columns, forgotten in time."""

from collections.abc import Iterator, Sequence
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


def sampled_numbers(
    session: Session, scorer: str, *, since: datetime | None, first: bool, most: int
) -> list[tuple[str, float, int, int]]:
    """``(prompt, score, characters, truncated tokens)`` of the ``first`` or else the latest rows, at most ``most``.

    Rows of which nothing was kept are each a prompt of their own.
    """
    prompt = func.coalesce(ServedScore.prompt_digest, ServedScore.id)
    place = (ServedScore.time, ServedScore.id)
    order = place if first else tuple(column.desc() for column in place)
    query = select(prompt, ServedScore.score, ServedScore.response_characters, ServedScore.truncated_tokens)
    query = query.where(ServedScore.scorer == scorer, *([ServedScore.time >= since] if since else []))
    found = session.execute(query.order_by(*order).limit(most))
    return [(str(of), score, characters, cut) for of, score, characters, cut in found]


def sampled_pairs(
    session: Session, scorer: str, *, since: datetime, before: datetime, most: int
) -> Iterator[dict[str, Any]]:
    """The latest pairs whose texts were kept, each once, as ``prompt_id, prompt, response``."""
    query = (
        select(ServedScore.prompt_digest, ServedScore.prompt, ServedScore.response, ServedScore.response_digest)
        .where(ServedScore.scorer == scorer, ServedScore.time >= since, ServedScore.time < before)
        .where(ServedScore.response.is_not(None))
        .order_by(ServedScore.time.desc(), ServedScore.id.desc())
    )
    seen: set[tuple[str, str]] = set()
    for prompt_id, prompt, response, response_id in session.execute(query):
        if len(seen) == most:
            return
        if (prompt_id, response_id) not in seen:
            seen.add((prompt_id, response_id))
            yield {"prompt_id": prompt_id, "prompt": prompt, "response": response}
